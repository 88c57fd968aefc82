"""Helpers that many tests need: a question, a student with random weights, settings for a tiny Storeroom."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
)

from tinythinker.core.names import Registry
from tinythinker.core.records import LABELS, Option, Question
from tinythinker.core.seeds import seed_torch
from tinythinker.reflect.losses import PREFERENCE_LOSSES
from tinythinker.settings.resolve import load_settings
from tinythinker.settings.schema import (
    LOSSES,
    SOURCES,
    TASKS,
    GenerateSettings,
    RunSettings,
    StageSettings,
    StudentSettings,
)
from tinythinker.student.scratch import scratch_student
from tinythinker.student.student import Recipe, Student
from tinythinker.study.methods import METHODS
from tinythinker.tasks.registry import BENCHMARKS
from tinythinker.teacher.sources import TEACHER_SOURCES

# Tests run offline even if the machine has a network; those marked `network` undo this.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# A shell that runs the tests in the background makes them ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)
# What the libraries made at import is never garbage; each training ends with a collection, which need not look at it.
gc.freeze()

TINY = (
    "storeroom.things=6",
    "storeroom.containers=20",
    "storeroom.materials=2",
    "storeroom.options=3",
    "storeroom.train=24",
    "storeroom.valid=6",
    "storeroom.test=8",
    "train.max_steps=6",
    "train.batch_size=8",
    "train.validate_every=2",
    "generate.max_recall_tokens=6",
    "generate.max_analysis_tokens=6",
    "reflect.rounds=2",
    "reflect.stages=[recall, analyze]",
    "reflect.questions=6",
    "reflect.samples_per_question=3",
    "reflect.max_steps=4",
    "reflect.batch_size=4",
    "reflect.validate_every=2",
)
"""Overrides for a Storeroom run that takes seconds: every verb works, the student learns nothing."""


def tiny_settings(*overrides: str) -> RunSettings:
    """Storeroom settings for a run that takes seconds."""
    return load_settings("storeroom", [*TINY, *overrides])


def ask(stem: str, *texts: str, gold: str | None = "A", id: str = "q1") -> Question:  # noqa: A002
    """A question with these options."""
    options = tuple(Option(label=label, text=text) for label, text in zip(LABELS, texts, strict=False))
    return Question(id=id, stem=stem, options=options, gold=gold)


def tiny_recipe(plan: str = "full", template: str = "named", answer: str = "free") -> Recipe:
    """A recipe with short texts."""
    return Recipe(
        stages=StageSettings.model_validate({"plan": plan, "template": template}),
        generate=GenerateSettings.model_validate(
            {"answer": answer, "max_recall_tokens": 6, "max_analysis_tokens": 6, "batch_size": 8}
        ),
        max_prompt_tokens=64,
        max_target_tokens=16,
    )


TEXTS = (
    "Where does rain go?\n(A) up (B) down (C) nowhere\nRecall: rain is wet and falls.",
    "Analyze: For option A (up), rain falls. For option B (down), it does.",
    "Summarize: So the answer is option B.",
)


def tiny_student(
    texts: Sequence[str] = TEXTS,
    *,
    seed: int = 0,
    dropout: float = 0.1,
    recipe: Recipe | None = None,
    family: Literal["seq2seq", "causal"] = "seq2seq",
) -> Student:
    """A student with random weights and a vocabulary of a few words."""
    settings = StudentSettings(init="scratch", size="1m", dropout=dropout, family=family)
    return scratch_student(settings, recipe or tiny_recipe(), texts, seed)


ARCHITECTURES = ("t5", "qwen3", "gpt2", "llama", "gemma3")
"""Architectures to test on: an encoder-decoder, and the causal families that people use."""


def tiny_of(architecture: str, *, dropout: float = 0.1) -> Student:
    """A student with random weights of one of `ARCHITECTURES`, two layers deep."""
    known = tiny_student(family="seq2seq" if architecture == "t5" else "causal", dropout=dropout)
    if architecture in ("t5", "qwen3"):
        return known
    shape: dict[str, Any] = {
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "num_attention_heads": 4,
        "intermediate_size": 48,
    }
    tokens: dict[str, Any] = {"vocab_size": 96, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    if architecture == "gpt2":
        rates: dict[str, Any] = {"attn_pdrop": dropout, "embd_pdrop": dropout, "resid_pdrop": dropout}
        kind: tuple[type[PreTrainedModel], PretrainedConfig] = (
            GPT2LMHeadModel,
            GPT2Config(n_layer=2, n_embd=32, n_head=4, **tokens, **rates),
        )
    elif architecture == "llama":
        kind = LlamaForCausalLM, LlamaConfig(**shape, **tokens, num_key_value_heads=2, attention_dropout=dropout)
    else:
        heads: dict[str, Any] = {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 64}
        kind = Gemma3ForCausalLM, Gemma3TextConfig(**shape, **tokens, **heads, attention_dropout=dropout)
    assert len(known.tokenizer) <= 96
    seed_torch(0, "weights")
    return Student(kind[0](kind[1]), known.tokenizer, known.recipe)


@pytest.fixture(params=ARCHITECTURES)
def any_student(request: pytest.FixtureRequest) -> Student:
    """A fresh student with random weights, once per architecture."""
    return tiny_of(request.param)


@pytest.fixture
def student() -> Student:
    """A fresh student with random weights."""
    return tiny_student()


@pytest.fixture
def data_dir() -> Path:
    """The folder with real benchmark files; skips the test if the folder is missing."""
    folder = Path(os.environ.get("TINYTHINKER_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no benchmark files in {folder}; set TINYTHINKER_DATA")
    return folder


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget after the test which benchmarks, sources, losses and methods it registered."""
    for names in (TASKS, SOURCES, LOSSES):
        monkeypatch.setattr(names, "_names", list(names))
    registries: list[Registry[object]] = [BENCHMARKS, TEACHER_SOURCES, PREFERENCE_LOSSES]  # type: ignore[list-item]
    for registry in registries:
        monkeypatch.setattr(registry, "_things", dict(registry))
    methods = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(methods)
