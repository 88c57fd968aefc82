"""StrategyQA: yes/no questions in one JSON list, each with the facts it was made from."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from tinythinker.core.errors import DataError
from tinythinker.core.files import describe, read_text
from tinythinker.core.records import Option, Question
from tinythinker.core.text import joined
from tinythinker.tasks.choice_jsonl import Entry

_YES_NO = (Option(label="A", text="yes"), Option(label="B", text="no"))


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore")

    qid: str
    question: str
    answer: bool
    facts: tuple[str, ...] = ()


def read_strategyqa(path: Path) -> list[Entry]:
    """Every question of the official file, yes as A and no as B (METHOD section 2). Raises DataError."""
    try:
        items = TypeAdapter(list[_Item]).validate_python(json.loads(read_text(path)))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: found malformed JSON ({error.msg}), expected one list") from None
    except ValidationError as error:
        raise DataError(f"{path}: {describe(error)}") from None
    return [_entry(item, path) for item in items]


def _entry(item: _Item, path: Path) -> Entry:
    try:
        question = Question(id=item.qid, stem=item.question, options=_YES_NO, gold="A" if item.answer else "B")
    except ValidationError as error:
        raise DataError(f"{path}: question {item.qid!r}, {describe(error)}") from None
    return Entry(question, joined(fact for fact in item.facts if fact.strip()) or None)
