"""Rows -> questions: what every row says, and how the whole file means its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tinythinker.core.errors import DataError, shortened
from tinythinker.core.files import describe
from tinythinker.core.records import LABELS, Option, Question
from tinythinker.settings.schema import DataSettings
from tinythinker.tasks.benchmark import Entry
from tinythinker.tasks.tables.answers import WAYS, Answer, Settled, settle
from tinythinker.tasks.tables.layouts import Said, plain_name, refuse_unknown_columns, said_in
from tinythinker.tasks.tables.rows import Sheet


@dataclass(frozen=True)
class Problem:
    """A row that is not read, and why."""

    line: int
    message: str


@dataclass(frozen=True)
class Table:
    """A file of questions as it was read."""

    sheet: Sheet
    entries: tuple[Entry, ...]
    lines: tuple[int, ...]
    """Where each entry stands."""
    problems: tuple[Problem, ...]
    layout: Mapping[str, str]
    """What was recognised, for people: which fields are the question, the options, the answer."""
    unused: tuple[str, ...]
    """Fields that nothing was read from."""
    notes: tuple[str, ...] = ()
    """What the file itself decided, for people."""

    @property
    def fields(self) -> str:
        """The fields of the file, for a message."""
        return f"the fields {shortened(self.sheet.columns)}"

    @property
    def whole(self) -> tuple[Entry, ...]:
        """All entries. Raises DataError with the first problem, if there is one, or if there are none."""
        if self.problems:
            others = len(self.problems) - 1
            more = f" (and {others} more; `tinythinker check` lists them)" if others else ""
            raise DataError(f"{self.problems[0].message}{more}")
        if not self.entries:
            raise DataError(f"{self.sheet.source}: found no question, expected at least one")
        return self.entries


def read_tables(files: Sequence[tuple[Sheet, str]], data: DataSettings) -> list[Table]:
    """The questions of some files that belong together: numbers as answers count alike in all of them.

    Args:
        files: each with the beginning of the ids that are made for its questions without one; the line follows.

    Raises:
        DataError: a setting names a column that a file does not have.
    """
    for sheet, _ in files:
        refuse_unknown_columns([row.fields for row in sheet.rows], data, sheet.source)
    read = [_parts(sheet, data) for sheet, _ in files]
    every = [(sheet, one) for (sheet, _), (parts, _) in zip(files, read, strict=True) for one in parts]
    settled: dict[str, Settled] = {}
    meant: list[dict[str, int | DataError]] = [{} for _ in every]
    for name in dict.fromkeys(name for _, one in every for name in one.answers):
        saying = [i for i, (_, one) in enumerate(every) if name in one.answers]
        settled[name] = settle([_answer(*every[i], name) for i in saying], data.answer_base)
        for i, position in zip(saying, settled[name].positions, strict=True):
            meant[i][name] = position
    tables = []
    for (sheet, prefix), (parts, problems) in zip(files, read, strict=True):
        own, meant = meant[: len(parts)], meant[len(parts) :]
        tables.append(_table(sheet, prefix, list(zip(parts, own, strict=True)), problems, settled))
    return tables


def _parts(sheet: Sheet, data: DataSettings) -> tuple[list[Said], list[Problem]]:
    parts, problems = [], []
    for row in sheet.rows:
        try:
            parts.append(said_in(row.line, row.fields, data, f"{sheet.source}:{row.line}"))
        except DataError as error:
            problems.append(Problem(row.line, str(error)))
    has_options = [bool(one.choices.fields) for one in parts]
    if any(has_options) and not all(has_options):  # an answer such as N is a label here, not a no
        for one in parts:
            if not one.choices.fields:
                found = "no options, though other rows have some"
                problems.append(Problem(one.line, f"{sheet.source}:{one.line}: found {found}, expected at least two"))
        parts = [one for one in parts if one.choices.fields]
    return parts, problems


def _answer(sheet: Sheet, one: Said, name: str) -> Answer:
    where = f"{sheet.source}:{one.line}, {_written(sheet, name)}"
    return Answer(where, one.answers[name], one.choices.texts, one.choices.names, one.choices.columns)


def _written(sheet: Sheet, *names: str) -> str:
    """Fields under the names that the file gives them."""
    written = {plain_name(name): name for name in sheet.columns}
    return ", ".join(written.get(name, name) for name in names)


def _inside(sheet: Sheet, name: str) -> set[str]:
    """Plain names of the fields inside a field, in the first row."""
    value = sheet.rows[0].fields.get(name) if sheet.rows else None
    return {plain_name(inner) for inner in value} if isinstance(value, dict) else set()


def _table(
    sheet: Sheet,
    prefix: str,
    read: Sequence[tuple[Said, Mapping[str, int | DataError]]],
    problems: Sequence[Problem],
    settled: Mapping[str, Settled],
) -> Table:
    entries, lines, found = [], [], list(problems)
    stem = Path(sheet.source).name.removesuffix(".gz").rpartition(".")[0] or Path(sheet.source).name
    for one, meant in read:
        try:
            entries.append(_entry(one, meant, f"{prefix}{stem}-{one.line}", f"{sheet.source}:{one.line}"))
            lines.append(one.line)
        except DataError as error:
            found.append(Problem(one.line, str(error)))
    parts = [one for one, _ in read]
    used = {name for one in parts for name in one.used}
    return Table(
        sheet,
        tuple(entries),
        tuple(lines),
        tuple(sorted(found, key=lambda problem: problem.line)),
        _layout(sheet, parts),
        tuple(name for name in sheet.columns if not {plain_name(name), *_inside(sheet, name)} & used),
        tuple(
            f"{_written(sheet, name)}: numbers are {WAYS[one.way]}{f' ({one.because})' if one.because else ''}"
            for name, one in settled.items()
            if one.way
        ),
    )


def _entry(one: Said, meant: Mapping[str, int | DataError], default_id: str, where: str) -> Entry:
    """The question in a row, its options labelled A, B, C ... in the row's order. Raises DataError."""
    for position in meant.values():
        if isinstance(position, DataError):
            raise position
    positions = {*meant.values(), *(() if one.choices.right is None else (one.choices.right,))}
    if len(positions) > 1:
        said = ", ".join(f"{name} {one.answers[name]!r}" for name in meant)
        raise DataError(
            f"{where}: found {said}, which are not one option, expected data.answer= with the field to read"
        )
    gold = next((LABELS[position] for position in positions if isinstance(position, int)), None)
    try:
        question = Question(
            id=default_id if one.id is None else one.id,
            stem=one.question,
            options=tuple(
                Option(label=label, text=text) for label, text in zip(LABELS, one.choices.texts, strict=False)
            ),
            gold=gold,
        )
    except ValidationError as error:
        raise DataError(f"{where}: {describe(error)}") from None
    return Entry(question, one.knowledge, one.analyses)


def _layout(sheet: Sheet, parts: Sequence[Said]) -> dict[str, str]:
    """Which fields are what, for people; of several layouts in one file every one."""
    said: dict[str, dict[str, None]] = {"question": {}, "options": {}, "answer": {}}
    for one in parts:
        answer = one.choices.fields[:1] if one.choices.right is not None else tuple(one.answers)
        said["question"][_written(sheet, *one.of_question)] = None
        said["options"][_written(sheet, *one.choices.fields) or " or ".join(one.choices.texts)] = None
        said["answer"][_written(sheet, *answer) or "none"] = None
    return {name: " or ".join(found) for name, found in said.items()} if parts else {}
