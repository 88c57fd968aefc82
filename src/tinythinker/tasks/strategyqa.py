"""StrategyQA (Geva et al. 2021): yes/no questions in one JSON list, each with the facts it was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from tinythinker.core.errors import DataError
from tinythinker.core.files import describe, read_json_value
from tinythinker.core.records import Option, Question
from tinythinker.core.text import joined
from tinythinker.settings.schema import RunSettings
from tinythinker.tasks.benchmark import Benchmark, Entries, Entry, questions_of
from tinythinker.tasks.official import fetch, files_in, hub_file
from tinythinker.tasks.split import divide

_TITLE, _FILE = "StrategyQA", "strategyqa_train.json"
_YES_NO = (Option(label="A", text="yes"), Option(label="B", text="no"))


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore")

    qid: str
    question: str
    answer: bool
    facts: tuple[str, ...] = ()


class StrategyQA(Benchmark):
    """The labelled questions, shuffled 80/10/10."""

    def read(self, settings: RunSettings) -> Entries:
        """See `Benchmark.read`: one part, `train`."""
        if settings.data_dir is not None:
            (file,) = files_in(settings.data_dir, _TITLE, [_FILE])
            return Entries({"train": read_strategyqa(file)}, (file,))
        entries = fetch(
            settings,
            _TITLE,
            _FILE,
            "https://allenai.org/data/strategyqa",
            lambda: read_strategyqa(hub_file("voidful/StrategyQA", _FILE)),
        )
        return Entries({"train": entries})

    def split(self, parts: Mapping[str, Sequence[Entry]], settings: RunSettings) -> Mapping[str, Sequence[Question]]:
        """See `Benchmark.split`."""
        questions = questions_of(parts["train"])
        tenth = len(questions) // 10
        return divide(questions, {"valid": tenth, "test": tenth}, settings.seed)

    def prompt_family(self, questions: Sequence[Question]) -> str:
        """See `Benchmark.prompt_family`."""
        return "yes_no"


def read_strategyqa(path: Path) -> list[Entry]:
    """Every question of the official file; A is yes and B is no (METHOD section 2). Raises DataError."""
    try:
        items = TypeAdapter(list[_Item]).validate_python(read_json_value(path, "one list"))
    except ValidationError as error:
        raise DataError(f"{path}: {describe(error)}") from None
    return [_entry(item, path) for item in items]


def _entry(item: _Item, path: Path) -> Entry:
    try:
        question = Question(id=item.qid, stem=item.question, options=_YES_NO, gold="A" if item.answer else "B")
    except ValidationError as error:
        raise DataError(f"{path}: question {item.qid!r}, {describe(error)}") from None
    return Entry(question, joined(fact for fact in item.facts if fact.strip()) or None)
