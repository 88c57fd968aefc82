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
from tinythinker.core.jsonl import Json, describe, read_objects, read_text
from tinythinker.core.records import LABELS, Option, Question


def read_own(path: Path) -> list[Question]:
    """Every question of a .jsonl or .csv file.

    Raises:
        DataError: names file and line and says what is wrong.
    """
    rows = _csv_rows(path) if path.suffix.lower() == ".csv" else read_objects(path)
    questions = [_question(row, f"{path}:{number}", f"{path.stem}-{number}") for number, row in rows]
    if not questions:
        raise DataError(f"{path}: found no question, expected at least one")
    return questions


def _csv_rows(path: Path) -> Iterator[tuple[int, Json]]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        columns = list(reader.fieldnames or ())
        letters = [name for name in columns if name in LABELS and len(name) == 1]
        start = reader.line_num + 1
        for cells in reader:
            where, start = start, reader.line_num + 1
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
        if not isinstance(text, str) or not text:
            raise DataError(expected(f"{where}, options", text, "texts that are not empty"))
    gold = LABELS[_position(row.get("answer"), names, texts, where)]
    identity = row.get("id", default_id)
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
    """Where the answer stands among the options: by label, else by text, else by position from 0."""
    if isinstance(answer, int) and not isinstance(answer, bool) and str(answer) not in names:
        if 0 <= answer < len(texts):
            return answer
    elif answer is not None and not isinstance(answer, bool):
        said = str(answer)
        by_text = [i for i, text in enumerate(texts) if text == said]
        by_name = [i for i, name in enumerate(names) if name == said]
        if by_name and by_text and by_name != by_text:
            raise DataError(
                expected(
                    f"{where}, answer", answer, "a label or a text, not the label of one option and the text of another"
                )
            )
        if len(by_text) > 1 and not by_name:
            raise DataError(expected(f"{where}, answer", answer, "a label, since two options have this text"))
        if found := by_name or by_text:
            return found[0]
        if said.isdecimal() and int(said) < len(texts):
            return int(said)
    raise DataError(
        expected(
            f"{where}, answer",
            answer,
            f"a label ({', '.join(names)}), an option's text, or a position from 0 to {len(texts) - 1}",
        )
    )
