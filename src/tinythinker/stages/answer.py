"""The sentence that a student answers with: how it is written, and how its label is read back."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ANSWER = re.compile(r"(?i:the answer is option) ([A-Z])\b")


def conclusion(label: str) -> str:
    """What the student writes to answer.

    >>> conclusion("B")
    'So the answer is option B.'
    """
    return f"So the answer is option {label}."


def parse_answer(text: str, labels: Sequence[str]) -> str | None:
    """Read the label of the chosen option from a generated conclusion.

    Returns None, never a guess, if the sentence is malformed or names a label that the question does not
    have: an unreadable answer counts as wrong and as unreadable.

    >>> parse_answer("So the answer is option B.", labels=("A", "B"))
    'B'
    >>> parse_answer("So the answer is option F.", labels=("A", "B")) is None
    True
    """
    match = _ANSWER.search(text)
    return match[1] if match and match[1] in labels else None
