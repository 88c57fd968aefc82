"""Estimates of tokens, before an endpoint has counted any; every endpoint counts with its own vocabulary."""

from __future__ import annotations

from tinythinker.core.records import Question
from tinythinker.teacher.llm.prompt import Prompt

_CHARACTERS_PER_TOKEN = 4
"""Roughly, for English text; recent vocabularies need slightly fewer tokens."""
_TOKENS_AROUND = 8
"""Tokens of the fixed wording around a recall or an analysis ("A is incorrect. Because")."""
_TOKENS_PER_MESSAGE = 4
"""Tokens that the chat format adds to every message."""
_USUAL_LIMIT = 256
_ROOM = 1.4
"""The limit of a completion over its likely length, where that is more than the usual limit allows."""
_CUT_SHARE = 2 / 3
"""A prompt counted at less than this share of its estimate has been cut: no vocabulary makes six letters a token."""


def count_tokens(text: str) -> int:
    """Estimated tokens of a text; the true count depends on the teacher's vocabulary.

    >>> count_tokens("Rain is wet.")
    3
    """
    return -(-len(text) // _CHARACTERS_PER_TOKEN)


def prompt_tokens(prompt: Prompt, question: Question) -> int:
    """Estimated prompt tokens of one request."""
    return sum(count_tokens(message["content"]) + _TOKENS_PER_MESSAGE for message in prompt.messages(question))


def likely_tokens(prompt: Prompt, question: Question) -> int:
    """Tokens of a completion whose sentences are as long as those of the worked examples."""
    per_sentence = _TOKENS_AROUND + count_tokens("x" * prompt.sentence_length)
    return per_sentence * (1 + len(question.options))


def limit_tokens(prompt: Prompt, question: Question) -> int:
    """The limit of a completion where the settings give none: it grows with the options and the worked examples."""
    return max(_USUAL_LIMIT, round(_ROOM * likely_tokens(prompt, question)))


def is_cut(counted: int, estimated: int) -> bool:
    """Has an endpoint read far fewer prompt tokens than were sent?"""
    return counted < _CUT_SHARE * estimated
