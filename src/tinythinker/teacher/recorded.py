"""Rationales that lie in a file: another run's `teacher/rationales.jsonl`, or the user's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tinythinker.core.errors import DataError, expected
from tinythinker.core.jsonl import read_records
from tinythinker.core.records import Flaw, Question, Rationale, Rejected


def recorded_rationales(path: Path, questions: Sequence[Question]) -> Iterator[Rationale | Rejected]:
    """Every rationale of the file; those of questions outside `questions` are rejected as `not_train`.

    Args:
        path: JSON Lines of `{"question_id", "recall", "analyses"}`, analyses in the question's order of options, or
            left out for recall only.
        questions: the training questions.

    Raises:
        DataError: names the file and what is wrong.
    """
    wanted = {question.id: question for question in questions}
    for rationale in read_records(path, Rationale):
        question = wanted.get(rationale.question_id)
        text = "\n".join([rationale.recall, *rationale.analyses])
        if question is None:
            yield Rejected(question_id=rationale.question_id, flaw=Flaw.NOT_TRAIN, text=text)
        elif rationale.analyses and len(rationale.analyses) != len(question.options):
            raise DataError(
                expected(
                    f"{path}: analyses of question {question.id}",
                    len(rationale.analyses),
                    f"{len(question.options)}, one per option, or none",
                )
            )
        else:
            yield rationale
