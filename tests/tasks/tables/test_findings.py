from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tinythinker.core.errors import DataError
from tinythinker.settings.schema import DataSettings
from tinythinker.tasks.tables.findings import Findings, findings_of
from tinythinker.tasks.tables.rows import read_rows
from tinythinker.tasks.tables.tables import read_tables

GOOD: dict[str, Any] = {"question": "Where?", "options": ["up", "down", "left"], "answer": "B"}


def found(folder: Path, *rows: dict[str, Any]) -> Findings:
    file = folder / "mine.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (table,) = read_tables([(read_rows(file), "")], DataSettings())
    return findings_of(table)


def test_everything_is_counted(tmp_path: Path) -> None:
    seen = found(
        tmp_path,
        GOOD | {"id": "a"},
        GOOD | {"id": "b", "options": ["left", "up", "down"], "answer": "C"},
        {"question": " ", "options": [], "answer": None},
        GOOD | {"id": "a", "question": "Why?", "options": ["so", "so"]},
        GOOD | {"id": "d", "question": "Who?", "answer": "E", "mood": "bad"},
        GOOD | {"id": "e", "question": "When?", "answer": ""},
        GOOD | {"id": "f", "question": "How?"},
    )
    assert (seen.count_questions, seen.count_options, seen.empty_rows) == (5, {2: 1, 3: 4}, (3,))
    assert [(again.line, again.first) for again in seen.doubled_questions] == [(2, 1)]
    assert (seen.doubled_options, seen.doubled_ids) == ((4,), ("'a'",))
    assert (seen.labels, seen.majority, seen.without_answer) == ({"B": 3, "C": 1}, 0.75, 1)
    assert [problem.line for problem in seen.problems] == [5]
    assert "answer: found 'E', expected a label (A, B, C)" in seen.problems[0].message
    assert not seen.is_in_one_order
    assert seen.layout == {"question": "question", "options": "options", "answer": "answer or none"}
    assert seen.questions[0].model_dump() == {
        "id": "a",
        "question": "Where?",
        "options": ("up", "down", "left"),
        "answer": "B",
    }


def test_what_is_said_names_counts_and_problems(tmp_path: Path) -> None:
    lines = found(tmp_path, GOOD, GOOD | {"topic": "x"}, GOOD | {"answer": "E"}).lines()
    said = "\n".join(lines)
    assert "JSON Lines, utf-8; 2 questions (2 with 3 options)" in lines[0]
    assert "there before: 1 question (line 2 as 1)" in said
    assert "answers: B 2; always the most frequent one: 1.000 right" in said
    assert "stages.permute_options=true" in said
    assert "not used: topic" in said
    assert "mine-1: Where?\n    A: up\n  * B: down" in said
    assert lines[-1].startswith("problem: ")


@pytest.mark.parametrize(
    ("rows", "is_so"),
    [
        ([GOOD, GOOD | {"question": "Why?", "answer": "A"}], True),  # the same options in one order
        ([GOOD, GOOD | {"options": ["x", "y"], "answer": "B"}], True),  # the answer always in one place
        ([GOOD, GOOD | {"options": ["x", "y"], "answer": "A"}], False),
        ([GOOD], False),
    ],
)
def test_answers_that_a_student_can_find_by_their_place_are_said(
    tmp_path: Path, rows: list[dict[str, Any]], is_so: bool
) -> None:
    assert found(tmp_path, *rows).is_in_one_order is is_so


def test_problems_are_an_error_once_they_are_shown(tmp_path: Path) -> None:
    found(tmp_path, GOOD).refuse_problems()
    with pytest.raises(DataError, match=r"mine\.jsonl: found 1 row that could not be read"):
        found(tmp_path, GOOD, GOOD | {"answer": "E"}).refuse_problems()
    with pytest.raises(DataError, match=r"mine\.jsonl: found no question, expected at least one"):
        found(tmp_path).refuse_problems()
