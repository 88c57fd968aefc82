"""Files -> rows, by what is in them, not by their names: JSON Lines, JSON, CSV, Parquet, Excel, gzip of these."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from tinythinker.core.errors import DataError, SettingsError, expected, first_line
from tinythinker.core.files import file_errors
from tinythinker.core.formats import Json, MalformedError, parse_json_values
from tinythinker.settings.schema import DataSettings
from tinythinker.tasks.tables.encodings import decode

_MOST_BYTES = 1 << 30
"""Of a file, and of what its gzip stands for: a device without end, or a few bytes that unfold, fill no memory."""
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""Between the cells of a line; the first line says which."""
_SAID = re.compile(r"sep=([,;\t|])\r?\n")
"""A first line by which Excel is told the separator."""
_LONGEST_CELL = 1 << 24


class Line(NamedTuple):
    """One row of a table."""

    line: int
    """Where it stands in the file, counted from 1; in Parquet and on the Hub the number of the row."""
    fields: Json


@dataclass(frozen=True)
class Sheet:
    """What a file holds, before anybody knows what its columns mean."""

    source: str
    """The file, as messages name it."""
    form: str
    """What was recognised, for people: `CSV with semicolons, cp1252`."""
    rows: Sequence[Line]
    passed_over: tuple[int, ...] = ()
    """Lines of the rows without any content."""

    @cached_property
    def columns(self) -> list[str]:
        """Names of all fields, in the order in which they first appear."""
        return list(dict.fromkeys(name for row in self.rows for name in row.fields))


def read_rows(path: Path, data: DataSettings | None = None) -> Sheet:
    """Every row of a file; those without content are counted and left out.

    Raises:
        SettingsError: `data.encoding` or `data.sheet` does not suit the file.
        DataError: the file cannot be read or is no table; the message names file and line.
    """
    data = data or DataSettings()
    form, rows = _read(_bytes_of(path), path, data)
    kept = [row for row in rows if not all(map(is_empty, row.fields.values()))]
    empty = {row.line for row in rows} - {row.line for row in kept}
    return Sheet(str(path), form, kept, tuple(sorted(empty)))


def is_empty(value: JsonValue) -> bool:
    """Does a field say nothing?"""
    return value is None or value in ([], {}) or (isinstance(value, str) and not value.strip())


def _bytes_of(path: Path) -> bytes:
    with file_errors(path), path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if content.startswith(b"\x1f\x8b"):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as unfolded:
                content = unfolded.read(_MOST_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"{path}: found gzip that is damaged ({first_line(error)}), expected a whole file"
            ) from None
    if len(content) > _MOST_BYTES:
        raise DataError(f"{path}: found more than {_MOST_BYTES:,} bytes, expected a smaller file")
    return content


def _read(content: bytes, path: Path, data: DataSettings) -> tuple[str, list[Line]]:
    """What a file is, for people, and its rows."""
    if content.startswith(b"PAR1"):
        return "Parquet", _parquet(content, path)
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        name, rows = _excel(content, path, data.sheet)
        return f"Excel, sheet {name}", rows
    if data.sheet is not None:
        raise SettingsError(expected(f"data.sheet for {path}", data.sheet, "no such setting: the file is no workbook"))
    text, encoding = decode(content, data.encoding, str(path))
    if "\0" in text:
        raise DataError(
            f"{path}: found a NUL character, expected JSON Lines, JSON, CSV, Parquet, Excel or gzip of these"
        )
    start = text.lstrip()[:1]
    if start in ("{", "["):
        return f"JSON{' Lines' if start == '{' else ''}, {encoding}", list(_json(text, path))
    separator, rows = _csv(text, path)
    return f"{'TSV' if separator == chr(9) else 'CSV'} with {_SEPARATORS[separator]}, {encoding}", rows


def _json(text: str, path: Path) -> Iterator[Line]:
    try:
        for line, value in parse_json_values(text):
            if not isinstance(value, dict):
                raise DataError(expected(f"{path}:{line}", value, "a JSON object"))
            yield Line(line, value)
    except MalformedError as error:
        raise DataError(
            f"{error.at(str(path))}: found {error}, expected one JSON object on every line, or one list of them"
        ) from None


def _csv(text: str, path: Path) -> tuple[str, list[Line]]:
    """The character between the cells, which divides the first line and all others alike, and the rows."""
    if (said := _SAID.match(text)) is not None:
        return said[1], list(_table(_lines(text, said[1], path, skipped=said.end()), path))
    dividing = [separator for separator in _SEPARATORS if len(_header(text, separator)) > 1] or [","]
    if len(dividing) > 1:
        dividing = [separator for separator in dividing if _is_even(text, separator)] or dividing
    if len(dividing) > 1:
        found = " and ".join(_SEPARATORS[separator] for separator in dividing)
        raise DataError(f"{path}:1: found {found} in the first line, expected one of them between the cells")
    return dividing[0], list(_table(_lines(text, dividing[0], path), path))


def _header(text: str, separator: str) -> list[str]:
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        return next((cells for cells in lines if any(map(str.strip, cells))), [])
    except csv.Error:
        return []


def _is_even(text: str, separator: str) -> bool:
    """Do all lines with content have as many cells as the first?"""
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error:
        return False
    return len({len(cells) for cells in lines if any(cells)}) == 1


def _lines(text: str, separator: str, path: Path, *, skipped: int = 0) -> Iterator[tuple[int, Sequence[JsonValue]]]:
    """The cells of every line, without the blanks around them, and the number of its last line.

    Args:
        skipped: characters of a first line that is no part of the table.
    """
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(io.StringIO(text[skipped:], newline=""), delimiter=separator, strict=True)
    above = 1 if skipped else 0
    try:
        for cells in reader:
            if any(cell.lstrip().startswith('"') and not cell.startswith('"') for cell in cells):
                raise csv.Error("a blank before a quote")
            yield above + reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        where = f"{path}:{above + reader.line_num}"
        raise DataError(
            f"{where}: found malformed CSV ({error}), expected cells with {_SEPARATORS[separator]} "
            'between them, and quotes around and twice inside a cell that holds such a character ("so ""it"" is")'
        ) from None


def _table(lines: Iterator[tuple[int, Sequence[JsonValue]]], path: Path) -> Iterator[Line]:
    """Sheet whose columns the first line with content names; cells that are missing at the end are empty."""
    names: list[str] = []
    for line, cells in lines:
        if not names:
            names = ["" if cell is None else str(cell) for cell in cells]
            while names and not names[-1]:
                names.pop()
            if len(set(names)) < len(names):
                raise DataError(expected(f"{path}:{line}", names, "distinct column names"))
            continue
        if any(not is_empty(cell) for cell in cells[len(names) :]):
            found, wanted = f"{len(cells) - len(names)} cells too many", f"{len(names)} cells"
            raise DataError(expected(f"{path}:{line}", found, wanted))
        yield Line(line, {**dict.fromkeys(names), **dict(zip(names, cells, strict=False))})


def _parquet(content: bytes, path: Path) -> list[Line]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(content))
        names = list(table.column_names)
        if len(set(names)) < len(names):
            raise DataError(expected(str(path), names, "distinct column names"))
        rows = table.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: found Parquet that is damaged ({first_line(error)}), expected a whole file") from None
    return [
        Line(number, {name: as_json(value) for name, value in row.items()}) for number, row in enumerate(rows, start=1)
    ]


def as_json(value: object) -> JsonValue:
    """A value from a library as a JSON value: a date becomes text, bytes and what is no number become None."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return None if value != value else int(value) if value.is_integer() and abs(value) < 1 << 53 else value
    if isinstance(value, Mapping):
        return {str(name): as_json(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(one) for one in value]
    return None if isinstance(value, bytes) else str(value)


def _excel(content: bytes, path: Path, sheet: str | None) -> tuple[str, list[Line]]:
    """The name of the sheet, and its rows; blanks around a text are dropped, as in CSV."""
    if find_spec("python_calamine") is None:
        raise DataError(
            f"{path}: found a workbook, and no package python-calamine to read it, expected both; install it with "
            "`pip install 'tinythinker[excel]'`, or save the sheet as CSV"
        )
    import python_calamine as calamine

    try:
        book = calamine.load_workbook(io.BytesIO(content))
        names = list(book.sheet_names)
        if sheet is None and len(names) != 1:
            names = [name for name in names if book.get_sheet_by_name(name).to_python(nrows=1)]
        chosen = [name for name in names if sheet in (None, name)]
        if len(chosen) != 1:
            raise SettingsError(expected(f"data.sheet for {path}", sheet, f"one of {', '.join(map(repr, names))}"))
        name = chosen[0]
        cells = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
    except (calamine.CalamineError, OSError, ValueError) as error:
        raise DataError(
            f"{path}: found a workbook that is damaged ({first_line(error)}), expected a whole one"
        ) from None
    lines = (
        (number, [one.strip() if isinstance(one, str) else as_json(one) for one in line])
        for number, line in enumerate(cells, start=1)
    )
    return name, list(_table(lines, path))
