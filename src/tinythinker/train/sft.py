"""The objective of phase 1: teach the student to write each stage's target."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from transformers import PreTrainedModel

from tinythinker.core.records import StageExample
from tinythinker.student.encode import encode_prompts, encode_targets
from tinythinker.student.logps import target_logps
from tinythinker.student.student import Student
from tinythinker.train.loop import Loss


def sft_objective(student: Student) -> Callable[[PreTrainedModel, Sequence[StageExample]], Loss]:
    """Mean negative log-likelihood per target token: -log P(target | prompt) (METHOD section 1), nats."""

    def objective(model: PreTrainedModel, examples: Sequence[StageExample]) -> Loss:
        prompts = encode_prompts(student, [example.prompt for example in examples])
        labels = encode_targets(student, [example.target for example in examples])
        logps = target_logps(model, prompts, labels)
        return Loss(total=-logps.total.sum(), weight=int(logps.tokens.sum()), figures={})

    return objective
