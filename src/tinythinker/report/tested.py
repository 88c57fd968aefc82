"""The students that a page shows results of: what it calls them, and which of them are one and the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tinythinker.core.files import read_record
from tinythinker.core.metrics import Validation, read_metrics
from tinythinker.core.records import Verdict
from tinythinker.core.run import RunDirectory
from tinythinker.evaluate.answered import Answered
from tinythinker.evaluate.score import Score, Way, score, way_of
from tinythinker.reflect.pairs import PairCounts

Results = Mapping[str, Answered]
"""The verdicts of a run by file name, finished or not."""


@dataclass(frozen=True)
class Round:
    """One round of self-reflection as the page shows it."""

    number: int
    counts: PairCounts
    start: Validation | None
    """Validation of the student that the round started from; None if it does not compete (no rollback)."""
    best: Validation | None
    is_finished: bool

    @property
    def is_rolled_back(self) -> bool:
        """Did no step improve on the student that the round started from, which is therefore its student too?"""
        return self.is_finished and self.start is not None and self.best is not None and self.best.step == 0

    @property
    def keeps_its_student(self) -> bool:
        """Is its student the one that it started from?"""
        return self.is_rolled_back or (self.is_finished and self.best is None)

    @property
    def outcome(self) -> str:
        """The result in words."""
        if self.best is None:
            return "nothing to learn from" if self.is_finished else "under way"
        if self.start is None:
            return f"{100 * self.best.valid_accuracy:.1f}% (step {self.best.step})"
        start, best = f"{100 * self.start.valid_accuracy:.1f}%", f"{100 * self.best.valid_accuracy:.1f}%"
        if self.best.step:
            return f"{start} → {best} (step {self.best.step})"
        return f"{start}, " + ("rolled back" if self.is_finished else "nothing better yet")


def read_rounds(run: RunDirectory) -> list[Round]:
    """The rounds that have their pairs, in order."""
    shown = []
    for number in run.begun_rounds():
        folder = run.round(number)
        if not folder.counts.exists():
            continue
        metrics = read_metrics(folder.metrics)
        start = next((validation for validation in metrics.validations if validation.step == 0), None)
        counts = read_record(folder.counts, PairCounts)
        shown.append(Round(number, counts, start, metrics.best, folder.is_finished))
    return shown


@dataclass(frozen=True)
class Tested:
    """Results of one student that answered in one way."""

    name: str
    """What the page calls it."""
    way: Way
    verdicts: tuple[Verdict, ...]
    score: Score
    is_own: bool = True
    """Is it of the run itself, not of one inside it?"""
    is_rolled_back: bool = False
    """Did its round fail to improve on the student that it began with?"""
    same_as: str | None = None
    """Name of the earlier student that it is, because its round changed nothing: this is no second result."""


def read_tested(run: RunDirectory, beside: Mapping[str, Results], own: Results) -> list[Tested]:
    """Every finished file of verdicts, those of the runs inside the run first.

    Args:
        beside: verdicts of the runs inside the run's directory, by their names.
        own: verdicts of the run itself.
    """
    ways = [way_of(name) for results in (*beside.values(), own) for name in _finished(results)]
    tested: list[Tested] = []
    for inner in run.inner_runs():
        tested += _of(inner, beside[inner.root.name], ways, prefix=inner.root.name)
    return tested + list(_of(run, own, ways))


def _finished(results: Results) -> list[str]:
    return [name for name, answered in results.items() if answered.is_finished]


def _of(run: RunDirectory, results: Results, ways: Sequence[Way], prefix: str = "") -> Iterator[Tested]:
    rounds = {f"round-{own.number}": own for own in read_rounds(run)}
    origin = run.phase_1.name
    origins = {}
    for name, own in rounds.items():
        origin = origin if own.keeps_its_student else name
        origins[name] = origin
    names = _finished(results)
    is_alone = len({way_of(name).student for name in names}) == 1
    for name in names:
        way = way_of(name)
        before = origins.get(way.student, way.student)
        yield Tested(
            name=called(way, ways, prefix, is_alone),
            way=way,
            verdicts=results[name].verdicts,
            score=score(results[name].verdicts),
            is_own=not prefix,
            is_rolled_back=way.student in rounds and rounds[way.student].is_rolled_back,
            same_as=None if before == way.student else called(way._replace(student=before), ways, prefix, is_alone),
        )


def called(way: Way, ways: Sequence[Way], prefix: str = "", is_alone: bool = False) -> str:
    """A student and how it answered, as far as that tells it apart.

    Args:
        ways: all that the page shows.
        prefix: name of the run inside the run, if it is one's.
        is_alone: it is the only student of its run.
    """
    student = in_plain(way.student)
    words = [prefix if prefix and is_alone else f"{prefix} {student}".strip()]
    if way.temperature is not None:
        several = len({other.temperature for other in ways if other.votes == way.votes}) > 1
        words.append(f"{way.votes} votes" + (f" at {way.temperature}" if several else ""))
    if way.plan is not None:
        words.append(f"{way.plan.replace('_', ' and ')} only")
    if len({other.split for other in ways}) > 1:
        words.append(f"{in_plain(way.split)} questions")
    return ", ".join(words)


def in_plain(name: str) -> str:
    """A name of the run directory as people say it.

    >>> in_plain("round-2"), in_plain("valid")
    ('round 2', 'validation')
    """
    return {"valid": "validation"}.get(name, name.replace("-", " "))
