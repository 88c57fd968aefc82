"""The methods that a study compares: each is a few settings of the same training loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Method:
    """One method of a study."""

    meaning: str
    settings: tuple[str, ...] = ()
    """Settings that override the study's."""
    untrained: Literal["majority", "random", "pretrained"] | None = None
    """How the method answers without training; None if it trains a student."""

    @property
    def is_pretrained(self) -> bool:
        """Is it the pretrained student without training? Such methods are in every study of a pretrained student."""
        return self.untrained == "pretrained"


_NO_ROUNDS = "reflect.rounds=0"

METHODS: dict[str, Method] = {
    "majority": Method("the most frequent gold label of the training questions", untrained="majority"),
    "random": Method("a label drawn at random", untrained="random"),
    "cloze": Method(
        'the pretrained student, untrained: the text that is most likely per character after "Question: ... Answer:"',
        untrained="pretrained",
    ),
    "cloze_sum": Method("the same, the text that is most likely as a whole", untrained="pretrained"),
    "cloze_token": Method("the same, the text that is most likely per token", untrained="pretrained"),
    "letters": Method(
        "the pretrained student, untrained: the letter that is most likely after the question and its options",
        untrained="pretrained",
    ),
    "label_only": Method("fine-tuning on labels", ("stages.plan=summarize", _NO_ROUNDS)),
    "label_pairs": Method(
        "fine-tuning on labels, then pairs of answers: what phase 2 gives without reasoning",
        ("stages.plan=summarize", "reflect.stages=[summarize]"),
    ),
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
    "shuffled": Method("phase 1 with all stages mixed in every batch", ("stages.order=shuffled", _NO_ROUNDS)),
    "sequential": Method("phase 1 with one stage after the other", ("stages.order=sequential", _NO_ROUNDS)),
    "one_rationale": Method("phase 1 on one rationale per question", ("stages.rationales=1", _NO_ROUNDS)),
    "shuffled_rationales": Method(
        "control: phase 1 on other questions' rationales", ("stages.shuffle_rationales=true", _NO_ROUNDS)
    ),
    "recall_pairs": Method("both phases, recall pairs only", ("reflect.stages=[recall]",)),
    "analyze_pairs": Method("both phases, analyze pairs only", ("reflect.stages=[analyze]",)),
    "self_training": Method(
        "both phases; phase 2 on the chosen texts only", ("reflect.loss=none", "reflect.reference=previous")
    ),
}
"""Baselines, the method and its ablations. A new one is one line here; study files can define more."""
RENAMED = {"likelihood": "cloze", "zero_shot": "letters"}
"""Methods of version 0.1 that are done in another way, and have another name, today."""
