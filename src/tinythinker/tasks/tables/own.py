"""Questions of one's own, from JSON Lines or CSV.

A question has `question`, `options`, `answer`, and if it likes an `id`. In JSON, options are a list of texts or a
mapping from label to text. In CSV they stand in columns A, B, C ... (empty cells at the end where a question has
fewer), or in one column `options` that holds JSON. The answer is a label, an option's text, or a position from 0.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from tinythinker.core.errors import DataError, expected
from tinythinker.core.files import Json, describe, read_objects, read_text
from tinythinker.core.records import LABELS, Option, Question


def read_own(path: Path, prefix: str = "") -> list[Question]:
    """Every question of a .jsonl or .csv file.

    Args:
        prefix: what the ids made up for questions without one begin with; then come the file's name and the line.

    Raises:
        DataError: names file and line and says what is wrong.
    """
    rows = _csv_rows(path) if path.suffix.lower() == ".csv" else read_objects(path)
    questions = [_question(row, f"{path}:{number}", f"{prefix}{path.stem}-{number}") for number, row in rows]
    if not questions:
        raise DataError(f"{path}: found no question, expected at least one")
    return questions


def _csv_rows(path: Path) -> Iterator[tuple[int, Json]]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        columns = list(reader.fieldnames or ())
        letters = [name for name in columns if name in LABELS and len(name) == 1]
        if len(set(columns)) < len(columns):
            raise DataError(expected(f"{path}:1", columns, "column names that differ"))
        for cells in reader:
            where = reader.line_num
            if None in cells:
                raise DataError(
                    expected(f"{path}:{where}", f"{len(cells[None])} cells too many", f"{len(columns)} cells")
                )
            row: Json = {name: cells[name] for name in ("id", "question", "answer") if cells.get(name)}
            if "options" in columns:
                row["options"] = _json_cell(cells["options"] or "", f"{path}:{where}")
            else:
                texts = {name: cells[name] or "" for name in letters}
                while texts and not texts[list(texts)[-1]]:
                    texts.popitem()
                row["options"] = texts
            yield where, row
    except csv.Error as error:
        raise DataError(
            f"{path}:{reader.line_num}: found malformed CSV ({error}), expected comma-separated cells"
        ) from None


def _json_cell(cell: str, where: str) -> object:
    try:
        return json.loads(cell)
    except json.JSONDecodeError:
        raise DataError(expected(f"{where}, options", cell, "a JSON list or mapping")) from None


def _question(row: Json, where: str, default_id: str) -> Question:
    """One row, labels turned into A, B, C ... in the row's order."""
    stem = row.get("question")
    if not isinstance(stem, str) or not stem.strip():
        raise DataError(expected(f"{where}, question", stem, "some text"))
    options = row.get("options")
    if isinstance(options, dict):
        names, texts = [str(name) for name in options], list(options.values())
    elif isinstance(options, list):
        names, texts = list(LABELS[: len(options)]), options
    else:
        raise DataError(expected(f"{where}, options", options, "a list of texts or a mapping from label to text"))
    if not 2 <= len(texts) <= len(LABELS):
        raise DataError(expected(f"{where}, number of options", len(texts), f"2 to {len(LABELS)}"))
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise DataError(expected(f"{where}, options", text, "texts that are not blank"))
    gold = LABELS[_position(row.get("answer"), names, texts, where)]
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


def _position(answer: object, names: list[str], texts: list[str], where: str) -> int:
    """Where the answer stands among the options: by label, by text, or else by position from 0; never by guessing."""
    said = "" if answer is None or isinstance(answer, bool) else str(answer)
    by_name = [i for i, name in enumerate(names) if name == said]
    by_text = [i for i, text in enumerate(texts) if text == said]
    by_position = [int(said)] if said.isdecimal() and int(said) < len(texts) else []
    is_number = isinstance(answer, int) and not isinstance(answer, bool)
    meant: set[int] = {*by_name, *by_text, *(by_position if is_number else ())} or set(by_position)
    if len(meant) == 1:
        return meant.pop()
    wanted = f"a label ({', '.join(names)}), an option's text, or a position from 0 to {len(texts) - 1}"
    raise DataError(expected(f"{where}, answer", answer, f"{wanted}{', and only one option meant' if meant else ''}"))
