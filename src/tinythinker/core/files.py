"""Files: typed reads whose errors name file and line, atomic writes, and appends that survive a kill."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from pydantic import JsonValue, ValidationError

from tinythinker.core.errors import DataError, expected, shortened
from tinythinker.core.formats import Json as Json
from tinythinker.core.formats import MalformedError, parse_json
from tinythinker.core.records import Record

R = TypeVar("R", bound=Record)
T = TypeVar("T")
_MOST_WHERE = 100
"""Characters of a field's name that a message shows as they are."""


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors (no such file, no permission, disk full) into one-line DataErrors."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: found no such file, expected a readable file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: found byte {error.start} is not UTF-8, expected UTF-8 text") from None
    except UnicodeEncodeError:
        raise DataError(f"{path}: found a text or name that UTF-8 cannot hold, expected one that it can") from None
    except FileExistsError:
        raise DataError(f"{path}: found a file, or a link to nothing, where a folder must be; remove it") from None
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror or error}; nothing was half-written: fix this and run the command again"
        ) from None


def describe(error: ValidationError) -> str:
    """The first problem in a pydantic error, as a message in this project's shape."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    where = where if where.isprintable() and len(where) <= _MOST_WHERE else shortened(where)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{where}: {message}" if where else message
    if first["type"] == "missing":
        return f"{where}: found nothing, expected a value"
    if first["type"] == "extra_forbidden":
        return f"{where}: found {shortened(first['input'])}, expected no such field"
    return expected(where, first["input"], message.removeprefix("Input should be "))


def read_text(path: Path, *, most_bytes: int | None = None) -> str:
    """The text of a UTF-8 file without its byte order mark; line ends stay as they are.

    Args:
        most_bytes: no more is read, so that a device without end does not fill the memory; None reads all.

    Raises:
        DataError: it cannot be read, is not UTF-8, or is larger than `most_bytes`.
    """
    with file_errors(path), path.open("rb") as file:
        content = file.read(-1 if most_bytes is None else most_bytes + 1)
        if most_bytes is not None and len(content) > most_bytes:
            raise DataError(f"{path}: found more than {most_bytes:,} bytes, expected a smaller file")
        return content.decode("utf-8-sig")


def read_objects(path: Path, *, is_growing: bool = False) -> Iterator[tuple[int, Json]]:
    """Every JSON object of a JSON Lines file with its line number, counted from 1; blank lines are skipped.

    Reads line by line, because a file may be larger than memory.

    Args:
        is_growing: a process may be writing to the file, so an unfinished last line is skipped.

    Raises:
        DataError: the file is missing, or a line is not a JSON object; the message names file and line.
    """
    with file_errors(path), path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if is_growing and not raw.endswith(b"\n"):  # before decoding: a kill may have torn a character
                return
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            if line.strip():
                yield number, _object(line, f"{path}:{number}")


def _object(line: str, where: str) -> Json:
    try:
        value = parse_json(line)
    except MalformedError as error:
        raise DataError(f"{where}: found {error}, expected one JSON object on this line") from None
    if not isinstance(value, dict):
        raise DataError(expected(where, value, "a JSON object"))
    return value


def iterate_records(path: Path, kind: type[R], *, is_growing: bool = False) -> Iterator[R]:
    """Every record of a JSON Lines file, one at a time.

    Raises:
        DataError: the file is missing, or a line is not such a record; the message names file and line.
    """
    for number, value in read_objects(path, is_growing=is_growing):
        yield _validated(value, kind, f"{path}:{number}")


def record_of(line: str, kind: type[R], where: str) -> R:
    """The record on a line of JSON Lines; `where` says in a message which line it is. Raises DataError."""
    return _validated(_object(line, where), kind, where)


def _validated(value: Json, kind: type[R], where: str) -> R:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise DataError(f"{where}: {describe(error)}") from None


def read_records(path: Path, kind: type[R], *, is_growing: bool = False) -> list[R]:
    """All records of a JSON Lines file. Raises DataError, as `iterate_records` does."""
    return list(iterate_records(path, kind, is_growing=is_growing))


def _write(path: Path, text: str) -> None:
    """Write a text and wait until it is on disk. A separate function, so that tests can make it fail."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def temporary_of(path: Path) -> Path:
    """What a file or folder is called until it is whole."""
    return path.with_name(f".{path.name}.tmp")


def write_text(path: Path, text: str) -> None:
    """Write a whole file or leave it unchanged: write a temporary file, then rename it. Raises DataError."""
    with file_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_of(path)
        try:
            _write(temporary, text)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write a JSON Lines file, whole or not at all. Raises DataError."""
    write_text(path, "".join(record.model_dump_json() + "\n" for record in records))


def write_json(path: Path, value: JsonValue) -> None:
    """Write an indented JSON file, whole or not at all. Raises DataError."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json_value(path: Path, wanted: str) -> JsonValue:
    """The value in a JSON file; `wanted` says in a message what it should be. Raises DataError."""
    try:
        return parse_json(read_text(path))
    except MalformedError as error:
        raise DataError(f"{error.at(str(path))}: found {error}, expected {wanted}") from None


def read_json(path: Path) -> Json:
    """A JSON file that holds one object. Raises DataError."""
    value = read_json_value(path, "one object")
    if not isinstance(value, dict):
        raise DataError(expected(str(path), value, "a JSON object"))
    return value


def read_record(path: Path, kind: type[R]) -> R:
    """A JSON file that holds one record. Raises DataError."""
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as error:
        raise DataError(f"{path}: {describe(error)}") from None


def write_record(path: Path, record: Record) -> None:
    """Write a record as an indented JSON file, whole or not at all. Raises DataError."""
    write_json(path, record.model_dump(mode="json"))


def _drop_torn_line(path: Path) -> None:
    """Remove an unfinished last line that a kill left behind."""
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


@contextmanager
def appending(path: Path) -> Iterator[Appender]:
    """Open a JSON Lines file to add records. First drops a line torn by an earlier kill. Raises DataError."""
    with file_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _drop_torn_line(path)
        with path.open("a", encoding="utf-8", newline="") as file:
            yield Appender(file)


@contextmanager
def whole_file(path: Path) -> Iterator[Appender]:
    """Write a JSON Lines file record by record, whole or not at all. Raises DataError."""
    with file_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                appender = Appender(file)
                yield appender
                appender.sync()
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


class Appender:
    """Adds whole lines to a file. When `add` returns, its lines are on their way to disk, in order."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def add(self, *values: Record | Json) -> None:
        """Append one line per value and flush."""
        lines = [v.model_dump_json() if isinstance(v, Record) else json.dumps(v, ensure_ascii=False) for v in values]
        self._file.write("".join(line + "\n" for line in lines))
        self._file.flush()

    def sync(self) -> None:
        """Wait until everything added is on disk, so that it survives a loss of power."""
        self._file.flush()
        os.fsync(self._file.fileno())


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there; of a link only the link, never what lies behind it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def resolved(path: Path) -> Path:
    """The absolute path without links. Raises DataError for links that go in circles."""
    try:
        return path.resolve()
    except RuntimeError:
        raise DataError(f"{path}: found links that go in circles, expected a file or folder") from None


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Fill a temporary folder next to `path`, then rename it to replace `path`. Raises DataError."""
    with file_errors(path):
        temporary = temporary_of(path)
        remove(temporary)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            remove(path)
            temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
