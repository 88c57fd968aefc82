"""The file of rationales: a header that says where they come from, then one rationale per line. Made to be shared."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from tinythinker.core.errors import DataError
from tinythinker.core.files import Json, describe, read_objects, write_records
from tinythinker.core.records import Question, Rationale, Record


class Header(Record):
    """Where the rationales of a file come from."""

    kind: Literal["tinythinker rationales"] = "tinythinker rationales"
    version: str = metadata.version("tinythinker")
    source: str
    """`teacher.source` of the run that made the file."""
    teacher: str | None = None
    """The language model that wrote them, as its endpoint names it."""
    prompt: str | None = None
    """Hash of the instruction, the worked examples shown and the form asked for."""
    settings: Json
    """What was asked for and how it was selected; no addresses and no paths."""
    task: str
    questions: int
    split: str
    """Hash of the training questions, with their options and gold labels."""
    relabelled: dict[str, str] = Field(default_factory=dict)
    """Questions whose gold label the teacher's majority replaced, with the new label."""
    licence: str
    """A note, not legal advice."""
    origin: Header | None = None
    """The header of the file that these were taken from."""


def split_hash(questions: Sequence[Question]) -> str:
    """Names a set of questions: equal if ids, texts, options and gold labels are, in any order."""
    lines = sorted(question.model_dump_json() for question in questions)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def write_rationales(path: Path, header: Header, rationales: Sequence[Rationale]) -> None:
    """Write the file, whole or not at all. Raises DataError."""
    write_records(path, [header, *rationales])


def read_header(path: Path) -> Header | None:
    """The header that a file begins with, without reading the rest; None if it has none. Raises DataError."""
    for number, value in read_objects(path):
        try:
            return Header.model_validate(value) if "kind" in value else None
        except ValidationError as error:
            raise DataError(f"{path}:{number}: {describe(error)}") from None
    return None


def read_rationales(path: Path) -> tuple[Header | None, list[Rationale]]:
    """The header and the rationales of a file; files of one's own need no header.

    Of several headers (files put together) the first one counts.

    Raises:
        DataError: the file is missing or a line is neither; names file and line.
    """
    headers: list[Header] = []
    rationales: list[Rationale] = []
    for number, value in read_objects(path):
        try:
            if "kind" in value:
                headers.append(Header.model_validate(value))
            else:
                rationales.append(Rationale.model_validate(value))
        except ValidationError as error:
            raise DataError(f"{path}:{number}: {describe(error)}") from None
    return (headers[0] if headers else None), rationales
