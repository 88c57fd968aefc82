"""What a teacher source is: a function from what may be asked to what was given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinythinker.core.errors import SettingsError, expected
from tinythinker.core.records import Question, Rationale, Rejected
from tinythinker.core.run import RunDirectory
from tinythinker.settings.schema import RunSettings
from tinythinker.tasks.registry import Task
from tinythinker.tasks.split import draw
from tinythinker.teacher.rationales import Header
from tinythinker.teacher.usage import Usage


@dataclass(frozen=True)
class Asking:
    """What a source is asked."""

    settings: RunSettings
    task: Task
    questions: Sequence[Question]
    """Of the training split; a source is asked about no others. A language model gets those to explain alone."""
    run: RunDirectory

    @property
    def path(self) -> Path:
        """`teacher.path`, which this source needs. Raises SettingsError if it is null."""
        teacher = self.settings.teacher
        if teacher.path is None:
            wanted = (
                "the file or folder that this source reads; teacher.source=none with stages.plan=summarize learns from "
                "labels alone"
            )
            raise SettingsError(expected(f"teacher.path for teacher.source={teacher.source}", None, wanted))
        return teacher.path


@dataclass(frozen=True)
class Given:
    """What a source gave, before selection."""

    answers: Iterable[Rationale | Rejected]
    usage: Usage
    licence: str
    """Note on the licence of what it gave, for the header of the rationales file."""
    inputs: tuple[Path, ...] = ()
    """Files that were read."""
    missing: Mapping[str, int] = field(default_factory=dict)
    """Usable completions still missing, by question (language models only)."""
    model: str | None = None
    prompt: str | None = None
    """Hash of what was asked (language models only)."""
    origin: Header | None = None
    """The header of a file that these were taken from."""


def to_explain(settings: RunSettings, train: Sequence[Question]) -> Sequence[Question]:
    """The training questions that the teacher explains: all, or a seeded draw of them (`teacher.annotated`)."""
    return draw(train, max(1, round(settings.teacher.annotated * len(train))), settings.seed, "annotated")


Source = Callable[[Asking], Given]
"""Gives rationales for the training questions.

Raises SettingsError if it does not suit the task or needs a setting, TeacherError if it has nothing to give.
"""


def free(asking: Asking) -> Usage:
    """The usage of a source that costs nothing."""
    return Usage(source=asking.settings.teacher.source, cost=0.0)
