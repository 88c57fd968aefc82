from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinythinker.core.errors import DataError
from tinythinker.tasks.official import read_official


def test_yes_is_a_and_no_is_b_and_the_facts_become_one_text(tmp_path: Path) -> None:
    items = [
        {"qid": "1", "question": "Is it?", "answer": True, "facts": ["One fact", "Another."], "term": "x"},
        {"qid": "2", "question": "Was it?", "answer": False, "facts": []},
    ]
    (tmp_path / "s.json").write_text(json.dumps(items))
    first, second = read_official(tmp_path / "s.json")
    assert [option.text for option in first.question.options] == ["yes", "no"]
    assert (first.question.gold, first.knowledge) == ("A", "One fact. Another.")
    assert (second.question.gold, second.knowledge) == ("B", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{", "s.json:1: found malformed JSON"),
        ('[{"qid": "1"}]', "s.json:1: found no question in the fields"),
        ('[{"qid": "7", "question": " ", "answer": true}]', "s.json:1, question: found ' ', expected some text"),
    ],
)
def test_a_bad_file_is_a_one_line_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_official(tmp_path / "s.json")
