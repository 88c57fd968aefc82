"""Rationales that lie in a file: another run's `teacher/rationales.jsonl`, or the user's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tinythinker.core.errors import DataError, expected
from tinythinker.core.records import Flaw, Question, Rationale, Rejected
from tinythinker.teacher.rationales import Header, read_rationales


def recorded_rationales(
    path: Path, questions: Sequence[Question]
) -> tuple[Header | None, Iterator[Rationale | Rejected]]:
    """The file's header, if it has one, and every rationale; those of questions outside `questions` are rejected.

    Args:
        path: JSON Lines of `{"question_id", "recall", "analyses"}`, analyses in the question's order of options, or
            left out for recall only; a header line may stand before them.
        questions: the training questions.

    Raises:
        DataError: names the file and what is wrong.
    """
    header, rationales = read_rationales(path)
    return header, _of(questions, rationales, path)


def _of(questions: Sequence[Question], rationales: Sequence[Rationale], path: Path) -> Iterator[Rationale | Rejected]:
    wanted = {question.id: question for question in questions}
    for rationale in rationales:
        question = wanted.get(rationale.question_id)
        text = "\n".join([rationale.recall, *rationale.analyses])
        if question is None:
            yield Rejected(question_id=rationale.question_id, flaw=Flaw.NOT_TRAIN, text=text)
        elif rationale.label is not None and rationale.label not in question.labels:
            raise DataError(
                expected(f"{path}: label of question {question.id}", rationale.label, f"one of {question.labels}")
            )
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
