"""Ask a student one question. What is asked is checked before torch is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from tinythinker.core.errors import DataError
from tinythinker.core.records import LABELS, Chain, Option, Question
from tinythinker.core.run import last_student
from tinythinker.student.present import refuse_no_student

if TYPE_CHECKING:
    from tinythinker.student.student import Student


def load(student: str | PathLike[str]) -> Student:
    """A student to ask many questions: see `tinythinker.api.load`."""
    folder = str(last_student(Path(student)))
    refuse_no_student(folder)

    from tinythinker.student.load import load_student

    return load_student(folder)


def ask(student: str | PathLike[str] | Student, question: str, options: Sequence[str]) -> Chain:
    """A student's answer to one question: see `tinythinker.api.ask`."""
    if not 2 <= len(options) <= len(LABELS):
        raise DataError(f"options: found {len(options)}, expected 2 to {len(LABELS)}")
    if not question.strip() or not all(options):
        raise DataError("question and options: found an empty text, expected texts")
    labelled = tuple(Option(label=label, text=text) for label, text in zip(LABELS, options, strict=False))
    asked = Question(id="asked", stem=question, options=labelled, gold=None)
    loaded = load(student) if isinstance(student, str | PathLike) else student

    from tinythinker.generate.think import Thought, think

    return think(loaded, [Thought(asked)])[0]
