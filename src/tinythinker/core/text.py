"""How sentences end and join, for the layers that need to agree on it."""

from __future__ import annotations

from collections.abc import Iterable

_ENDS = (".", '"', "'")


def finished(knowledge: str) -> str:
    """The knowledge with a full stop added, unless it ends in `.`, `"` or `'` (METHOD section 1).

    >>> finished("Rain is wet")
    'Rain is wet.'
    """
    knowledge = knowledge.strip()
    return knowledge if knowledge.endswith(_ENDS) else knowledge + "."


def joined(sentences: Iterable[str]) -> str:
    """The sentences as one paragraph, each finished with `finished`."""
    return " ".join(finished(sentence) for sentence in sentences)
