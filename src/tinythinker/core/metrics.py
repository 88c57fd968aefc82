"""What a training writes down: a line of `metrics.jsonl` per optimizer step and per validation, and `data.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, ValidationError

from tinythinker.core.errors import DataError, expected
from tinythinker.core.files import Json, describe, file_errors, read_objects
from tinythinker.core.records import Record, Stage

FLOPS_PER_WEIGHT = 6
"""Floating-point operations per weight and token of training: two forward, four backward (Kaplan et al. 2020, section
2.1)."""


class StepMetrics(Record):
    """One optimizer step."""

    step: int
    """From 1."""
    stage: str
    """Stage of the batch; `mixed` where a batch holds several."""
    loss: float
    """Mean over the batch's target tokens (phase 1) or pairs (phase 2), nats."""
    gradient_norm: float | None = None
    """Before clipping."""
    margin: float | None = None
    """Phase 2: mean preference margin, nats (`reflect.losses.dpo_margin`)."""
    reward_accuracy: float | None = None
    """Phase 2: share of the pairs with a positive margin."""
    chosen_logp: float | None = None
    """Phase 2: mean log-probability of the chosen texts, nats."""
    rejected_logp: float | None = None
    """Phase 2: mean log-probability of the rejected texts, nats."""
    prompt_tokens: int = 0
    """Tokens read, without padding."""
    target_tokens: int = 0
    """Tokens learned, without padding."""
    learning_rate: float | None = None
    seconds: float | None = None
    total_steps: int | None = None
    """Of the whole training, unless its patience ends it. None in runs of version 0.1."""


class Validation(Record):
    """Accuracy on the validation questions after a number of optimizer steps."""

    step: int
    valid_accuracy: float


class Metrics(NamedTuple):
    """All lines of a `metrics.jsonl` so far."""

    steps: Sequence[StepMetrics]
    validations: Sequence[Validation]

    @property
    def best(self) -> Validation | None:
        """The validation whose student is kept: the best, the earliest of equals. None before the first."""
        return max(self.validations, key=lambda validation: validation.valid_accuracy, default=None)


def read_metrics(path: Path) -> Metrics:
    """The lines so far, also of a training under way; empty if there is no file. Raises DataError."""
    return _sorted(path, read_objects(path, is_growing=True) if path.exists() else ())


class GrowingMetrics:
    """A `metrics.jsonl` of a training under way, read on from where the last reading ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file, self._read = 0, 0
        """Number of the file on its disk, and bytes read of it."""

    def more(self) -> Metrics:
        """The whole lines that are new; all of them if the file was replaced. Raises DataError."""
        if not self._path.exists():
            return Metrics([], [])
        with file_errors(self._path), self._path.open("rb") as file:
            now = os.fstat(file.fileno())
            if now.st_ino != self._file or now.st_size < self._read:
                self._file, self._read = now.st_ino, 0
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        try:
            lines = [json.loads(line) for line in whole.splitlines()]
        except ValueError:
            raise DataError(expected(str(self._path), "a line that is no JSON", "one object per line")) from None
        return _sorted(self._path, enumerate(lines, start=1))


def _sorted(path: Path, lines: Iterable[tuple[int, Json]]) -> Metrics:
    steps: list[StepMetrics] = []
    validations: list[Validation] = []
    for number, line in lines:
        try:
            if "valid_accuracy" in line:
                validations.append(Validation.model_validate(line))
            else:
                steps.append(StepMetrics.model_validate(line))
        except ValidationError as error:
            raise DataError(f"{path}:{number}: {describe(error)}") from None
    return Metrics(steps, validations)


class Weights(Record):
    """Weights in matrices that a token is multiplied with; embeddings are looked up and count nothing."""

    per_prompt_token: int
    per_target_token: int

    def flops(self, prompt_tokens: int, target_tokens: int) -> int:
        """Of training on these tokens; attention between tokens is left out, which is small for short texts."""
        return FLOPS_PER_WEIGHT * (self.per_prompt_token * prompt_tokens + self.per_target_token * target_tokens)


class TrainingData(Record):
    """What phase 1 trains on: `phase-1/data.json`."""

    examples: dict[Stage, int] = Field(default_factory=dict)
    """Examples by stage."""
    cut_prompts: int = 0
    """Prompts longer than `max_prompt_tokens`, which lose part of the reasoning (`student.encode`)."""
    cut_targets: int = 0
    """Targets longer than `max_target_tokens`, which lose their end."""
    unknown_tokens: int = 0
    """Tokens of the prompts that the vocabulary does not have; they all look the same to the student."""
    first_unknown: str | None = None
    """Id of the first question with such a token."""
    equal_options: int = 0
    """Training questions with options of the same text, of which one at most is right."""
    first_equal_options: str | None = None
    """Id of the first of them."""
    max_prompt_tokens: int | None
    """None: there is no limit."""
    max_target_tokens: int
    longest_prompt: int | None = None
    """Tokens of the longest prompt before any cut. Runs of version 0.1 did not note it."""
    longest_target: int | None = None
    """Likewise of the longest target."""
    vocabulary: int
    """Tokens of the tokenizer."""
    parameters: int
    """Weights of the student, shared ones once."""
    weights: Weights
