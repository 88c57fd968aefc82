from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ask
from tinythinker.core.errors import DataError
from tinythinker.core.files import write_records
from tinythinker.core.records import Chain, Verdict
from tinythinker.core.run import Manifest, RunDirectory
from tinythinker.evaluate.answered import read_answered

QUESTIONS = [ask("Where does rain go?", "up", "down", gold="B", id=f"q{i}") for i in range(3)]


def verdict(id_: str, answer: str = "B", *, is_correct: bool = True) -> Verdict:
    chain = Chain(question_id=id_, conclusion="c", answer=answer)
    return Verdict(question_id=id_, gold="B", answer=answer, is_correct=is_correct, chains=(chain,))


VERDICTS = [verdict("q0"), verdict("q1", "A", is_correct=False), verdict("q2")]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = RunDirectory(tmp_path)
    made.save(Manifest(settings={}))
    return made


def written(run: RunDirectory, verdicts: list[Verdict]) -> Path:
    file = run.verdicts("phase-1.test.greedy")
    write_records(file, verdicts)
    return file


def test_verdicts_are_a_result_only_if_there_is_one_on_every_question(run: RunDirectory) -> None:
    file = written(run, VERDICTS)
    assert read_answered(run, file, QUESTIONS).is_finished
    file.write_bytes(file.read_bytes()[:-9])
    torn = read_answered(run, file, QUESTIONS)
    assert not torn.is_finished
    assert (len(torn.verdicts), torn.count_questions) == (2, 3)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda all_: [*all_, *all_], "found 2 verdicts on question 'q0'"),
        (lambda all_: [all_[0], all_[0]], "found 2 verdicts on question 'q0'"),
        (lambda all_: [*all_[:2], verdict("q9")], "found a verdict on question 'q9', which is not asked"),
        (lambda all_: all_[1:], "found a verdict on line 1 that does not fit question 'q0'"),
        (lambda all_: [verdict("q0", "A"), *all_[1:]], "found a verdict on line 1 that does not fit question 'q0'"),
    ],
    ids=["file-twice", "one-twice", "foreign", "another-order", "wrong-called-right"],
)
def test_verdicts_that_do_not_fit_the_questions_are_refused(
    run: RunDirectory, spoil: Callable[[list[Verdict]], list[Verdict]], found: str
) -> None:
    file = written(run, spoil(VERDICTS))
    with pytest.raises(DataError, match=f"{found}, expected one verdict on each of the 3 questions"):
        read_answered(run, file, QUESTIONS)


def test_a_finished_file_that_was_altered_is_refused(run: RunDirectory) -> None:
    file = written(run, VERDICTS)
    run.confirm(file)
    written(run, [*VERDICTS[:2], verdict("q2", "A", is_correct=False)])
    with pytest.raises(DataError, match="that `evaluate` wrote; restore it, or delete it"):
        read_answered(run, file, QUESTIONS)
