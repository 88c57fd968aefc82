from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import tiny_student
from tinythinker.core.run import RunDirectory
from tinythinker.serve.roster import examples_of, roster_of

MADE = Path(__file__).parents[1] / "fixtures" / "version-0.1"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A finished run with one round."""
    shutil.copytree(MADE / "storeroom", tmp_path / "run")
    return RunDirectory(tmp_path / "run")


def test_the_last_student_of_a_run_is_asked_and_compared_with_those_before(run: RunDirectory) -> None:
    assert roster_of(run.root).names == ["round-1", "phase-1"]
    assert roster_of(run.phase_1.student).names == ["phase-1", "round-1"]


def test_a_student_without_a_run_stands_alone_and_others_can_be_named(run: RunDirectory, tmp_path: Path) -> None:
    for name in ("mine", "phase-1"):
        tiny_student().save(tmp_path / name)
    assert roster_of(tmp_path / "mine").names == ["mine"]
    assert examples_of(tmp_path / "mine") == []
    others = [tmp_path / "mine", tmp_path / "phase-1"]
    assert roster_of(run.root, others).names == ["round-1", "phase-1", "mine", str(tmp_path / "phase-1")]


def test_a_student_is_loaded_when_it_is_first_asked(run: RunDirectory) -> None:
    roster = roster_of(run.root)
    shutil.rmtree(run.phase_1.student)
    assert roster.get("round-1") is roster.get("round-1")


def test_the_examples_are_the_test_questions_in_an_order_that_stays(run: RunDirectory) -> None:
    ids = [question.id for question in examples_of(run.root)]
    assert len(ids) == 8
    assert ids == [question.id for question in examples_of(run.root)] != sorted(ids)


def test_damaged_test_questions_are_no_examples(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    run.questions("test").write_text("oops\n")
    assert examples_of(run.root) == []
    assert "serve: no examples: " in capsys.readouterr().err
