"""Your own questions: a file, or a data set of the Hugging Face Hub (`tables` says how they are read)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tinythinker.core.errors import DataError, SettingsError, expected
from tinythinker.core.files import resolved
from tinythinker.core.records import Question
from tinythinker.settings.schema import HUB, DataSettings, RunSettings
from tinythinker.tasks.benchmark import Benchmark, Entries, Entry, questions_of
from tinythinker.tasks.split import divide
from tinythinker.tasks.tables.findings import findings_of
from tinythinker.tasks.tables.hub import read_hub
from tinythinker.tasks.tables.rows import Sheet, read_rows
from tinythinker.tasks.tables.tables import Table, read_tables

_HUB_SPLITS = {"validation": "valid", "dev": "valid", "test": "test"}
"""A data set's own names of splits; any other but `train` is not used."""


class OwnQuestions(Benchmark):
    """One file divided by shares, or with separate files for validation and test (`split.valid_file`, `test_file`)."""

    def read(self, settings: RunSettings) -> Entries:
        """See `Benchmark.read`: part `train`, and `valid` and `test` where they have files."""
        sheets: dict[str, Sheet]
        if settings.task.startswith(HUB):
            data = read_hub(settings.task)
            sheets, inputs, revisions = _hub_sheets(data.sheets, data.name), [], {data.name: data.revision}
        else:
            sheets, inputs, revisions = (
                {"train": read_rows(Path(settings.task), settings.data)},
                [Path(settings.task)],
                {},
            )
        for name, file in {"valid": settings.split.valid_file, "test": settings.split.test_file}.items():
            if file is not None:
                if resolved(file) == resolved(Path(settings.task)):
                    wanted = "another file than the training questions"
                    raise SettingsError(expected(f"split.{name}_file", str(file), wanted))
                sheets[name] = read_rows(file, settings.data)
                inputs.append(file)
        tables = read_tables([(s, "" if part == "train" else f"{part}-") for part, s in sheets.items()], settings.data)
        parts = dict(zip(sheets, tables, strict=True))
        if settings.task.startswith(HUB):  # the answers of a test split are often held back
            parts = {name: table for name, table in parts.items() if name == "train" or not _is_blind(table)}
        return Entries(
            {name: _answered(table) for name, table in parts.items()},
            tuple(inputs),
            revisions,
            tuple(line for table in parts.values() for line in findings_of(table).short()),
        )

    def split(self, parts: Mapping[str, Sequence[Entry]], settings: RunSettings) -> Mapping[str, Sequence[Question]]:
        """See `Benchmark.split`."""
        questions = questions_of(parts["train"])
        shares = {
            name: max(1, round(share * len(questions)))
            for name, share in (("valid", settings.split.valid), ("test", settings.split.test))
            if name not in parts
        }
        if sum(shares.values()) >= len(questions):
            raise DataError(
                expected(settings.task, f"{len(questions)} question(s)", "enough for train, valid and test")
            )
        return {
            **{name: questions_of(part) for name, part in parts.items()},
            **divide(questions, shares, settings.seed),
        }


def training_sheet(settings: RunSettings) -> Sheet:
    """The rows of the file that a task names, or of a data set's training split. Raises DataError, SettingsError."""
    if settings.task.startswith(HUB):
        data = read_hub(settings.task)
        return _hub_sheets(data.sheets, data.name)["train"]
    return read_rows(Path(settings.task), settings.data)


def _hub_sheets(sheets: Mapping[str, Sheet], name: str) -> dict[str, Sheet]:
    """A data set's splits under our names. Raises DataError if none is called train and there are several."""
    if "train" not in sheets and len(sheets) != 1:
        raise DataError(expected(f"{name}, splits", list(sheets), "one called train, or only one"))
    train = "train" if "train" in sheets else next(iter(sheets))
    others = {ours: sheets[theirs] for theirs, ours in _HUB_SPLITS.items() if theirs in sheets and theirs != train}
    return {"train": sheets[train], **others}


def _is_blind(table: Table) -> bool:
    return all(entry.question.gold is None for entry in table.entries)


def _answered(table: Table) -> tuple[Entry, ...]:
    """All entries of a table. Raises DataError if one has no answer to learn or to be tested by."""
    entries = table.whole
    for entry, line in zip(entries, table.lines, strict=True):
        if entry.question.gold is None:
            count = sum(one.question.gold is None for one in entries)
            raise DataError(
                f"{table.sheet.source}:{line}: found no answer ({count} of {len(entries)} questions have none) in "
                f"{table.fields}, expected one for every question, or data.answer= to name its field; questions "
                "without answers can be answered (`tinythinker predict`), not learned from"
            )
    return entries


def read_own(path: Path, prefix: str = "", data: DataSettings | None = None) -> list[Question]:
    """Every question of a file; those without an answer have no gold label.

    Args:
        prefix: beginning of the ids made for questions that have none; the file's name and the line follow.
        data: names of columns and the like; None takes the defaults.

    Raises:
        DataError: a question is wrong or there is none; the message names the file and, if it can, the line.
    """
    data = data or DataSettings()
    (table,) = read_tables([(read_rows(path, data), prefix)], data)
    return questions_of(table.whole)
