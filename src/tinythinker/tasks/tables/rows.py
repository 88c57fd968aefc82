"""Files -> rows: JSON Lines or CSV, one JSON object per question with its line number."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import JsonValue

from tinythinker.core.errors import DataError, expected, shortened
from tinythinker.core.files import read_objects, read_text
from tinythinker.core.formats import Json, MalformedError, parse_json
from tinythinker.core.records import LABELS


def read_rows(path: Path) -> Iterator[tuple[int, Json]]:
    """Every row with its line number. Raises DataError, which names file and line."""
    return _csv_rows(path) if path.suffix.lower() == ".csv" else read_objects(path)


def _csv_rows(path: Path) -> Iterator[tuple[int, Json]]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        columns = list(reader.fieldnames or ())
        letters = _option_columns(columns, path)
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


def _option_columns(columns: Sequence[str], path: Path) -> list[str]:
    """The columns A, B, C ... of a table; none if its options are in one column. Raises DataError."""
    letters = [name for name in columns if name in LABELS and len(name) == 1]
    wanted = "question, answer, and the options as columns A, B, C ... or as JSON in one column options"
    if len(set(columns)) < len(columns):
        raise DataError(expected(f"{path}:1", columns, "distinct column names"))
    if columns and ("question" not in columns or ("options" not in columns and len(letters) < 2)):
        raise DataError(f"{path}:1: found the columns {shortened(columns)}, expected {wanted}")
    if "options" in columns and letters:
        raise DataError(
            f"{path}:1: found the columns options and {', '.join(letters)}, expected the options in one place; remove "
            "the others"
        )
    return letters


def _json_cell(cell: str, where: str) -> JsonValue:
    try:
        return parse_json(cell)
    except MalformedError as error:
        raise DataError(f"{where}, options: found {error}, expected a JSON list or mapping") from None
