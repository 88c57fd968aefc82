"""The objective of phase 1: teach the student to write each stage's target."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinythinker.core.records import Stage, StageExample
from tinythinker.student.logps import Scorer
from tinythinker.student.reading import plan_passes, read, reads_trees
from tinythinker.student.student import Student
from tinythinker.train.loop import Loss, Tokens


def sft_objective(student: Student, rationale_weight: float = 1.0) -> Callable[[Scorer, Sequence[StageExample]], Loss]:
    """Mean negative log-likelihood per target token: -log P(target | prompt) (METHOD section 1), nats.

    Args:
        rationale_weight: factor on the loss of whole rationales (`Stage.REASON`).
    """

    reads_trees(student)  # tried out before the engine takes the weights

    def objective(score: Scorer, examples: Sequence[StageExample]) -> Loss:
        reading = read(student, [example.prompt for example in examples], [example.target for example in examples])
        logps = score(reading)
        weights = logps.total.new_tensor([rationale_weight if e.stage is Stage.REASON else 1.0 for e in examples])
        return Loss(
            total=-(weights * logps.total).sum(),
            weight=int(logps.tokens.sum()),
            figures={},
            tokens=Tokens(reading.count_read(), int(logps.tokens.sum())),
        )

    return objective


def sft_pieces(student: Student, most: int | None) -> Callable[[Sequence[StageExample]], list[list[StageExample]]]:
    """Cuts a batch of examples into pieces (see `reading.plan_passes`).

    Args:
        most: largest number of examples in a piece; None: no limit.
    """

    def pieces(examples: Sequence[StageExample]) -> list[list[StageExample]]:
        passes = plan_passes(student, [e.prompt for e in examples], [[e.target for e in examples]], most)
        return [[examples[i] for i in piece] for piece in passes]

    return pieces
