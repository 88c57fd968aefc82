from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import TINY
from tinythinker import api
from tinythinker.core.errors import DataError
from tinythinker.core.run import RunDirectory
from tinythinker.teacher.taught import read_questions, read_taught


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A taught run that does not know what its files held, as those of version 0.1."""
    started = api.start("storeroom", tmp_path / "run", *TINY)
    api.teach(started)
    started.forget(started.root / "questions", started.rationales)
    return started


def cut(file: Path, lines: int) -> None:
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:lines]))


def test_whole_files_are_read(run: RunDirectory) -> None:
    questions = read_questions(run, "train")
    assert len(questions) == 24
    assert len(read_taught(run, questions)) == 16


@pytest.mark.parametrize(("split", "lines"), [("train", 10), ("train", 0), ("valid", 0), ("test", 0)])
def test_a_part_of_the_questions_is_refused(run: RunDirectory, split: str, lines: int) -> None:
    cut(run.questions(split), lines)
    with pytest.raises(
        DataError, match=rf"{split}\.jsonl: found {lines} questions.*expected the \w+ that `teach` wrote"
    ):
        read_questions(run, split)


def test_a_question_twice_is_refused(run: RunDirectory) -> None:
    file = run.questions("test")
    file.write_text(file.read_text() * 2)
    with pytest.raises(DataError, match="found 16 questions, 8 of them different"):
        read_questions(run, "test")


def test_a_part_of_the_rationales_is_refused(run: RunDirectory) -> None:
    cut(run.rationales, 5)  # with the header
    with pytest.raises(DataError, match="found 4 rationales, expected 16 of training questions"):
        read_taught(run, read_questions(run, "train"))


def test_a_rationale_of_no_training_question_is_refused(run: RunDirectory) -> None:
    questions = read_questions(run, "train")
    explained = [questions[0], *(question for question in questions if question.id not in run.rationales.read_text())]
    with pytest.raises(DataError, match="found a rationale of question 'storeroom-train-"):
        read_taught(run, explained)


def test_without_a_finished_teach_there_is_nothing_to_read(run: RunDirectory) -> None:
    run.quality.unlink()
    with pytest.raises(DataError, match="found no finished `teach`"):
        read_questions(run, "train")
