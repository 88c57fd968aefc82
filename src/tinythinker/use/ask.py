"""Asking a student one question: apart from the other verbs, so that it loads no more than it needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tinythinker.core.errors import DataError, StudentError
from tinythinker.core.records import LABELS, Chain, Option, Question
from tinythinker.core.run import RunDirectory
from tinythinker.generate.think import Thought
from tinythinker.generate.think import think as think_all
from tinythinker.student.student import Student, load_student


def think(student: str | Path | Student, question: str, options: Sequence[str]) -> Chain:
    """Ask a student one question and see its whole reasoning.

    Args:
        student: a loaded student, its folder, or a run directory (its last student answers).
        options: 2 to 26 texts, labelled A, B, C ... in this order.

    Raises:
        StudentError: there is no such student.
        DataError: the question or its options cannot be asked.
    """
    if not 2 <= len(options) <= len(LABELS):
        raise DataError(f"options: found {len(options)}, expected 2 to {len(LABELS)}")
    if not question.strip() or not all(options):
        raise DataError("question and options: found an empty text, expected texts")
    labelled = tuple(Option(label=label, text=text) for label, text in zip(LABELS, options, strict=False))
    asked = Question(id="asked", stem=question, options=labelled, gold=None)
    if not isinstance(student, Student):
        student = load_student(last_student(Path(student)))
    return think_all(student, [Thought(asked)])[0]


def last_student(path: Path) -> Path:
    """The student folder that a path means: itself, or the last one of a run directory."""
    run = RunDirectory(path)
    if not run.exists:
        return path
    rounds = run.rounds()
    return student_of(run, f"round-{rounds[-1]}" if rounds else "phase-1")


def student_of(run: RunDirectory, name: str) -> Path:
    """The student folder of a phase or round. Raises StudentError."""
    folder = run.root / name / "student"
    if not folder.exists():
        raise StudentError(f"{folder}: found no student, expected one; run `tinythinker train {run.root}` first")
    return folder
