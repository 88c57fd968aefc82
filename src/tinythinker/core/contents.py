"""What the finished files of a run held, so that a file that is cut, emptied, altered or gone is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tinythinker.core.errors import DataError
from tinythinker.core.files import file_errors
from tinythinker.core.records import Record

_BLOCK = 1 << 20
"""Bytes read at once: a student's weights may be larger than memory."""


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes. Raises DataError."""
    with file_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Content(Record):
    """What a file held when its verb had finished it."""

    sha256: str
    bytes: int
    lines: int | None = None
    """Of a JSON Lines file; None for others."""
    touched: tuple[int, int]
    """Times of the last change of the file and of its entry in the folder (mtime and ctime), in nanoseconds. While
    they and the size stay, the file is not read again."""


def content_of(path: Path) -> Content:
    """What a file holds now. Raises DataError."""
    with file_errors(path):
        status = path.stat()
    return Content(
        sha256=sha256(path),
        bytes=status.st_size,
        lines=_count_lines(path) if path.suffix == ".jsonl" else None,
        touched=(status.st_mtime_ns, status.st_ctime_ns),
    )


def _count_lines(path: Path) -> int:
    count, last = 0, b"\n"
    with file_errors(path), path.open("rb") as file:
        while block := file.read(_BLOCK):
            count, last = count + block.count(b"\n"), block
    return count + (not last.endswith(b"\n"))


class Checked(NamedTuple):
    """A file that holds what it should."""

    content: Content
    is_news: bool
    """Should the content be written down: for the first time, or because the file was copied or touched since?"""


def check(path: Path, known: Content | None, made_by: str, remedy: str) -> Checked:
    """What a file holds, which must be what is known of it, if anything is.

    Args:
        made_by: the verb that made the file.
        remedy: what the user can do, for the message.

    Raises:
        DataError: the file is missing, or holds something else.
    """
    if known is None:
        return Checked(content_of(path), True)
    if not path.is_file():
        wanted = f"the {_size(known)} that `{made_by}` wrote"
        raise DataError(f"{path}: found no such file, expected {wanted}; {remedy}")
    status = path.stat()
    if (status.st_size, (status.st_mtime_ns, status.st_ctime_ns)) == (known.bytes, known.touched):
        return Checked(known, False)
    now = content_of(path)
    if now.sha256 == known.sha256:
        return Checked(now, True)
    found, wanted = _size(now), _size(known)
    if found == wanted:
        found, wanted = f"{found} of other content", "those"
    else:
        wanted = f"the {wanted}"
    raise DataError(f"{path}: found {found}, expected {wanted} that `{made_by}` wrote; {remedy}")


def _size(content: Content) -> str:
    if content.lines is None:
        return f"{content.bytes:,} bytes"
    return f"{content.lines:,} line{'' if content.lines == 1 else 's'}"


def without(contents: Mapping[str, Content], folder_or_file: str) -> dict[str, Content]:
    """The contents except those of a file, or of all files in a folder."""
    return {
        name: content
        for name, content in contents.items()
        if name != folder_or_file and not name.startswith(f"{folder_or_file}/")
    }
