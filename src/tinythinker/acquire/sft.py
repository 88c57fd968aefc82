"""The objective of phase 1: teach the student to write each stage's target."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinythinker.core.records import Stage, StageExample
from tinythinker.student.encode import encode_targets, encode_unique_prompts
from tinythinker.student.logps import Scorer
from tinythinker.student.pieces import costs_of, cut, lengths_of
from tinythinker.student.student import Student
from tinythinker.train.loop import Loss, Tokens


def sft_objective(student: Student, rationale_weight: float = 1.0) -> Callable[[Scorer, Sequence[StageExample]], Loss]:
    """Mean negative log-likelihood per target token: -log P(target | prompt) (METHOD section 1), nats.

    Args:
        rationale_weight: factor on the loss of whole rationales (`Stage.REASON`).
    """

    def objective(score: Scorer, examples: Sequence[StageExample]) -> Loss:
        prompts, prompt_of = encode_unique_prompts(student, [example.prompt for example in examples])
        labels = encode_targets(student, [example.target for example in examples])
        logps = score(prompts, labels, prompt_of)
        weights = logps.total.new_tensor([rationale_weight if e.stage is Stage.REASON else 1.0 for e in examples])
        return Loss(
            total=-(weights * logps.total).sum(),
            weight=int(logps.tokens.sum()),
            figures={},
            tokens=Tokens(int(prompts.mask.sum()), int(logps.tokens.sum())),
        )

    return objective


def sft_pieces(student: Student, most: int | None) -> Callable[[Sequence[StageExample]], list[list[StageExample]]]:
    """Cuts a batch of examples into pieces (see `train.pieces`).

    Args:
        most: largest number of examples in a piece; None: no limit.
    """
    costs = costs_of(student)

    def pieces(examples: Sequence[StageExample]) -> list[list[StageExample]]:
        lengths = lengths_of(student, [e.prompt for e in examples], [e.target for e in examples])
        return [[examples[i] for i in piece] for piece in cut(lengths, costs, most)]

    return pieces
