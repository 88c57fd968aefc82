"""Your own questions, from JSON Lines or CSV.

A question has `question`, `options`, `answer` and, if you like, an `id`. In JSON, options are a list of texts or a
mapping from label to text. In CSV they are columns A, B, C ... (empty cells at the end where a question has fewer), or
one column `options` that holds JSON. The answer is a label, an option's text, or, where the file does not call the
options A, B, C ..., a position from 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from tinythinker.core.errors import DataError, SettingsError, expected, shortened
from tinythinker.core.files import Json, describe, resolved
from tinythinker.core.records import LABELS, Option, Question
from tinythinker.settings.schema import RunSettings
from tinythinker.tasks.benchmark import Benchmark, Entries, Entry, questions_of
from tinythinker.tasks.split import divide
from tinythinker.tasks.tables.answers import answer_position
from tinythinker.tasks.tables.rows import read_rows


class OwnQuestions(Benchmark):
    """One file divided by shares, or with separate files for validation and test (`split.valid_file`, `test_file`)."""

    def read(self, settings: RunSettings) -> Entries:
        """See `Benchmark.read`: part `train`, and `valid` and `test` where they have files."""
        path = Path(settings.task)
        parts = {"train": [Entry(question) for question in read_own(path)]}
        inputs = [path]
        given = {"valid": settings.split.valid_file, "test": settings.split.test_file}
        for name, file in given.items():
            if file is None:
                continue
            if resolved(file) == resolved(path):
                raise SettingsError(
                    expected(f"split.{name}_file", str(file), "another file than the training questions")
                )
            parts[name] = [Entry(question) for question in read_own(file, f"{name}-")]
            inputs.append(file)
        return Entries(parts, tuple(inputs))

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


def read_own(path: Path, prefix: str = "") -> list[Question]:
    """Every question of a .jsonl or .csv file.

    Args:
        prefix: beginning of the ids made for questions that have none; the file's name and the line follow.

    Raises:
        DataError: a question is wrong or there is none; the message names the file and, if it can, the line.
    """
    questions = [_question(row, f"{path}:{number}", f"{prefix}{path.stem}-{number}") for number, row in read_rows(path)]
    if not questions:
        raise DataError(f"{path}: found no question, expected at least one")
    return questions


def _question(row: Json, where: str, default_id: str) -> Question:
    """The question in one row, its options labelled A, B, C ... in the row's order."""
    stem = row.get("question")
    if "question" not in row or "options" not in row:
        found = f"the fields {shortened(list(row))}"
        raise DataError(f"{where}: found {found}, expected question, options and answer")
    if letters := [name for name in row if name in LABELS]:
        raise DataError(
            f"{where}: found options and the fields {', '.join(letters)}, expected the options in one place; "
            "remove the others"
        )
    if not isinstance(stem, str) or not stem.strip():
        raise DataError(expected(f"{where}, question", stem, "some text"))
    options = row.get("options")
    if isinstance(options, dict):
        names, given = [str(name) for name in options], list(options.values())
    elif isinstance(options, list):
        names, given = list(LABELS[: len(options)]), options
    else:
        raise DataError(expected(f"{where}, options", options, "a list of texts or a mapping from label to text"))
    if not 2 <= len(given) <= len(LABELS):
        raise DataError(expected(f"{where}, number of options", len(given), f"2 to {len(LABELS)}"))
    texts: list[str] = []
    for text in given:
        if not isinstance(text, str) or not text.strip():
            raise DataError(expected(f"{where}, options", text, "texts that are not blank"))
        texts.append(text)
    is_named = isinstance(options, dict)
    gold = LABELS[answer_position(row.get("answer"), names, texts, where, is_named=is_named)]
    identity = default_id if row.get("id") is None else row["id"]
    try:
        return Question(
            id=str(identity),
            stem=stem,
            options=tuple(Option(label=label, text=text) for label, text in zip(LABELS, texts, strict=False)),
            gold=gold,
        )
    except ValidationError as error:
        raise DataError(f"{where}: {describe(error)}") from None
