"""Ask a student questions. What is asked is checked before torch is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from tinythinker.core.run import last_student
from tinythinker.student.present import refuse_no_student
from tinythinker.use.prediction import Prediction
from tinythinker.use.questions import Posed, as_question

if TYPE_CHECKING:
    from tinythinker.student.student import Student
    from tinythinker.use.answering import LoadedStudent


def find(student: str | PathLike[str]) -> Path:
    """The student that a path or a name refers to (`core.run.last_student`). Raises StudentError, DataError."""
    folder = last_student(Path(student))
    refuse_no_student(str(folder))
    return folder


def load(student: str | PathLike[str]) -> LoadedStudent:
    """A student to ask many questions: see `tinythinker.api.load`."""
    folder = find(student)

    from tinythinker.student.load import load_student
    from tinythinker.use.answering import LoadedStudent

    return LoadedStudent.of(load_student(folder))


def ask(student: str | PathLike[str] | Student, question: str, options: Sequence[str]) -> Prediction:
    """A student's answer to one question: see `tinythinker.api.ask`."""
    asked = Posed(as_question(question, options))
    loaded = load(student) if isinstance(student, str | PathLike) else student

    from tinythinker.use.answering import LoadedStudent

    return LoadedStudent.of(loaded).answer_together([asked])[0]
