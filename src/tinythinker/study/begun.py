"""What a study finds before it begins or goes on: its cells on disk, and what they will need. Needs no torch."""

from __future__ import annotations

from tinythinker import session
from tinythinker.core.errors import SettingsError, TinyThinkerError
from tinythinker.core.run import StudyDirectory
from tinythinker.settings.resolve import bound_of, load_settings
from tinythinker.settings.schema import RunSettings
from tinythinker.student.present import refuse_absent_student
from tinythinker.study.folders import cell_of, changes
from tinythinker.study.grid import Grid, Place
from tinythinker.tasks.registry import load_task
from tinythinker.teacher.ready import refuse_unready_teacher


def refuse_unready_cells(grid: Grid, directory: StudyDirectory) -> None:
    """Raise TinyThinkerError, with the name of the cell, if a cell that is still to be done could not be done.

    Checks the cells of the first seed; the others have the same settings.
    """
    read: set[str] = set()
    for place in grid.cells():
        run = cell_of(grid, place, directory)
        if place.seed != grid.seeds[0] or run.quality.exists():
            continue
        settings = load_settings(grid.task, grid.overrides(place))
        teach = repr(bound_of(settings).by_verb["teach"])
        try:
            if teach not in read:
                refuse_unready_teacher(settings, load_task(settings), run)
            _refuse_unready(grid, place, settings)
        except TinyThinkerError as error:
            raise type(error)(f"{run.root.relative_to(directory.root)}: {error}") from None
        read.add(teach)


def _refuse_unready(grid: Grid, place: Place, settings: RunSettings) -> None:
    method = grid.method(place.method)
    if method.untrained is None:
        session.refuse_unready(settings)
    elif method.is_pretrained:
        refuse_absent_student(settings.student)


def refuse_other_settings(grid: Grid, directory: StudyDirectory) -> None:
    """Raise SettingsError if a cell was begun with settings other than the grid's."""
    for place in grid.cells():
        run = cell_of(grid, place, directory)
        if run.exists and (found := changes(grid, place, run)) is not None:
            raise SettingsError(
                f"{run.root}: found a cell of other settings ({'; '.join(found)}), expected the study's own; "
                "use the same settings, another directory, or delete the cell"
            )


def count_other_cells(grid: Grid, directory: StudyDirectory) -> int:
    """Number of cells on disk that are not in the grid."""
    wanted = {cell_of(grid, place, directory).root for place in grid.cells()}
    return len(directory.begun_cells() - wanted)
