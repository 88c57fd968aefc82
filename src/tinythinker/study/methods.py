"""The methods that a study compares: each is a few settings on the one training loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Method:
    """One row of a study."""

    meaning: str
    settings: tuple[str, ...] = ()
    """Overrides on the study's settings."""
    untrained: Literal["majority", "random", "zero_shot", "likelihood"] | None = None
    """How to answer without any training; None: train."""


_NO_ROUNDS = "reflect.rounds=0"

METHODS: Mapping[str, Method] = {
    "majority": Method("the label that is right most often among the training questions", untrained="majority"),
    "random": Method("a label drawn at random", untrained="random"),
    "zero_shot": Method("the untrained pretrained student, asked for the label", untrained="zero_shot"),
    "likelihood": Method(
        "the untrained pretrained student; the option likeliest per token after the question", untrained="likelihood"
    ),
    "label_only": Method("fine-tuning on labels", ("stages.plan=summarize", _NO_ROUNDS)),
    "cot": Method(
        "recall, analyses and answer in one target (Fine-tune-CoT, Ho et al. 2023)", ("stages.plan=cot", _NO_ROUNDS)
    ),
    "multitask": Method(
        "label and rationale as two tasks (Distilling step-by-step, Hsieh et al. 2023)",
        ("stages.plan=multitask", _NO_ROUNDS),
    ),
    "phase_1": Method("recall, analyze, summarize in stages; no reflection", (_NO_ROUNDS,)),
    "tinythinker": Method("both phases"),
    "no_recall": Method("phase 1 without recall", ("stages.plan=analyze_summarize", _NO_ROUNDS)),
    "no_analyze": Method("phase 1 without analyze", ("stages.plan=recall_summarize", _NO_ROUNDS)),
    "shuffled": Method("phase 1 with batches of all stages mixed", ("stages.order=shuffled", _NO_ROUNDS)),
    "sequential": Method("phase 1 with one stage after the other", ("stages.order=sequential", _NO_ROUNDS)),
    "one_rationale": Method("phase 1 on one rationale per question", ("stages.rationales=1", _NO_ROUNDS)),
    "shuffled_rationales": Method(
        "a control: phase 1 on other questions' rationales", ("stages.shuffle_rationales=true", _NO_ROUNDS)
    ),
    "recall_pairs": Method("both phases, pairs of recalls alone", ("reflect.stages=[recall]",)),
    "analyze_pairs": Method("both phases, pairs of analyses alone", ("reflect.stages=[analyze]",)),
    "self_training": Method(
        "phase 2 on the chosen reasoning alone, no preference", ("reflect.loss=none", "reflect.reference=previous")
    ),
}
"""Baselines, the method, its ablations. Any other setting makes a method of one's own in a study file."""
