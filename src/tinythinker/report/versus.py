"""Runs against each other on the same questions: figures, paired tests, and where their answers differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from tinythinker.core.errors import DataError, SettingsError, expected
from tinythinker.core.files import write_text
from tinythinker.core.records import Chain, Question, Record, Verdict
from tinythinker.core.run import RunDirectory
from tinythinker.evaluate.answered import read_answered, read_results
from tinythinker.evaluate.guessing import Guessing, guessing
from tinythinker.evaluate.score import Interval, Way, score, way_of
from tinythinker.evaluate.statistics import Comparison, compare, corrected, in_words
from tinythinker.evaluate.vote import tally
from tinythinker.report.cards import Cards, interval, p_value, percent
from tinythinker.report.charts import accuracy_bars
from tinythinker.report.html import render
from tinythinker.report.tested import called
from tinythinker.teacher.taught import read_questions

MOST_ON_A_PAGE = 200
"""Number of questions whose answers differ that the page shows."""


class Contender(Record):
    """One student in the comparison. Shares are in [0, 1]."""

    name: str
    """Its run and what it is called there, such as `first (round 3)`."""
    file: str
    """Its verdicts."""
    accuracy: Interval
    unreadable: float
    tokens_per_answer: float


class Duel(Record):
    """Two students, compared question by question."""

    name: str
    other: str
    comparison: Comparison
    """The student called `name` minus the other; `p_holm` is corrected for all duels of the comparison."""

    def verdict(self) -> str:
        """Which one is better, in words."""
        said = in_words(self.comparison)
        return said if said.startswith("no") else f"{self.name} is {said}"

    def difference(self) -> str:
        """The difference in percentage points with its interval."""
        own = self.comparison
        return f"{100 * own.difference:+.1f} ({100 * own.low:+.1f} to {100 * own.high:+.1f})"

    def p(self) -> str:
        """The corrected p."""
        own = self.comparison
        return p_value(own.p if own.p_holm is None else own.p_holm)


class Difference(Record):
    """A question to which not all students gave the same answer."""

    question: Question
    verdicts: dict[str, Verdict]
    """By the student's name."""

    @property
    def is_decisive(self) -> bool:
        """Are some of the answers right and some wrong?"""
        return len({verdict.is_correct for verdict in self.verdicts.values()}) > 1


class Versus(Record):
    """What `tinythinker compare` found."""

    split: str
    questions: int
    guessing: Guessing
    contenders: tuple[Contender, ...]
    duels: tuple[Duel, ...]
    """Every pair: the later one against the earlier one."""
    differences: tuple[Difference, ...]
    """Questions that some answered right and some wrong first; within these, in the order of the file."""

    def lines(self, show: int) -> Iterator[str]:
        """The comparison to print.

        Args:
            show: number of questions whose chains to print.
        """
        wide = max(len(own.name) for own in self.contenders)
        yield f"{'student':<{wide}}  accuracy   95% interval  unreadable  tokens per answer"
        for own in self.contenders:
            ends = interval(own.accuracy.low, own.accuracy.high)
            yield (
                f"{own.name:<{wide}}  {percent(own.accuracy.share):>8}  {ends:>13}  {percent(own.unreadable):>10}  "
                f"{own.tokens_per_answer:>17.1f}"
            )
        guesses = f"chance {percent(self.guessing.chance)}, most common label {percent(self.guessing.majority)}"
        yield f"{self.questions} {self.split} questions; {guesses}"
        yield ""
        for duel in self.duels:
            better, worse = duel.comparison.better, duel.comparison.worse
            yield f"{duel.name} minus {duel.other}: {duel.difference()} points, p = {duel.p()}: {duel.verdict()}"
            yield f"    right only in {duel.name}: {better}; only in {duel.other}: {worse}"
        decisive = sum(own.is_decisive for own in self.differences)
        yield ""
        yield (
            f"their answers differ on {len(self.differences)} of {self.questions} questions, on {decisive} of these "
            "some are right and some wrong"
        )
        for difference in self.differences[:show]:
            yield from _asked(difference)
        if len(self.differences) > show:
            yield ""
            yield f"{len(self.differences) - show} more: --show N prints N of them, --json and --page FILE.html all"

    def table(self) -> Cards:
        """The students."""
        rows = tuple(
            (
                own.name,
                percent(own.accuracy.share),
                interval(own.accuracy.low, own.accuracy.high),
                percent(own.unreadable),
                f"{own.tokens_per_answer:.1f}",
            )
            for own in self.contenders
        )
        return Cards("Students", ("student", "accuracy", "95% interval", "unreadable", "tokens per answer"), rows)

    def tests(self) -> Cards:
        """The paired tests."""
        rows = tuple(
            (
                f"{duel.name} minus {duel.other}",
                duel.difference(),
                duel.p(),
                duel.verdict(),
                f"{duel.comparison.better}, {duel.comparison.worse}",
            )
            for duel in self.duels
        )
        columns = ("compared", "difference in points", "p (Holm)", "verdict", "right only in the first, the second")
        return Cards("Paired tests", columns, rows)


def _asked(difference: Difference) -> Iterator[str]:
    """A question, its options, and what every student wrote."""
    question = difference.question
    yield ""
    yield f"{question.id}: {question.stem}"
    for option in question.options:
        yield f"  ({option.label}) {option.text}" + ("  <- gold" if option.label == question.gold else "")
    for name, verdict in difference.verdicts.items():
        votes = f" (votes: {tally(verdict.chains)}; the first chain:)" if len(verdict.chains) > 1 else ""
        right = "right" if verdict.is_correct else "wrong"
        yield f"  {name}: {verdict.answer or 'unreadable'}, {right}{votes}"
        yield from (f"    {line}" for line in _steps(question, verdict.chains[0]))


def _steps(question: Question, chain: Chain) -> Iterator[str]:
    if chain.recall is not None:
        yield f"Recall: {chain.recall}"
    for label, analysis in zip(question.labels, chain.analyses, strict=False):
        yield f"Analyze {label}: {analysis}"
    yield f"Summarize: {chain.conclusion}"


class _Answers(NamedTuple):
    """One student's answers, with the questions they answer."""

    file: Path
    run: RunDirectory
    way: Way
    questions: Mapping[str, Question]
    verdicts: Mapping[str, Verdict]


def compare_runs(paths: Sequence[Path]) -> Versus:
    """Compare finished runs on the same questions.

    Args:
        paths: two or more, each a run directory (its last student; its greedy answers to the test questions if there
            are any) or one of its files of verdicts.

    Raises:
        SettingsError: fewer than two students, or one twice.
        DataError: there are no finished verdicts, they are damaged, or the questions are not the same.
    """
    if len(paths) < 2:
        raise SettingsError(expected("runs to compare", len(paths), "two or more"))
    answers = [_read(path) for path in paths]
    if len({own.file.resolve() for own in answers}) < len(answers):
        raise SettingsError(expected("runs to compare", [str(own.file) for own in answers], "different ones"))
    first = answers[0]
    for other in answers[1:]:
        _refuse_other_questions(first, other)
    names = _names(answers)
    by_name = dict(zip(names, answers, strict=True))
    right = {name: {0: {id_: own.is_correct for id_, own in one.verdicts.items()}} for name, one in by_name.items()}
    found = {(b, a): compare(right[b], right[a]) for a, b in combinations(names, 2)}
    tested = corrected({"\n".join(pair): one for pair, one in found.items() if one is not None})
    return Versus(
        split=first.way.split,
        questions=len(first.questions),
        guessing=guessing(list(first.questions.values()), read_questions(first.run, "train")),
        contenders=tuple(_contender(name, one) for name, one in by_name.items()),
        duels=tuple(Duel(name=name, other=other, comparison=tested[f"{name}\n{other}"]) for name, other in found),
        differences=tuple(_differences(by_name)),
    )


def _read(path: Path) -> _Answers:
    """A student's answers from its run or from its file of verdicts."""
    if path.is_file():
        run = RunDirectory(path.resolve().parent.parent)
        if not run.exists or path.resolve().parent != run.verdicts_folder.resolve():
            raise DataError(f"{path}: found a file outside of a run's verdicts, expected one in RUN/verdicts")
        way = way_of(path.stem)
        answered = read_answered(run, path, read_questions(run, way.split))
    else:
        run = RunDirectory(path)
        run.manifest()
        finished = {name: one for name, one in read_results(run).items() if one.is_finished}
        greedy = [name for name in finished if way_of(name)[1:] == ("test", 1, None, None)]
        if not finished:
            found = f"{path}: found no finished verdicts, expected those of one student at least"
            raise DataError(f"{found}; run `tinythinker evaluate {path}` first")
        name = (greedy or list(finished))[-1]
        path, way, answered = run.verdicts(name), way_of(name), finished[name]
    if not answered.is_finished:
        counts = f"{len(answered.verdicts)} of {answered.count_questions} verdicts"
        raise DataError(f"{path}: found {counts}, expected all; run `tinythinker evaluate {run.root}` again")
    questions = {question.id: question for question in read_questions(run, way.split)}
    return _Answers(path, run, way, questions, {verdict.question_id: verdict for verdict in answered.verdicts})


def _refuse_other_questions(one: _Answers, other: _Answers) -> None:
    """Raise DataError unless both answered the same questions, with the same options and gold labels."""
    for id_ in [*one.questions, *other.questions]:
        if one.questions.get(id_) != other.questions.get(id_):
            lacking = next((own.file for own in (one, other) if id_ not in own.questions), None)
            found = f"question {id_!r} only in one of them" if lacking else f"another question {id_!r}"
            raise DataError(
                f"{other.file}: found {found}, expected the questions of {one.file}; compare runs on the same "
                "questions (for invented ones: with the same seed)"
            )


def _names(answers: Sequence[_Answers]) -> list[str]:
    """Each student's run, by as few folders as tell the runs apart, and what it is called there."""
    roots = [own.run.root.resolve() for own in answers]
    deepest = max(len(root.parts) for root in roots)
    count = next(n for n in range(1, deepest + 1) if len({root.parts[-n:] for root in roots}) == len(set(roots)))
    ways = [own.way for own in answers]
    folders = ["/".join(root.parts[-count:]) for root in roots]
    return [f"{folder} ({called(way, ways)})" for folder, way in zip(folders, ways, strict=True)]


def _contender(name: str, answers: _Answers) -> Contender:
    found = score(list(answers.verdicts.values()))
    return Contender(
        name=name,
        file=str(answers.file),
        accuracy=found.interval,
        unreadable=found.unreadable,
        tokens_per_answer=found.tokens_per_answer,
    )


def _differences(by_name: Mapping[str, _Answers]) -> list[Difference]:
    differences = []
    for id_, question in next(iter(by_name.values())).questions.items():
        verdicts = {name: own.verdicts[id_] for name, own in by_name.items()}
        if len({verdict.answer for verdict in verdicts.values()}) > 1:
            differences.append(Difference(question=question, verdicts=verdicts))
    return sorted(differences, key=lambda own: not own.is_decisive)


def write_comparison(found: Versus, file: Path) -> None:
    """Write the comparison as one self-contained page. Raises DataError if it cannot be written."""
    scores = {own.name: own.accuracy for own in found.contenders}
    page = render(
        "report/versus.jinja",
        found=found,
        tally=tally,
        shown=found.differences[:MOST_ON_A_PAGE],
        figures=[accuracy_bars(scores, f"Accuracy on the {found.split} questions", found.guessing)],
    )
    write_text(file, page)
