"""What a bench is asked for, checked before torch is loaded and before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from tinythinker import session
from tinythinker.core.errors import SettingsError, expected
from tinythinker.core.run import RunDirectory, last_student, run_around
from tinythinker.settings.resolve import load_settings
from tinythinker.student.present import refuse_no_student
from tinythinker.tasks.registry import load_task
from tinythinker.teacher.ready import refuse_unready_teacher

Section = Literal["sampling", "phase_1", "phase_2", "round", "evaluate", "votes", "memory"]
SECTIONS: tuple[Section, ...] = get_args(Section)


def run_beside(out: Path) -> RunDirectory:
    """The run of the student that a bench trains, next to the file of its measurements."""
    return RunDirectory(out.with_suffix(".run"))


def refuse_unready_bench(
    overrides: Sequence[str], *, student: Path | None, task: str, out: Path, parts: Sequence[str]
) -> None:
    """Raise TinyThinkerError if the arguments contradict each other, or something that they name is not there."""
    if student is not None and overrides:
        raise SettingsError(expected("settings", " ".join(overrides), "none with --student, which has its run's"))
    if out.suffix in {"", ".run"} or out.is_dir():
        raise SettingsError(expected("--out", str(out), "the name of a file, such as bench.json"))
    parts_of(parts)
    if student is not None:
        folder = last_student(student)
        refuse_no_student(str(folder))
        run_around(folder.resolve())
        return
    settings = load_settings(task, (*overrides, "reflect.rounds=0"))
    run = run_beside(out)
    if not run.quality.exists():
        refuse_unready_teacher(settings, load_task(settings), run)
    session.refuse_unready(settings)


def parts_of(words: Sequence[str]) -> tuple[Section, ...]:
    """Sections by name, in their order; no name means all. Raises SettingsError."""
    for word in words:
        if word not in SECTIONS:
            raise SettingsError(expected("parts", word, f"some of {', '.join(SECTIONS)}"))
    return tuple(section for section in SECTIONS if not words or section in words)
