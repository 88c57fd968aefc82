"""Ask a student one question. Kept apart from the other verbs, so that it loads only what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from tinythinker.core.errors import DataError
from tinythinker.core.records import LABELS, Chain, Option, Question
from tinythinker.core.run import last_student
from tinythinker.generate.think import Thought, think
from tinythinker.student.load import load_student
from tinythinker.student.student import Student


def load(student: str | PathLike[str]) -> Student:
    """A student to ask many questions: see `tinythinker.api.load`."""
    return load_student(last_student(Path(student)))


def ask(student: str | PathLike[str] | Student, question: str, options: Sequence[str]) -> Chain:
    """A student's answer to one question: see `tinythinker.api.ask`."""
    if not 2 <= len(options) <= len(LABELS):
        raise DataError(f"options: found {len(options)}, expected 2 to {len(LABELS)}")
    if not question.strip() or not all(options):
        raise DataError("question and options: found an empty text, expected texts")
    labelled = tuple(Option(label=label, text=text) for label, text in zip(LABELS, options, strict=False))
    asked = Question(id="asked", stem=question, options=labelled, gold=None)
    loaded = student if isinstance(student, Student) else load(student)
    return think(loaded, [Thought(asked)])[0]
