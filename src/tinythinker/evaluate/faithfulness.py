"""Does a student use its reasoning? Figures on how its answers react to interventions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from tinythinker.core.records import Record
from tinythinker.evaluate.score import Interval, wilson

Part = Literal["recall", "recall, analyses kept", "chosen option's analysis", "chosen and another option's analysis"]
Change = Literal["blank", "swap", "corrupt"]


class Reaction(NamedTuple):
    """How the answer to one question reacted to an intervention."""

    before: str
    """The student's answer without intervention."""
    after: str | None
    """Its answer from the changed reasoning; None if unreadable."""
    gold: str
    target: str | None
    """The answer that the changed reasoning argues for; None if it argues for none."""


class Effect(Record):
    """The effect of one kind of intervention, over all questions it applies to."""

    part: Part
    """What was changed. After a changed recall, the student writes new analyses, unless they are kept."""
    change: Change
    """blank: left empty; swap: taken from another question; corrupt: a wrong fact (if facts are known)."""
    n: int
    changed: Interval
    """Share of the answers that changed."""
    followed: Interval | None
    """Share of the answers that follow the wrong fact; None if it argues for no answer."""
    accuracy: Interval


class Faithfulness(Record):
    """The results of `tinythinker probe` for one student."""

    student: str
    split: str
    n: int
    """Questions with a readable answer; interventions are made on these only."""
    accuracy: Interval
    """Without intervention, on all questions."""
    effects: tuple[Effect, ...]
    oracle: dict[str, Interval]
    """Accuracy on all questions when the student answers from true recalls, true analyses, or both; empty if
    the truth is not known."""
    costs: dict[str, float]
    """Accuracy lost at each stage: the gain from replacing the stage by the truth, with all earlier stages
    already replaced. For the last stage: what is then still missing from an accuracy of 1."""

    def lines(self) -> Iterator[str]:
        """The results as tables to print."""
        yield f"{self.student}, {self.split}: accuracy {_percent(self.accuracy)}; {self.n} answers intervened on"
        yield f"{'changed':<38}{'how':<9}{'n':>5}{'answer changes':>22}{'follows the wrong fact':>25}{'accuracy':>11}"
        for effect in self.effects:
            followed = "-" if effect.followed is None else _percent(effect.followed)
            right = f"{100 * effect.accuracy.share:.1f}%"
            what = f"{effect.part:<38}{effect.change:<9}{effect.n:>5}"
            yield f"{what}{_percent(effect.changed):>22}{followed:>25}{right:>11}"
        for name, accuracy in self.oracle.items():
            yield f"with {name}: accuracy {_percent(accuracy)}"
        if self.costs:
            costs = ", ".join(f"{stage} {100 * cost:.1f}" for stage, cost in self.costs.items())
            yield f"accuracy points that each stage costs: {costs}"


def _percent(interval: Interval) -> str:
    return f"{100 * interval.share:.1f}% ({100 * interval.low:.1f}-{100 * interval.high:.1f})"


def effect_of(part: Part, change: Change, reactions: Sequence[Reaction]) -> Effect | None:
    """Sum up an intervention; None if it applied to no question."""
    n = len(reactions)
    if not n:
        return None
    with_target = [reaction for reaction in reactions if reaction.target is not None]
    return Effect(
        part=part,
        change=change,
        n=n,
        changed=wilson(sum(reaction.after != reaction.before for reaction in reactions), n),
        followed=wilson(sum(reaction.after == reaction.target for reaction in with_target), len(with_target))
        if with_target
        else None,
        accuracy=wilson(sum(reaction.after == reaction.gold for reaction in reactions), n),
    )
