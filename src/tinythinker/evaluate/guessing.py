"""Accuracy without reading the question: what every student has to beat. Needs no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from tinythinker.core.records import Question, Record


class Guessing(Record):
    """What guessing scores on some questions; shares in [0, 1]."""

    chance: float
    """Expected accuracy of an option drawn at random."""
    majority: float
    """Accuracy of always giving the gold label that is most common among the training questions."""


def guessing(questions: Sequence[Question], train: Sequence[Question]) -> Guessing:
    """What guessing scores.

    Args:
        questions: those that are asked, at least one, with gold labels.
        train: the training questions.

    >>> from tinythinker.core.records import Option
    >>> options = tuple(Option(label=label, text=label) for label in "ABCD")
    >>> asked = [Question(id=gold, stem="?", options=options, gold=gold) for gold in "AAB"]
    >>> guessing(asked, asked)
    Guessing(chance=0.25, majority=0.6666666666666666)
    """
    answers = majority_answers(questions, train)
    return Guessing(
        chance=fmean(1 / len(question.options) for question in questions),
        majority=fmean(answer == question.gold for question, answer in zip(questions, answers, strict=True)),
    )


def majority_answers(questions: Sequence[Question], train: Sequence[Question]) -> list[str]:
    """The most common gold label of `train` among the labels of each question; of equally common ones, the earlier."""
    counts = Counter(question.gold for question in train)
    return [max(question.labels, key=lambda label: counts[label]) for question in questions]
