"""CommonsenseQA and OpenBookQA: one JSON object per line, options under `question.choices`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from tinythinker.core.errors import DataError
from tinythinker.core.files import Json, describe, read_objects
from tinythinker.core.records import Option, Question


class _Stem(BaseModel):
    """The part of an official line that we read; benchmarks add fields of their own."""

    model_config = ConfigDict(extra="ignore")

    stem: str
    choices: tuple[Option, ...]


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: str
    question: _Stem
    answerKey: str = ""  # noqa: N815  (the benchmarks' own name)
    fact1: str | None = None


@dataclass(frozen=True)
class Entry:
    """A question of a benchmark and, where its file has one, the fact that it was made from."""

    question: Question
    fact: str | None = None


def parse_line(value: Json, where: str) -> Entry:
    """One official line. Raises DataError, which says where."""
    try:
        line = _Line.model_validate(value)
        question = Question(
            id=line.id, stem=line.question.stem, options=line.question.choices, gold=line.answerKey or None
        )
    except ValidationError as error:
        raise DataError(f"{where}: {describe(error)}") from None
    return Entry(question, line.fact1 or None)


def read_choice_jsonl(path: Path) -> list[Entry]:
    """Every question of an official file. Raises DataError, which names file and line."""
    return [parse_line(value, f"{path}:{number}") for number, value in read_objects(path)]


def from_hub(rows: Iterable[Json]) -> list[Entry]:
    """Rows of the Hugging Face versions, whose columns say the same in another shape. Raises DataError."""
    return [parse_line(_official(row), f"row {number}") for number, row in enumerate(rows)]


def _official(row: Json) -> Json:
    choices = row["choices"]
    if not isinstance(choices, dict):
        raise DataError(f"row {row.get('id')}: found choices {choices!r}, expected lists of label and text")
    listed = [{"label": label, "text": text} for label, text in zip(choices["label"], choices["text"], strict=True)]
    return {
        "id": row["id"],
        "question": {"stem": row.get("question_stem") or row.get("question"), "choices": listed},
        "answerKey": row.get("answerKey") or "",
        "fact1": row.get("fact1"),
    }
