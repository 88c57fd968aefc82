"""What `teach` left in a run, read and checked: nothing is computed from a part of it."""

from __future__ import annotations

from collections.abc import Sequence

from tinythinker.core.errors import DataError
from tinythinker.core.records import Question, Rationale
from tinythinker.core.run import RunDirectory
from tinythinker.core.stored import Stored
from tinythinker.teacher.quality import read_quality
from tinythinker.teacher.rationales import stored_rationales

RESTORE = "restore it, or delete it and call `teach` again with the run's settings, which makes the same file"
"""What to do about a damaged file of `teach`."""


def read_questions(run: RunDirectory, split: str) -> Sequence[Question]:
    """The questions of a split, which stay on disk until they are needed.

    Raises:
        DataError: `teach` is not finished, or the file is not the one that it wrote.
    """
    if not run.quality.exists():
        raise DataError(f"{run.root}: found no finished `teach`, expected one; run `tinythinker teach` first")
    file = run.questions(split)
    run.refuse_damage(file)
    questions = Stored(file, Question)
    # A run of an older version does not know what its files held, only how many training questions there were.
    count = len({question.id for question in questions})
    wanted = read_quality(run.quality).questions if split == "train" else len(questions)
    if count == 0 or not count == len(questions) == wanted:
        found = f"{len(questions)} questions, {count} of them different"
        raise DataError(f"{file}: found {found}, expected the {wanted or 'ones'} that `teach` wrote; {RESTORE}")
    return questions


def read_taught(run: RunDirectory, questions: Sequence[Question]) -> Sequence[Rationale]:
    """The rationales that fit the training questions, which stay on disk until they are needed.

    Raises:
        DataError: the file is not the one that `teach` wrote, or explains a question that is not there.
    """
    run.refuse_damage(run.rationales)
    rationales = stored_rationales(run.rationales)
    known, wanted = {question.id for question in questions}, read_quality(run.quality).rationales
    foreign = [rationale.question_id for rationale in rationales if rationale.question_id not in known]
    if foreign or len(rationales) != wanted:
        found = f"a rationale of question {foreign[0]!r}" if foreign else f"{len(rationales)} rationales"
        raise DataError(f"{run.rationales}: found {found}, expected {wanted} of training questions; {RESTORE}")
    return rationales
