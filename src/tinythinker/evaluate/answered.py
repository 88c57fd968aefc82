"""Verdict files: whole, unfinished, or not what they should be. Needs no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinythinker.core.errors import DataError
from tinythinker.core.files import iterate_records, read_records
from tinythinker.core.records import Question, Verdict
from tinythinker.core.run import RunDirectory
from tinythinker.teacher.taught import read_questions

_WHICH = "restore the questions if they were changed; otherwise delete the file of verdicts and evaluate again"


@dataclass(frozen=True)
class Answered:
    """The verdicts in a file, and how many there will be."""

    verdicts: tuple[Verdict, ...]
    count_questions: int

    @property
    def is_finished(self) -> bool:
        """Is there a verdict on every question? Only then are they a result."""
        return len(self.verdicts) == self.count_questions


def fits(question: Question, verdict: Verdict) -> bool:
    """Is this a verdict on this question?"""
    is_right = verdict.answer == question.gold
    return (verdict.question_id, verdict.gold, verdict.is_correct) == (question.id, question.gold, is_right)


def read_answered(run: RunDirectory, file: Path, questions: Sequence[Question]) -> Answered:
    """The verdicts of a file of a run, which may still be growing.

    Raises:
        DataError: the file holds other verdicts than those on the first questions, each once and in order, or it is
            finished and has changed since.
    """
    verdicts = read_records(file, Verdict, is_growing=True)
    refuse_misfits(file, questions, verdicts)
    answered = Answered(tuple(verdicts), len(questions))
    if answered.is_finished:
        run.refuse_damage(file)
    return answered


def refuse_misfits(file: Path, questions: Sequence[Question], verdicts: Sequence[Verdict]) -> None:
    """Raise DataError unless the verdicts are those on the first questions, each once and in order."""
    if len(verdicts) <= len(questions) and all(map(fits, questions, verdicts)):
        return
    ids = Counter(verdict.question_id for verdict in verdicts)
    known = {question.id for question in questions}
    id_, count = ids.most_common(1)[0]
    foreign = next((name for name in ids if name not in known), None)
    if foreign is not None:
        found = f"a verdict on question {foreign!r}, which is not asked"
    elif count > 1:
        found = f"{count} verdicts on question {id_!r}"
    else:
        number = next(i for i, pair in enumerate(zip(questions, verdicts, strict=False)) if not fits(*pair))
        found = f"a verdict on line {number + 1} that does not fit question {questions[number].id!r}"
    wanted = f"one verdict on each of the {len(questions)} questions, in their order"
    raise DataError(f"{file}: found {found}, expected {wanted}; {_WHICH}")


def read_asked(run: RunDirectory, split: str) -> Sequence[Question]:
    """The questions of a split, among which must be all that have been answered already.

    Raises:
        DataError: the file of questions is not the one that `teach` wrote, or a verdict is on none of them.
    """
    questions = read_questions(run, split)
    known = {question.id for question in questions}
    for file in run.verdicts_folder.glob(f"*.{split}.*.jsonl"):
        for verdict in iterate_records(file, Verdict, is_growing=True):
            if verdict.question_id not in known:
                found, wanted = f"no question {verdict.question_id!r}", f"it: {file} has a verdict on it"
                raise DataError(f"{run.questions(split)}: found {found}, expected {wanted}; {_WHICH}")
    return questions


def read_results(run: RunDirectory) -> Mapping[str, Answered]:
    """The verdicts of all files of a run by file name, in the order of the students; none of a file that is gone.

    Raises:
        DataError: a file of verdicts or of questions is not what its verb wrote.
    """
    files = sorted(run.verdicts_files(), key=lambda path: student_order(path.stem))
    splits = {file: file.stem.split(".")[1] for file in files}
    questions = {split: read_questions(run, split) for split in sorted(set(splits.values()))}
    return {
        file.stem: read_answered(run, file, asked) if file.exists() else Answered((), len(asked))
        for file in files
        for asked in [questions[splits[file]]]
    }


def student_order(name: str) -> tuple[int, int, str]:
    """Sort key of a file that is named after a student: phase 1 first, then the rounds by number."""
    student, _, how = name.partition(".")
    phase, _, number = student.partition("-")
    return (0 if phase == "phase" else 1, int(number) if number.isdecimal() else 0, how)
