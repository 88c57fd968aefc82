"""The sentence that a student answers with: how it is written, and how its option is read back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from tinythinker.core.records import Option

Form = Literal["letter", "named", "text"]
"""How an answer is written; see `stages.answer`."""

_SAID = r"\banswer(?:\s+is)?\s*:?\s*"
_LETTER = r"(?:option\s+|choice\s+)?[(\[]?(?P<label>(?-i:[A-Z]))(?:[)\]]|\b)"
_ENDED = r"(?:[.:;]|,(?!\s*(?:or\s+|and\s+)?\(?(?-i:[A-Z])\b)|\s*\((?P<text>.*)\)\W*$|\s*$)"
_SENTENCE = re.compile(_SAID + _LETTER + _ENDED, re.IGNORECASE | re.DOTALL)
"""`The answer is option B.`, `Answer: (B)`, `the answer is B (bank).`"""
_BARE = re.compile(r"\W*" + _LETTER + r"(?:\W*$|[.:]?\s+(?P<text>.*)$)", re.IGNORECASE | re.DOTALL)
"""`B`, `(B)`, `option B.`, `B. bank`"""
_TEXT = re.compile(_SAID, re.IGNORECASE)


def conclusion(option: Option, form: Form = "letter") -> str:
    """What the student writes to answer.

    >>> bank = Option(label="B", text="bank")
    >>> conclusion(bank), conclusion(bank, "named"), conclusion(bank, "text")
    ('So the answer is option B.', 'So the answer is option B (bank).', 'bank')
    """
    if form == "text":
        return option.text
    return f"So the answer is option {option.label}{f' ({option.text})' if form == 'named' else ''}."


def parse_answer(text: str, options: Sequence[Option]) -> str | None:
    """Read the label of the chosen option from a generated conclusion: its letter, its text, or both.

    Returns None, never a guess, if the sentence names no option, one that the question does not have, or two: an
    unreadable answer counts as wrong and as unreadable.

    >>> two = Option(label="A", text="river"), Option(label="B", text="bank")
    >>> [parse_answer(text, two) for text in ("So the answer is option B.", "(B)", "The answer is bank.", "Bank")]
    ['B', 'B', 'B', 'B']
    >>> [parse_answer(text, two) for text in ("So the answer is option F.", "B (river)", "a bank or a river")]
    [None, None, None]
    """
    sentence, bare = _SENTENCE.search(text), _BARE.fullmatch(text)
    if sentence is not None:
        found, allowed = sentence, {None, sentence["label"]}  # the text beside the letter may have been cut
    elif bare is not None:
        found, allowed = bare, {bare["label"]} if bare["text"] else {None}
    else:
        return _named(_TEXT.split(text)[-1], options)
    is_known = found["label"] in [option.label for option in options]
    return found["label"] if is_known and _named(found["text"] or "", options) in allowed else None


def _named(text: str, options: Sequence[Option]) -> str | None:
    """The label of the only option whose text this is, apart from case, white space and what stands around it."""
    said = _plain(text)
    labels = [option.label for option in options if said and _plain(option.text) == said]
    return labels[0] if len(labels) == 1 else None


def _plain(text: str) -> str:
    return " ".join(text.split()).strip(" .\"'()").casefold()
