"""Which option an answer means: a label, a text, a truth value or a number; never a guess.

A number may be a label, an option's text, or a position from 0 or from 1. A column of answers is read in one way: in
the one that fits all of its numbers. Where two ways fit and disagree, the answers are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from tinythinker.core.errors import DataError, expected
from tinythinker.core.records import LABELS

_NUMBER = re.compile(r"\d{1,3}(?:\.0+)?")
_SAYS = re.compile(r"(?:the )?(?:correct |right )?(?:answer|option|choice)(?: is)?\s*[:=]?\s*(?=\S)", re.IGNORECASE)
_LABEL = r"(?P<label>[A-Za-z]|\d{1,2})"
_LABELLED = re.compile(
    rf"(?:[(\[{{]\s*{_LABEL}\s*[)\]}}][.:]?|(?P<bare>[A-Za-z]|\d{{1,2}})\s?[.):])(?:\s+(?P<rest>.+))?", re.DOTALL
)
_TRUE, _FALSE = frozenset("true yes t y".split()), frozenset("false no f n".split())
_AFFIRMED, _DENIED = frozenset({"true", "yes"}), frozenset({"false", "no"})

WAYS = {
    "label": "labels",
    "text": "texts of options",
    "truth": "1 for true, 0 for false",
    "0": "positions from 0",
    "1": "positions from 1",
}
"""The ways in which a number may be meant, as people call them."""


class Answer(NamedTuple):
    """An answer as a file gives it, and the options that it may mean."""

    where: str
    """Names the place in messages."""
    said: JsonValue
    texts: Sequence[str]
    names: Sequence[str] = ()
    """What the file calls the options; empty if it does not, and they are called A, B, C ..."""
    columns: Sequence[str] = ()
    """Names of the columns that the options stand in."""


class Settled(NamedTuple):
    """How the numbers in a column of answers are meant."""

    positions: tuple[int | DataError, ...]
    """Of every answer: the option's position, or what is wrong with it."""
    way: str | None
    """One of `WAYS`, if there are numbers and it is known how they are meant."""
    because: str
    """The answer that decided between positions from 0 and from 1, for people; empty if none had to."""


def truth_of(said: JsonValue) -> bool | None:
    """What a truth value says; None if it is none."""
    if isinstance(said, bool):
        return said
    word = said.strip().rstrip(".").lower() if isinstance(said, str) else ""
    return True if word in _TRUE else False if word in _FALSE else None


def settle(answers: Sequence[Answer], base: int | None) -> Settled:
    """The options that a column of answers means.

    Args:
        base: the number of the first option (`data.answer_base`); None takes what the answers themselves decide.
    """
    numbers = {i: _ways(answer, base) for i, answer in enumerate(answers) if _number(answer.said) is not None}
    fitting = _fitting(list(numbers.values()))
    if not fitting:  # numbers that can be no position, and are texts, leave the others to decide
        fitting = _fitting([ways for ways in numbers.values() if ways.keys() & {"0", "1"}])
    positions: list[int | DataError] = []
    for i, answer in enumerate(answers):
        try:
            positions.append(_number_means(answer, numbers[i], fitting) if i in numbers else _means(answer))
        except DataError as error:
            positions.append(error)
    is_settled = bool(numbers) and all(isinstance(positions[i], int) for i in numbers)
    way = next((way for way in WAYS if way in fitting), None) if is_settled else None
    return Settled(tuple(positions), way, _because(answers, numbers, way) if base is None else "")


def _number(said: JsonValue) -> int | None:
    """The number that an answer is; None if it is none, or too long to be an option's."""
    if isinstance(said, bool) or not isinstance(said, int | float | str):
        return None
    text = str(said).strip()
    return int(text.split(".")[0]) if _NUMBER.fullmatch(text) else None


def _ways(answer: Answer, base: int | None) -> dict[str, frozenset[int]]:
    """The options that a number means, by the way in which it may be meant; only the ways that mean some."""
    number = _number(answer.said)
    assert number is not None  # noqa: S101 (asked before)
    labels = frozenset(i for i, name in enumerate(answer.names) if name.strip() == str(number))
    ways = {"label": labels, "text": _by_text(str(answer.said), answer.texts)}
    is_numbered = any(name.isdecimal() for name in answer.names)
    if not (is_numbered and isinstance(answer.said, str)):  # a text that is a label is nothing else
        ways["truth"] = frozenset(_by_truth(bool(number), answer.texts)) if number in (0, 1) else frozenset()
        bases = (0,) if is_numbered else (0, 1)
        ways |= {str(first): frozenset({number - first} & set(range(len(answer.texts)))) for first in bases}
    if base is not None:  # the user says what numbers are
        chosen = str(base) if str(base) in ways else "label"
        ways = {chosen: ways[chosen]}
    return {way: meant for way, meant in ways.items() if meant}


def _fitting(numbers: Sequence[Mapping[str, frozenset[int]]]) -> list[str]:
    """The ways in which all of these numbers may be meant."""
    return [way for way in WAYS if numbers and all(way in ways for ways in numbers)]


def _number_means(answer: Answer, ways: Mapping[str, frozenset[int]], fitting: Sequence[str]) -> int:
    """The option that a number means. Raises DataError if it means none, or could mean several."""
    is_inside = bool(ways.keys() & set(fitting))
    outside = () if ways.keys() & {"0", "1"} else ("label", "text")
    meant = {way: ways[way] for way in (fitting if is_inside else outside) if way in ways}
    options = frozenset().union(*meant.values())
    if len(options) == 1:
        return next(iter(options))
    if not ways:
        raise DataError(expected(f"{answer.where}", answer.said, _wanted(answer)))
    if not meant:
        raise DataError(
            expected(
                answer.where,
                answer.said,
                "numbers that all count from 0, or all from 1: some of this file fit only the one, some only the other",
            )
        )
    could = " or ".join(f"{LABELS[i]} ({WAYS[way]})" for way, found in meant.items() for i in sorted(found))
    raise DataError(
        f"{answer.where}: found {answer.said!r}, which could mean {could}, and nothing in the file decides; expected "
        "data.answer_base=0 or data.answer_base=1, the number of the first option, or labels"
    )


def _because(answers: Sequence[Answer], numbers: Mapping[int, Mapping[str, frozenset[int]]], way: str | None) -> str:
    """The first answer that excludes the other way to count."""
    if way not in ("0", "1"):
        return ""
    other = "1" if way == "0" else "0"
    found = next((answers[i] for i, ways in numbers.items() if way in ways and other not in ways), None)
    return "" if found is None else f"{found.where} is {found.said} of {len(found.texts)} options"


def _means(answer: Answer) -> int:
    """The option that an answer means which is no number. Raises DataError if it means none, or several."""
    said = answer.said[0] if isinstance(answer.said, list) and len(answer.said) == 1 else answer.said
    meant: set[int] = set()
    if isinstance(said, bool):
        meant = set(_by_truth(said, answer.texts))
    elif isinstance(said, str | int | float):
        text = str(said)
        short = _SAYS.sub("", text.strip(), count=1) if _SAYS.match(text.strip()) else text
        meant = {
            *_by_label(text, answer),
            *_by_label(short, answer),
            *(_by_text(text, answer.texts) or _by_text(short, answer.texts)),
        }
        truth = truth_of(text)
        meant = meant or (set() if truth is None else set(_by_truth(truth, answer.texts)))
    if len(meant) != 1:
        several = f"; it could mean {' or '.join(LABELS[i] for i in sorted(meant))}" if meant else ""
        only = ", and only one option meant" if meant else ""
        raise DataError(expected(answer.where, answer.said, f"{_wanted(answer)}{only}{several}"))
    return meant.pop()


def _wanted(answer: Answer) -> str:
    names = answer.names or LABELS[: len(answer.texts)]
    return f"a label ({', '.join(names)}), an option's text, or a number with its base (data.answer_base=0 or 1)"


def _by_label(said: str, answer: Answer) -> frozenset[int]:
    """The option with this label: alone, in brackets, with a dot, or with the option's text behind it."""
    said = said.strip()
    match = _LABELLED.fullmatch(said)
    label = said if match is None else str(match["label"] or match["bare"])
    found = {i for i, name in enumerate(answer.names) if name.lower() == label.lower()}
    if not any(name.isalpha() for name in answer.names):  # then letters count options
        found |= {i for i in range(len(answer.texts)) if LABELS[i] == label.upper()}
    found |= {i for i, name in enumerate(answer.columns) if _bare(name) == _bare(said)}
    if match is not None and match["rest"] is not None:
        found &= _by_text(match["rest"], answer.texts)
    return frozenset(found)


def _by_text(said: str, texts: Sequence[str]) -> frozenset[int]:
    """The options with this text; capitals and blanks count only where several differ by nothing else."""
    exact = frozenset(i for i, text in enumerate(texts) if text.strip() == said.strip())
    return exact or frozenset(i for i, text in enumerate(texts) if _plain(text) == _plain(said))


def _bare(name: str) -> str:
    """A column's name without what people put between its word and its number."""
    return re.sub(r"[\s_-]", "", name.lower())


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _by_truth(said: bool, texts: Sequence[str]) -> list[int]:
    """The option that affirms, or the one that denies; none if the options are not of that kind."""
    affirmed, denied = (
        [i for i, t in enumerate(texts) if _plain(t).rstrip(".") in words] for words in (_AFFIRMED, _DENIED)
    )
    return (affirmed if said else denied) if len(affirmed) == len(denied) == 1 else []
