"""What is in a file of questions: counted, and said in words. Nothing is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from tinythinker.core.errors import DataError, shortened
from tinythinker.core.records import LABELS, Question, Record
from tinythinker.tasks.tables.tables import Table

_SHOWN = 3
"""Questions, and problems of a kind, that are shown."""


class Mistake(Record):
    """A row that could not be read."""

    line: int
    message: str


class Again(Record):
    """Questions that stand in a file more than once."""

    line: int
    """Of the later one."""
    first: int
    """Line of the first one."""


class AsRead(Record):
    """A question as it was read."""

    id: str
    question: str
    options: tuple[str, ...]
    answer: str | None
    """A label, A for the first option; None if there is no answer."""


class Longest(Record):
    """The longest prompt of a file."""

    question_id: str
    length: int
    unit: str
    """`tokens` of the student, or `characters`."""
    count_unknown: int | None = None
    """Tokens of all prompts that the student's vocabulary does not have; None if there was no vocabulary to ask."""
    first_unknown: str | None = None
    """Id of the first question with such a token."""


class Findings(Record):
    """What is in a file of questions."""

    file: str
    form: str
    """What kind of file it is, and in which encoding."""
    layout: dict[str, str]
    """Which fields are the question, the options, the answer."""
    unused: tuple[str, ...]
    """Fields that nothing was read from."""
    notes: tuple[str, ...]
    """What the file itself decided, such as from where its numbers count."""
    count_questions: int
    count_options: dict[int, int]
    """Number of options -> number of questions with so many."""
    empty_rows: tuple[int, ...]
    """Lines without content, which were passed over."""
    without_answer: int
    doubled_questions: tuple[Again, ...]
    """Same text, same options."""
    doubled_ids: tuple[str, ...]
    doubled_options: tuple[int, ...]
    """Lines of questions with equal option texts."""
    labels: dict[str, int]
    """How often each label is the answer."""
    majority: float | None
    """Accuracy of always giving the most frequent label; None without answers."""
    is_in_one_order: bool
    """Does every question have the same options in the same order, or is the answer always in the same place?"""
    longest: Longest | None
    problems: tuple[Mistake, ...]
    questions: tuple[AsRead, ...]

    def refuse_problems(self) -> None:
        """Raise DataError if the file holds no question, or something that is none."""
        if self.problems or not self.count_questions:
            found = f"{_times(len(self.problems), 'row')} that could not be read" if self.problems else "no question"
            raise DataError(
                f"{self.file}: found {found}, expected none"
                if self.problems
                else f"{self.file}: found no question, expected at least one"
            )

    def short(self) -> list[str]:
        """What a run says of the file before it starts."""
        options = ", ".join(f"{count} with {n} options" for n, count in sorted(self.count_options.items()))
        lines = [f"{self.file}: {self.form}; {_times(self.count_questions, 'question')} ({options or 'none'})"]
        lines += [f"  {'; '.join(f'{name}: {fields}' for name, fields in self.layout.items())}"] if self.layout else []
        lines += [f"  {note}" for note in self.notes]
        if self.labels:
            said = ", ".join(f"{label} {count}" for label, count in sorted(self.labels.items()))
            lines.append(f"  answers: {said}; always the most frequent one: {self.majority:.3f} right")
        return lines + [f"  {one}" for one in self._oddities()]

    def lines(self) -> list[str]:
        """All of it, for people."""
        lines = self.short()
        if self.unused:
            lines.append(f"  not used: {', '.join(self.unused)}")
        if self.longest is not None:
            lines.append(
                f"  longest prompt: {self.longest.length} {self.longest.unit} (question {self.longest.question_id})"
            )
        for question in self.questions[:_SHOWN]:
            lines.append(f"{question.id}: {question.question}")
            lines += [
                f"  {'*' if label == question.answer else ' '} {label}: {text}"
                for label, text in zip(LABELS, question.options, strict=False)
            ]
        return lines + [f"problem: {problem.message}" for problem in self.problems]

    def _oddities(self) -> Iterator[str]:
        if self.empty_rows:
            yield f"passed over: {_times(len(self.empty_rows), 'row')} without content ({_list(self.empty_rows)})"
        if self.without_answer:
            yield f"without an answer: {_times(self.without_answer, 'question')}"
        if self.doubled_questions:
            found = _list([f"{one.line} as {one.first}" for one in self.doubled_questions])
            yield f"there before: {_times(len(self.doubled_questions), 'question')} (line {found})"
        if self.doubled_ids:
            yield f"given more than once: {_times(len(self.doubled_ids), 'id')} ({_list(self.doubled_ids)})"
        if self.doubled_options:
            count = _times(len(self.doubled_options), "question")
            yield f"with equal options: {count} (line {_list(self.doubled_options)})"
        if self.longest is not None and self.longest.count_unknown:
            yield (
                f"unknown to the student: {_times(self.longest.count_unknown, 'token')}, which all look the same to it "
                f"(first in question {self.longest.first_unknown})"
            )
        if self.is_in_one_order:
            yield (
                "the answers or options always stand in one order: a student can learn the place instead of the "
                "content; stages.permute_options=true shows them in a fresh order every epoch"
            )
        if self.problems:
            yield f"not read: {_times(len(self.problems), 'row')}"


def _times(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _list(values: Sequence[object]) -> str:
    shown = ", ".join(map(str, values[:_SHOWN]))
    return shown if len(values) <= _SHOWN else f"{shown} and {len(values) - _SHOWN} more"


def findings_of(table: Table, measure: Callable[[Sequence[Question]], Longest | None] | None = None) -> Findings:
    """What is in a table.

    Args:
        measure: finds the longest prompt; None leaves it out.
    """
    questions = [entry.question for entry in table.entries]
    first: dict[tuple[str, tuple[str, ...]], int] = {}
    again = []
    for question, line in zip(questions, table.lines, strict=True):
        key = (question.stem, tuple(sorted(_texts(question))))
        if first.setdefault(key, line) != line:
            again.append(Again(line=line, first=first[key]))
    labels = Counter(question.gold for question in questions if question.gold is not None)
    ids = Counter(question.id for question in questions)
    return Findings(
        file=table.sheet.source,
        form=table.sheet.form,
        layout=dict(table.layout),
        unused=table.unused,
        notes=table.notes,
        count_questions=len(questions),
        count_options=dict(sorted(Counter(len(question.options) for question in questions).items())),
        empty_rows=table.sheet.passed_over,
        without_answer=len(questions) - labels.total(),
        doubled_questions=tuple(again),
        doubled_ids=tuple(shortened(name) for name, count in ids.items() if count > 1),
        doubled_options=tuple(
            line
            for question, line in zip(questions, table.lines, strict=True)
            if len(set(_texts(question))) < len(question.options)
        ),
        labels=dict(sorted(labels.items())),
        majority=max(labels.values()) / labels.total() if labels else None,
        is_in_one_order=len(questions) > 1 and (len({tuple(_texts(q)) for q in questions}) == 1 or len(labels) == 1),
        longest=measure(questions) if measure is not None and questions else None,
        problems=tuple(Mistake(line=problem.line, message=problem.message) for problem in table.problems),
        questions=tuple(
            AsRead(id=q.id, question=q.stem, options=tuple(o.text for o in q.options), answer=q.gold) for q in questions
        ),
    )


def _texts(question: Question) -> list[str]:
    return [option.text.strip() for option in question.options]
