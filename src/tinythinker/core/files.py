"""Files: typed reading that names file and line, atomic writing, appending that survives a kill."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TypeVar

from pydantic import ValidationError

from tinythinker.core import ranks
from tinythinker.core.errors import DataError, expected
from tinythinker.core.progress import Progress
from tinythinker.core.records import Record

R = TypeVar("R", bound=Record)
T = TypeVar("T")
Json = dict[str, object]


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals (missing, no permission, disk full) into one-line data errors."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: found no such file, expected one that can be read") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: found bytes that are not UTF-8 at {error.start}, expected UTF-8 text") from None
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror or error}; nothing was half-written: mend this and run the same command again"
        ) from None


def describe(error: ValidationError) -> str:
    """The first complaint of a pydantic error, in this project's message shape."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{where}: {message}" if where else message
    if first["type"] == "missing":
        return f"{where}: found nothing, expected a value"
    if first["type"] == "extra_forbidden":
        return f"{where}: found {first['input']!r}, expected no such field"
    return expected(where, first["input"], message.removeprefix("Input should be "))


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, byte order mark removed, line ends as they are. Raises DataError."""
    with file_errors(path):
        return path.read_bytes().decode("utf-8-sig")


def read_objects(path: Path, *, is_growing: bool = False) -> Iterator[tuple[int, Json]]:
    """Every JSON object of a JSON Lines file with its line number, from 1; blank lines are passed over.

    Read line by line: a file may be larger than the memory.

    Args:
        is_growing: the file may be in the middle of being added to: an unfinished last line is passed over.

    Raises:
        DataError: the file is missing, or a line is not a JSON object; names file and line.
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
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise DataError(f"{where}: found malformed JSON ({reason}), expected one JSON object on this line") from None
    if not isinstance(value, dict):
        raise DataError(expected(where, value, "a JSON object"))
    return value


def iterate_records(path: Path, kind: type[R], *, is_growing: bool = False) -> Iterator[R]:
    """Every record of a JSON Lines file, one at a time.

    Raises:
        DataError: the file is missing or a line is not such a record; names file and line.
    """
    for number, value in read_objects(path, is_growing=is_growing):
        try:
            record = kind.model_validate(value)
        except ValidationError as error:
            raise DataError(f"{path}:{number}: {describe(error)}") from None
        yield record


def read_records(path: Path, kind: type[R], *, is_growing: bool = False) -> list[R]:
    """Every record of a JSON Lines file at once. Raises DataError, as `iterate_records` does."""
    return list(iterate_records(path, kind, is_growing=is_growing))


def _write(path: Path, text: str) -> None:
    """Write the bytes and see them onto the disk. A function of its own so that tests can make it fail."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Write a whole file or leave it as it was: to a neighbour first, then renamed over. Raises DataError."""
    with file_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            _write(temporary, text)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write a JSON Lines file, whole or not at all. Raises DataError."""
    write_text(path, "".join(record.model_dump_json() + "\n" for record in records))


def write_json(path: Path, value: object) -> None:
    """Write an indented JSON file, whole or not at all. Raises DataError."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Json:
    """A JSON file that holds one object. Raises DataError."""
    try:
        value = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: found malformed JSON ({error.msg}), expected one object") from None
    if not isinstance(value, dict):
        raise DataError(expected(str(path), value, "a JSON object"))
    return value


def read_record(path: Path, kind: type[R]) -> R:
    """A JSON file that holds one record. Raises DataError."""
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as error:
        raise DataError(f"{path}: {describe(error)}") from None


def _drop_torn_line(path: Path) -> None:
    """Cut off what a kill left of an unfinished last line."""
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


@contextmanager
def appending(path: Path) -> Iterator[Appender]:
    """Open a JSON Lines file to add records; a line torn by an earlier kill is dropped first. Raises DataError."""
    with file_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _drop_torn_line(path)
        with path.open("a", encoding="utf-8", newline="") as file:
            yield Appender(file)


class Appender:
    """Adds whole lines; what `add` returned from is on its way to the disk, in order, and never half a line."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def add(self, *values: Record | Json) -> None:
        """Append one line per value and flush."""
        lines = [v.model_dump_json() if isinstance(v, Record) else json.dumps(v, ensure_ascii=False) for v in values]
        self._file.write("".join(line + "\n" for line in lines))
        self._file.flush()

    def sync(self) -> None:
        """See everything added onto the disk, against a loss of power."""
        os.fsync(self._file.fileno())


def complete(
    path: Path, kind: type[R], items: Sequence[T], work: Callable[[Sequence[T]], Sequence[R]], *, chunk: int, name: str
) -> list[R]:
    """One record per item, in order, worked out chunk by chunk and appended to a file as it comes.

    Whole chunks that are in the file already are kept, a part of one is done again: chunks always have the same
    borders, so an interrupted file ends as an undisturbed one. Several processes do a chunk each at a time, and the
    first one writes; what is worked out together is the same however many there are. Raises DataError.

    Args:
        chunk: items that are worked out together.
        name: what the progress bar calls it.
    """
    done = ranks.on_first(lambda: _done_before(path, kind, len(items), chunk))
    with ExitStack() as stack:
        file = stack.enter_context(appending(path)) if ranks.is_first() else None
        progress = stack.enter_context(Progress(name, len(items), len(done)))
        while len(done) < len(items):
            some = items[len(done) : len(done) + chunk * ranks.count()]
            own = ranks.share(some, block=chunk)
            made = ranks.gather(work(own) if own else [], len(some), block=chunk)
            if file is not None:
                file.add(*made)
            done.extend(made)
            progress.advance(len(made))
    ranks.wait()
    return done


def _done_before(path: Path, kind: type[R], count: int, chunk: int) -> list[R]:
    """What a file holds of so many records, down to a whole chunk."""
    if not path.exists():
        return []
    found = read_records(path, kind, is_growing=True)
    done = found if len(found) == count else found[: len(found) // chunk * chunk]
    if len(done) < len(found):
        write_records(path, done)
    return done


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Fill a folder beside `path`, then put it in the place of `path` in one rename. Raises DataError."""
    with file_errors(path):
        temporary = path.with_name(f".{path.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            shutil.rmtree(path, ignore_errors=True)
            temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
