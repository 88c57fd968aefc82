"""Rationales from a file: another run's `teacher/rationales.jsonl`, or the user's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tinythinker.core.errors import DataError, expected
from tinythinker.core.progress import say
from tinythinker.core.records import Flaw, Question, Rationale, Rejected
from tinythinker.teacher.rationales import Header, read_rationales, split_hash
from tinythinker.teacher.source import Asking, Given, free


def recorded(asking: Asking) -> Given:
    """The source `recorded`: reads the file `teacher.path`, and says what of it is of no use here.

    Without that setting it takes what the questions' own file says (`data.recall`, `data.analyses`).
    """
    settings = asking.settings
    if settings.teacher.path is None and settings.data.recall is not None:
        return Given(list(own_rationales(asking)), free(asking), "see the file of the questions")
    path = asking.path
    origin, answers = recorded_rationales(path, asking.questions)
    if origin is not None and origin.split != split_hash(asking.questions):
        say(
            f"teach: {path} was made for other training questions ({origin.questions} of {origin.task}, "
            f"seed {origin.settings.get('seed')}); only shared questions are used; use the same seed, split and limit "
            "to share all"
        )
    if origin is not None and origin.relabelled and settings.teacher.label_policy == "gold":
        say(
            f"teach: {path} replaced the gold labels of {len(origin.relabelled)} questions; "
            "teacher.label_policy=teacher does the same here"
        )
    licence = origin.licence if origin is not None else "see the file they were taken from"
    return Given(answers, free(asking), licence, inputs=(path,), origin=origin)


def own_rationales(asking: Asking) -> Iterator[Rationale]:
    """The rationales in the questions' own file, for those training questions that have any."""
    task = asking.task
    for question in asking.questions:
        if question.id in task.knowledge:
            analyses = task.analyses.get(question.id, ())
            yield Rationale(question_id=question.id, recall=task.knowledge[question.id], analyses=analyses)


def recorded_rationales(
    path: Path, questions: Sequence[Question]
) -> tuple[Header | None, Iterator[Rationale | Rejected]]:
    """The file's header, or None, and every rationale, rejected if its question is not in `questions`.

    Args:
        path: JSON Lines of `{"question_id", "recall", "analyses"}`. The analyses are in the order of the
            question's options; leave them out for recall only. A header line may come first.
        questions: the training questions.

    Raises:
        DataError: the file cannot be read or does not fit the questions; the message names file and problem.
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
