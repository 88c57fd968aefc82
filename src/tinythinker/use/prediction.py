"""What a student answers, as it is written to files and sent to others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from pydantic import ConfigDict

from tinythinker.core.records import Chain, Question, Record
from tinythinker.evaluate.vote import vote

_DIGITS = 6
"""Of a probability; what comes after them depends on which questions were answered together."""


class Prediction(Record):
    """A student's answer to one question, with the reasoning that led to it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: str
    """The question's name."""
    question: str
    """Its text."""
    options: tuple[str, ...]
    """Their texts, in the question's order; the first has the label A."""
    answer: str | None
    """A label; None if the answer is unreadable."""
    text: str | None
    """The text of that option."""
    probabilities: dict[str, float] | None
    """How likely each label is after the reasoning, with a sum of 1; the mean of the chains that vote. None where
    everything is written as one text (plan `cot`), so that there is nothing to compare."""
    recall: str | None
    """None if the student does not recall."""
    analyses: tuple[str, ...]
    """One per option in the question's order; empty if the student does not analyze."""
    conclusion: str
    """The sentence that the answer is read from."""
    reasoning: str | None = None
    """The whole text of a student that writes everything at once."""
    is_readable: bool
    """Could an answer be read?"""
    votes: dict[str, int] | None = None
    """How many chains answered each label; recall, analyses and conclusion are those of the first chain that gave the
    winning answer. None if there was only one chain."""
    gold: str | None = None
    """The right label, where the question brings it."""
    is_correct: bool | None = None
    """None where the right label is not known."""
    count_tokens: int
    """Tokens that were written for it, in all chains."""
    is_cut: bool
    """Was a prompt too long for the student, so that part of it was left out?"""
    is_stopped: bool
    """Did a text reach its limit before it ended?"""


def prediction_of(question: Question, chains: Sequence[Chain]) -> Prediction:
    """The prediction on one question.

    Args:
        chains: one, or all that vote; at least one.
    """
    answer = vote(chains)
    shown = next(chain for chain in chains if chain.answer == answer or answer is None)
    scored = [chain.option_logps for chain in chains if chain.option_logps is not None]
    counts = Counter(chain.answer for chain in chains if chain.answer is not None)
    return Prediction(
        id=question.id,
        question=question.stem,
        options=tuple(option.text for option in question.options),
        answer=answer,
        text=None if answer is None else question.text_of(answer),
        probabilities=_mean(question.labels, scored) if scored else None,
        recall=shown.recall,
        analyses=shown.analyses,
        conclusion=shown.conclusion,
        reasoning=shown.reasoning,
        is_readable=answer is not None,
        votes={label: counts[label] for label in question.labels} if len(chains) > 1 else None,
        gold=question.gold,
        is_correct=None if question.gold is None else answer == question.gold,
        count_tokens=sum(chain.count_tokens for chain in chains),
        is_cut=any(chain.count_cut for chain in chains),
        is_stopped=any(chain.count_stopped for chain in chains),
    )


def _mean(labels: Sequence[str], scored: Sequence[dict[str, float]]) -> dict[str, float]:
    return {label: round(fmean(math.exp(logps[label]) for logps in scored), _DIGITS) for label in labels}
