"""The objective of phase 1: teach the student to write each stage's target."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from transformers import PreTrainedModel

from tinythinker.core.records import Stage, StageExample
from tinythinker.student.encode import encode_prompts, encode_targets
from tinythinker.student.logps import target_logps
from tinythinker.student.student import Student
from tinythinker.train.loop import Loss, Tokens


def sft_objective(
    student: Student, rationale_weight: float = 1.0
) -> Callable[[PreTrainedModel, Sequence[StageExample]], Loss]:
    """Mean negative log-likelihood per target token: -log P(target | prompt) (METHOD section 1), nats.

    Args:
        rationale_weight: what the loss of whole rationales (`Stage.REASON`) is multiplied by.
    """

    def objective(model: PreTrainedModel, examples: Sequence[StageExample]) -> Loss:
        prompts = encode_prompts(student, [example.prompt for example in examples])
        labels = encode_targets(student, [example.target for example in examples])
        logps = target_logps(model, prompts, labels)
        weights = logps.total.new_tensor([rationale_weight if e.stage is Stage.REASON else 1.0 for e in examples])
        return Loss(
            total=-(weights * logps.total).sum(),
            weight=int(logps.tokens.sum()),
            figures={},
            tokens=Tokens(int(prompts.mask.sum()), int(logps.tokens.sum())),
        )

    return objective
