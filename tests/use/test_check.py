from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinythinker import api
from tinythinker.core.errors import DataError, SettingsError

ROWS = [
    {"question": "Where?", "options": ["up", "down"], "answer": "B"},
    {"question": "Where on earth would you put it?", "options": ["there", "here"], "answer": "A"},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path / "mine.jsonl"


def test_a_look_at_a_file_counts_characters_where_no_vocabulary_is_at_hand(file: Path) -> None:
    longest = api.check(file, "student.init=scratch").longest
    assert longest is not None
    assert (longest.question_id, longest.unit, longest.count_unknown) == ("mine-2", "characters", None)
    # The question with its options, and the word that asks for the answer.
    assert longest.length == len("Where on earth would you put it?\n(A) there (B) here\nSummarize:")


def test_settings_say_how_columns_are_read(file: Path) -> None:
    with pytest.raises(DataError, match=r"data\.answer=right: found no such field"):
        api.check(file, "data.answer=right")
    with pytest.raises(SettingsError, match=r"did you mean 'data\.answer'"):
        api.check(file, "data.anser=right")


def test_a_benchmark_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="file: found 'csqa', expected a file of questions"):
        api.check("csqa")
    with pytest.raises(DataError, match=r"none\.jsonl: found no such file"):
        api.check(tmp_path / "none.jsonl")
