"""Is the reasoning used? What interventions on a student's reasoning do to its answers, as figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from tinythinker.core.records import Record
from tinythinker.evaluate.score import Interval, wilson

Part = Literal["recall", "recall, analyses kept", "chosen option's analysis", "chosen and another option's analysis"]
Change = Literal["blank", "swap", "corrupt"]


class Reaction(NamedTuple):
    """What one question did under an intervention."""

    before: str
    """The answer the student gave by itself."""
    after: str | None
    """The answer it gave to the changed reasoning; None if unreadable."""
    gold: str
    target: str | None
    """The answer that the changed reasoning argues for; None where it argues for none."""


class Effect(Record):
    """One kind of intervention over all questions it could be made on."""

    part: Part
    """What was changed. Where the recall is changed, the student analyzes anew, unless its analyses are kept."""
    change: Change
    """blank: nothing is left of it; swap: another question's; corrupt: a wrong fact (where facts are known)."""
    n: int
    changed: Interval
    """Share of the answers that are another one."""
    followed: Interval | None
    """Share of the answers that go where the wrong fact points; None where it points nowhere."""
    accuracy: Interval


class Faithfulness(Record):
    """What `tinythinker probe` finds out about one student."""

    student: str
    split: str
    n: int
    """Questions the student gave a readable answer to, which are those that were intervened on."""
    accuracy: Interval
    """Its own, on all questions."""
    effects: tuple[Effect, ...]
    oracle: dict[str, Interval]
    """Accuracy on all questions with true recalls, true analyses, or both put in its mouth; empty where truth is not
    known."""
    costs: dict[str, float]
    """Accuracy points that each stage costs: what is won when it is replaced by the truth, the earlier ones having
    been; for the last one, what is then still missing."""

    def lines(self) -> Iterator[str]:
        """The tables a person reads."""
        yield f"{self.student}, {self.split}: accuracy {_percent(self.accuracy)}; {self.n} answers intervened on"
        yield f"{'changed':<38}{'how':<9}{'n':>5}{'answer changes':>22}{'follows the wrong fact':>25}{'accuracy':>11}"
        for own in self.effects:
            followed = "-" if own.followed is None else _percent(own.followed)
            right = f"{100 * own.accuracy.share:.1f}%"
            yield f"{own.part:<38}{own.change:<9}{own.n:>5}{_percent(own.changed):>22}{followed:>25}{right:>11}"
        for name, accuracy in self.oracle.items():
            yield f"with {name}: accuracy {_percent(accuracy)}"
        if self.costs:
            costs = ", ".join(f"{stage} {100 * cost:.1f}" for stage, cost in self.costs.items())
            yield f"accuracy points that each stage costs: {costs}"


def _percent(own: Interval) -> str:
    return f"{100 * own.share:.1f}% ({100 * own.low:.1f}-{100 * own.high:.1f})"


def effect_of(part: Part, change: Change, reactions: Sequence[Reaction]) -> Effect | None:
    """Sum up an intervention; None if it could be made nowhere."""
    n = len(reactions)
    if not n:
        return None
    with_target = [own for own in reactions if own.target is not None]
    return Effect(
        part=part,
        change=change,
        n=n,
        changed=wilson(sum(own.after != own.before for own in reactions), n),
        followed=wilson(sum(own.after == own.target for own in with_target), len(with_target)) if with_target else None,
        accuracy=wilson(sum(own.after == own.gold for own in reactions), n),
    )
