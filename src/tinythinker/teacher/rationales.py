"""A shareable file of rationales: a header that says where they come from, then one rationale per line."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from tinythinker.core.errors import DataError
from tinythinker.core.files import Json, describe, read_objects, write_records
from tinythinker.core.records import Question, Rationale, Record
from tinythinker.core.stored import Picked, Stored


class Header(Record):
    """Where the rationales in a file come from."""

    kind: Literal["tinythinker rationales"] = "tinythinker rationales"
    version: str = Field(default_factory=lambda: metadata.version("tinythinker"))
    source: str
    """`teacher.source` of the run that wrote the file."""
    teacher: str | None = None
    """The language model that wrote them, as its endpoint names it; None if no language model did."""
    prompt: str | None = None
    """Hash of instruction, worked examples and requested format; None without a language model."""
    settings: Json
    """Settings of the requests and of the selection, without addresses or paths."""
    task: str
    questions: int
    split: str
    """Hash of the training questions, with their options and gold labels."""
    relabelled: dict[str, str] = Field(default_factory=dict)
    """Questions whose gold label the teacher's majority replaced, with the new label."""
    licence: str
    """A note on the licence, not legal advice."""
    origin: Header | None = None
    """Header of the file that these rationales were taken from; None without one."""


def split_hash(questions: Sequence[Question]) -> str:
    """A name for a set of questions: equal for equal ids, texts, options and gold labels, in any order."""
    lines = sorted(question.model_dump_json() for question in questions)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def write_rationales(path: Path, header: Header, rationales: Sequence[Rationale]) -> None:
    """Write the file completely or not at all. Raises DataError."""
    write_records(path, [header, *rationales])


def read_header(path: Path) -> Header | None:
    """A file's header, read without the rest; None if it has none. Raises DataError."""
    for number, value in read_objects(path):
        try:
            return Header.model_validate(value) if "kind" in value else None
        except ValidationError as error:
            raise DataError(f"{path}:{number}: {describe(error)}") from None
    return None


def read_rationales(path: Path) -> tuple[Header | None, list[Rationale]]:
    """The header and the rationales of a file; the header is None in a file without one.

    If there are several headers (concatenated files), the first one counts.

    Raises:
        DataError: the file is missing, or a line is neither header nor rationale; names file and line.
    """
    headers: list[Header] = []
    rationales: list[Rationale] = []
    for _, one in _lines(path):
        if isinstance(one, Header):
            headers.append(one)
        else:
            rationales.append(one)
    return (headers[0] if headers else None), rationales


def stored_rationales(path: Path) -> Sequence[Rationale]:
    """The rationales of a file, each read again when it is needed. Raises DataError, as `read_rationales` does."""
    return Picked(Stored(path, Rationale), [line - 1 for line, one in _lines(path) if isinstance(one, Rationale)])


def _lines(path: Path) -> Iterator[tuple[int, Header | Rationale]]:
    """Every line with its number."""
    for number, value in read_objects(path):
        try:
            yield number, (Header if "kind" in value else Rationale).model_validate(value)
        except ValidationError as error:
            raise DataError(f"{path}:{number}: {describe(error)}") from None
