"""What people ask, as questions: a text and options, a line of JSON, or a text with its options in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from tinythinker.core.errors import DataError, expected
from tinythinker.core.formats import MalformedError, parse_json
from tinythinker.core.records import LABELS, Option, Question, Stage
from tinythinker.settings.schema import DataSettings
from tinythinker.tasks.tables.layouts import said_in

_MARKS = (
    re.compile(r"(?m)^[ \t]*(?:[-*][ \t]+)?[(\[]?([A-Za-z]|\d{1,2})[)\].:][ \t]+(?=\S)"),
    re.compile(r"(?:(?<=\s)|^)\(([A-Z])\)[ \t]+(?=\S)"),
)
"""What stands before an option: `A)`, `(A)`, `A.`, `1.` at the beginning of a line, or `(A)` anywhere."""
_BEFORE = re.compile(r"\A\s*(?:question|q)\s*:\s*", re.IGNORECASE)
_AFTER = re.compile(r"\s*^\s*(?:answer )?(?:options|choices)\s*:\s*\Z", re.IGNORECASE | re.MULTILINE)
"""Words around a question that are no part of it."""


@dataclass(frozen=True)
class Posed:
    """A question to answer, and reasoning to go on from instead of the student's own."""

    question: Question
    recall: str | None = None
    """None: to be written."""
    analyses: tuple[str, ...] | None = None
    """One per option; None: to be written."""

    def __post_init__(self) -> None:
        if self.analyses is not None and len(self.analyses) != len(self.question.options):
            found, wanted = len(self.analyses), f"{len(self.question.options)}, one per option"
            raise DataError(f"analyses: found {found}, expected {wanted}")
        if not all(text.strip() for text in (*(self.analyses or ()), "-" if self.recall is None else self.recall)):
            raise DataError("recall and analyses: found an empty text, expected texts")

    def refuse_foreign(self, stages: Sequence[Stage]) -> None:
        """Raise DataError if it brings what a student with these stages never reads."""
        given = {Stage.RECALL: self.recall, Stage.ANALYZE: self.analyses}
        for stage, text in given.items():
            if text is not None and stage not in stages:
                wanted = f"none: this student has the stages {', '.join(stages)}"
                raise DataError(f"{stage}: found a given text, expected {wanted}")
        if self.analyses is not None and self.recall is None and Stage.RECALL in stages:
            raise DataError("recall: found none with given analyses, expected the one that they were written under")


class SoFar(NamedTuple):
    """What has been written on a question that is not answered yet."""

    recall: str | None
    analyses: tuple[str, ...] | None
    """One per option; None as long as they are to be written."""


def as_question(question: str, options: Sequence[str], id_: str = "asked") -> Question:
    """A question without a known answer; its options get the labels A, B, C ... in this order.

    Raises:
        DataError: a text is empty, or there are too few or too many options.
    """
    if not 2 <= len(options) <= len(LABELS):
        raise DataError(f"options: found {len(options)}, expected 2 to {len(LABELS)}")
    if not question.strip() or not all(option.strip() for option in options):
        raise DataError("question and options: found an empty text, expected texts")
    labelled = tuple(Option(label=label, text=text) for label, text in zip(LABELS, options, strict=False))
    return Question(id=id_, stem=question, options=labelled, gold=None)


def spoken_question(text: str, id_: str = "asked") -> Question:
    """The question in a text that lists its options, one per line (`A) up`) or in a line (`(A) up (B) down`).

    What follows the line of the last option, such as `Answer:`, is no part of it.

    Raises:
        DataError: no options are found in it.

    >>> asked = spoken_question("Where does rain go?\\nA) up\\nB) down")
    >>> asked.stem, [option.text for option in asked.options]
    ('Where does rain go?', ['up', 'down'])
    """
    for mark in _MARKS:
        found = _last_list(list(mark.finditer(text)))
        if len(found) >= 2:
            ends = [one.start() for one in found[1:]] + [len(text)]
            texts = [text[one.end() : end].strip() for one, end in zip(found, ends, strict=True)]
            texts[-1] = texts[-1].split("\n")[0].strip()
            stem = _AFTER.sub("", _BEFORE.sub("", text[: found[0].start()])).strip()
            return as_question(stem, texts, id_)
    raise DataError(expected("question", text, "its options after it, one per line: `A) up`, `B) down`"))


def _last_list(marks: Sequence[re.Match[str]]) -> list[re.Match[str]]:
    """The last of the marks that count A, B, C ... or 1, 2, 3 ... from the first on."""
    found: list[re.Match[str]] = []
    for mark in marks:
        place = int(mark[1]) - 1 if mark[1].isdecimal() else LABELS.index(mark[1].upper())
        if place == 0:
            found = [mark]
        elif found and place == len(found) and mark[1].isdecimal() == found[0][1].isdecimal():
            found.append(mark)
    return found


def questions_in(lines: Iterable[str], where: str) -> Iterator[Question]:
    """The questions that somebody sends: one JSON object per line, or one text with its options in it.

    A question in JSON is given as soon as its line is there; its fields are recognised as in a file of questions.

    Args:
        where: names the source in messages.

    Raises:
        DataError: something is no question; the message says where.
    """
    left = iter(enumerate(lines, start=1))
    first = next(((number, line) for number, line in left if line.strip()), None)
    if first is None:
        raise DataError(f"{where}: found nothing, expected a question")
    if not first[1].lstrip().startswith("{"):
        yield spoken_question("".join([first[1], *(line for _, line in left)]))
        return
    for number, line in chain([first], left):
        if line.strip():
            yield _line_as_question(line, number, where)


def _line_as_question(line: str, number: int, source: str) -> Question:
    where = f"{source}:{number}"
    try:
        fields = parse_json(line)
    except MalformedError as error:
        raise DataError(f"{where}: found {error}, expected one JSON object on every line") from None
    if not isinstance(fields, dict):
        raise DataError(expected(where, fields, "a JSON object"))
    said = said_in(number, fields, DataSettings(), where)
    try:
        return as_question(said.question, said.choices.texts, said.id or f"{source}-{number}")
    except DataError as error:
        raise DataError(f"{where}, {error}") from None
