"""The students that a service asks, by name; all but the first are loaded when they are first asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from tinythinker.core.errors import DataError, SettingsError
from tinythinker.core.files import resolved
from tinythinker.core.progress import say
from tinythinker.core.records import Question
from tinythinker.core.run import RunDirectory, run_around
from tinythinker.core.seeds import stream
from tinythinker.serve.limits import ResponseError
from tinythinker.teacher.taught import read_questions
from tinythinker.use.ask import find, load
from tinythinker.use.prediction import Prediction
from tinythinker.use.questions import Posed, SoFar

if TYPE_CHECKING:
    from tinythinker.use.answering import LoadedStudent


class Roster:
    """Students by name.

    Args:
        folders: by name; the first is asked where none is named.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = dict(folders)
        self._loaded: dict[str, LoadedStudent] = {}

    @property
    def names(self) -> list[str]:
        """All names, that of the first student first."""
        return list(self._folders)

    @property
    def first(self) -> str:
        """The student that is asked where none is named."""
        return self.names[0]

    def get(self, name: str) -> LoadedStudent:
        """A student, loaded now if it has not been asked yet. Raises StudentError, DataError."""
        if name not in self._loaded:
            self._loaded[name] = load(self._folders[name])
        return self._loaded[name]

    def answer(self, name: str, posed: Sequence[Posed], tell: Callable[[int, SoFar], None]) -> list[Prediction]:
        """A student's answers to some questions, thought together; `tell` hears what has been written.

        Raises:
            ResponseError: a question brings reasoning that the student never reads.
            StudentError, DataError: the student cannot be loaded.
        """
        student = self.get(name)
        for one in posed:
            try:
                one.refuse_foreign(student.stages)
            except DataError as error:
                raise ResponseError(422, str(error)) from None
        return student.answer_together(posed, tell)


def roster_of(student: str | PathLike[str], compared: Sequence[str | PathLike[str]] = ()) -> Roster:
    """The student, those of its run to compare it with, and others. Raises StudentError, DataError."""
    folder = find(student)
    run = _run_of(folder)
    found = {_name(folder): folder}
    for home in () if run is None else (run, *run.inner_runs()):
        prefix = "" if home is run else f"{home.root.name}/"
        for name in home.trainings():
            if home.training(name).student.exists():
                found.setdefault(f"{prefix}{name}", home.training(name).student)
    for other in compared:
        place = find(other)
        name = _name(place) if _name(place) not in found else str(place)
        found[name] = place
    return Roster(found)


def _name(folder: Path) -> str:
    """`round-2` for RUN/round-2/student, else the folder's own name."""
    whole = resolved(folder)
    return whole.parent.name if whole.name == "student" and _run_of(whole) is not None else whole.name


def examples_of(student: str | PathLike[str]) -> list[Question]:
    """The test questions of a student's run, in a shuffled order; none if it has no run or they are not whole."""
    run = _run_of(find(student))
    if run is None:
        return []
    try:
        questions = read_questions(run, "test")
    except DataError as error:
        say(f"serve: no examples: {error}")
        return []
    order = stream(0, "serve", "examples").permutation(len(questions))
    return [questions[i] for i in order]


def _run_of(folder: Path) -> RunDirectory | None:
    """The run directory around a student's folder, if there is one."""
    try:
        return run_around(resolved(folder))
    except SettingsError:
        return None
