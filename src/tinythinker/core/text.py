"""Sentences: the little that more than one layer needs to know about them."""

from __future__ import annotations

from collections.abc import Iterable

_ENDS = (".", '"', "'")


def finished(knowledge: str) -> str:
    """Knowledge with a full stop where it ends in none of `.`, `"` and `'` (METHOD section 1).

    >>> finished("Rain is wet")
    'Rain is wet.'
    """
    knowledge = knowledge.strip()
    return knowledge if knowledge.endswith(_ENDS) else knowledge + "."


def joined(sentences: Iterable[str]) -> str:
    """Sentences as one paragraph, each finished."""
    return " ".join(finished(sentence) for sentence in sentences)
