from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tinythinker.core.errors import DataError
from tinythinker.core.files import Json
from tinythinker.tasks.official import from_hub, read_official

LINE: dict[str, Any] = {
    "id": "7-980",
    "question": {"stem": "The sun is for", "choices": [{"text": "a, b", "label": "A"}, {"text": "c", "label": "B"}]},
    "fact1": "the sun shines",
    "humanScore": "1.00",
    "answerKey": "B",
}


def test_an_official_line_is_read_with_its_fact_and_its_commas(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(json.dumps(LINE) + "\n")
    (entry,) = read_official(tmp_path / "train.jsonl")
    assert (entry.question.id, entry.question.gold, entry.knowledge) == ("7-980", "B", "the sun shines")
    assert [option.text for option in entry.question.options] == ["a, b", "c"]


def test_the_hub_rows_say_the_same_in_another_shape() -> None:
    choices: Json = {"text": ["a, b", "c"], "label": ["A", "B"]}
    csqa: Json = {"id": "x", "question": "The sun is for", "choices": choices, "answerKey": "B"}
    obqa: Json = {"id": "x", "question_stem": "The sun is for", "choices": choices, "answerKey": "B", "fact1": "shines"}
    first, second = from_hub([csqa, obqa])
    assert first.question == second.question
    assert (first.question.stem, first.knowledge, second.knowledge) == ("The sun is for", None, "shines")


def test_a_hidden_answer_is_no_gold_label() -> None:
    row: Json = {"id": "x", "question": "s", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": ""}
    assert from_hub([row])[0].question.gold is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answerKey": "E"}, r"answerKey: found 'E', expected a label \(A, B\)"),
        ({"question": {"stem": "s", "choices": []}}, "found no options in the fields"),
        ({"question": {"choices": LINE["question"]["choices"]}}, "found no question in the fields"),
    ],
)
def test_a_bad_line_is_reported_with_file_and_line(tmp_path: Path, change: dict[str, object], message: str) -> None:
    (tmp_path / "train.jsonl").write_text(json.dumps(LINE) + "\n" + json.dumps(LINE | change) + "\n")
    with pytest.raises(DataError, match=rf"train\.jsonl:2.*{message}"):
        read_official(tmp_path / "train.jsonl")
