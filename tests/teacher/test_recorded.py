from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ask
from tinythinker import api
from tinythinker.core.errors import DataError
from tinythinker.core.files import write_records
from tinythinker.core.records import Flaw, Rationale, Rejected
from tinythinker.teacher.rationales import read_rationales
from tinythinker.teacher.recorded import recorded_rationales

TRAIN = [ask("Where?", "up", "down", id="q1")]


def test_rationales_of_other_questions_are_rejected_as_a_leak(tmp_path: Path) -> None:
    mine = Rationale(question_id="q1", recall="r", analyses=("a", "b"))
    write_records(tmp_path / "r.jsonl", [mine, Rationale(question_id="test-7", recall="r")])
    header, (kept, leak) = recorded_rationales(tmp_path / "r.jsonl", TRAIN)
    assert header is None
    assert kept == mine
    assert isinstance(leak, Rejected)
    assert (leak.question_id, leak.flaw) == ("test-7", Flaw.NOT_TRAIN)


def test_analyses_that_do_not_match_the_options_are_an_error(tmp_path: Path) -> None:
    write_records(tmp_path / "r.jsonl", [Rationale(question_id="q1", recall="r", analyses=("a",))])
    with pytest.raises(DataError, match="analyses of question q1: found 1, expected 2"):
        list(recorded_rationales(tmp_path / "r.jsonl", TRAIN)[1])


def test_a_label_that_the_question_does_not_have_is_an_error(tmp_path: Path) -> None:
    write_records(tmp_path / "r.jsonl", [Rationale(question_id="q1", recall="r", analyses=("a", "b"), label="E")])
    with pytest.raises(DataError, match="label of question q1: found 'E', expected one of"):
        list(recorded_rationales(tmp_path / "r.jsonl", TRAIN)[1])


@pytest.mark.parametrize(
    "line", ['{"question_id": "q1", "recall": " "}', '{"question_id": "q1", "recall": "r", "analyses": ["a", ""]}']
)
def test_a_rationale_that_says_nothing_is_an_error_with_file_and_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "r.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=r"r\.jsonl:1: .*expected texts that are not blank"):
        list(recorded_rationales(tmp_path / "r.jsonl", TRAIN)[1])


def test_rationales_may_stand_in_the_file_of_the_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"Where is {i}?,up,down,{'AB'[i % 2]},{i} is somewhere.,no.,yes.\n" for i in range(10))
    (tmp_path / "mine.csv").write_text(f"question,A,B,answer,why,a says,b says\n{rows}")
    columns = ("data.recall=why", "data.analyses=[a says, b says]")
    run = api.start(str(tmp_path / "mine.csv"), tmp_path / "run", *columns, "student.init=scratch", for_run=True)
    assert "mine.csv: CSV with commas, utf-8; 10 questions (10 with 2 options)" in capsys.readouterr().err
    assert api.teach(run).rationales == 8
    kept = read_rationales(run.rationales)[1][0]
    assert (kept.recall[1:], kept.analyses) == (" is somewhere.", ("no.", "yes."))
