"""CommonsenseQA and OpenBookQA: one JSON object per line, options under `question.choices`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from tinythinker.core.errors import DataError
from tinythinker.core.files import Json, describe, read_objects
from tinythinker.core.records import Option, Question
from tinythinker.tasks.benchmark import Entry


class _Stem(BaseModel):
    """The part of an official line that we read; benchmarks add other fields."""

    model_config = ConfigDict(extra="ignore")

    stem: str
    choices: tuple[Option, ...]


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: str
    question: _Stem
    answerKey: str = ""  # noqa: N815  (the benchmarks' name)
    fact1: str | None = None


def parse_line(value: Json, where: str) -> Entry:
    """The question on one official line. Raises DataError; the message begins with `where`."""
    try:
        line = _Line.model_validate(value)
        question = Question(
            id=line.id, stem=line.question.stem, options=line.question.choices, gold=line.answerKey or None
        )
    except ValidationError as error:
        raise DataError(f"{where}: {describe(error)}") from None
    return Entry(question, line.fact1 or None)


def read_choice_jsonl(path: Path) -> list[Entry]:
    """Every question of an official file. Raises DataError; the message names file and line."""
    return [parse_line(value, f"{path}:{number}") for number, value in read_objects(path)]


def from_hub(rows: Iterable[Json]) -> list[Entry]:
    """Every question of a Hugging Face version: the same content in other columns. Raises DataError."""
    return [parse_line(_official(row), f"row {number}") for number, row in enumerate(rows)]


def _official(row: Json) -> Json:
    choices = row["choices"]
    labels, texts = (choices.get("label"), choices.get("text")) if isinstance(choices, dict) else (None, None)
    if not isinstance(labels, list) or not isinstance(texts, list):
        raise DataError(f"row {row.get('id')}: found choices {choices!r}, expected lists of label and text")
    listed: list[JsonValue] = [{"label": label, "text": text} for label, text in zip(labels, texts, strict=True)]
    question: Json = {"stem": row.get("question_stem") or row.get("question"), "choices": listed}
    return {
        "id": row["id"],
        "question": question,
        "answerKey": row.get("answerKey") or "",
        "fact1": row.get("fact1"),
    }
