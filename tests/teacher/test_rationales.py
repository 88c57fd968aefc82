from __future__ import annotations

from pathlib import Path

import pytest

from tests.teacher.conftest import some_questions
from tinythinker.core.errors import DataError
from tinythinker.core.files import write_records
from tinythinker.core.records import Rationale
from tinythinker.teacher.rationales import Header, read_rationales, split_hash, stored_rationales, write_rationales

HEADER = Header(source="openai", teacher="m", settings={}, task="csqa", questions=2, split="x", licence="none")
ONE = Rationale(question_id="q0", recall="r")


def test_header_and_rationales_are_read_back(tmp_path: Path) -> None:
    write_rationales(tmp_path / "r.jsonl", HEADER, [ONE])
    assert read_rationales(tmp_path / "r.jsonl") == (HEADER, [ONE])


def test_a_custom_file_needs_no_header_and_concatenated_files_have_two(tmp_path: Path) -> None:
    write_records(tmp_path / "own.jsonl", [ONE])
    assert read_rationales(tmp_path / "own.jsonl") == (None, [ONE])
    other = HEADER.model_copy(update={"teacher": "n"})
    write_records(tmp_path / "two.jsonl", [HEADER, ONE, other, ONE])
    assert read_rationales(tmp_path / "two.jsonl") == (HEADER, [ONE, ONE])
    assert list(stored_rationales(tmp_path / "two.jsonl")) == [ONE, ONE]


def test_a_line_that_is_neither_header_nor_rationale_is_reported(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(HEADER.model_dump_json() + '\n{"recall": "r"}\n')
    with pytest.raises(DataError, match=r"r\.jsonl:2: question_id: found nothing"):
        read_rationales(tmp_path / "r.jsonl")


def test_a_split_digest_does_not_depend_on_the_order_of_questions() -> None:
    questions = some_questions(3)
    assert split_hash(questions) == split_hash(questions[::-1])
    assert split_hash(questions) != split_hash(questions[:2])
    assert split_hash(questions) != split_hash([questions[0].labelled("B"), *questions[1:]])
