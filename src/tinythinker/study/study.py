"""A study: run the cells, then write their results."""

from __future__ import annotations

from pathlib import Path

from tinythinker.core.errors import SettingsError
from tinythinker.core.files import write_json
from tinythinker.core.progress import say
from tinythinker.core.run import StudyDirectory, alone_in
from tinythinker.study.begun import count_other_cells, refuse_other_settings, refuse_unready_cells
from tinythinker.study.grid import Grid
from tinythinker.study.results import Results, gather, write_results
from tinythinker.study.webpage import write_study_page


def study(grid: Grid, out: Path, *, workers: int = 1) -> Results:
    """Run every cell of a grid that is not finished yet, and write the results of all cells.

    Writes `study.json` (the grid), `cells/` (one run directory per cell), `results.json`, `comparisons.json`,
    `table.md` and `study.html` into `out`. You can stop a study and call it again, also with more methods
    or seeds.

    Raises:
        SettingsError: `out` is not a study directory, or holds a cell that was begun with other settings.
        DataError: another process is working on this study.
        TinyThinkerError: a cell could not be done, and nothing is written; or one failed, and the finished cells are
            kept and in the tables.
    """
    directory = StudyDirectory(out)
    if out.exists() and not directory.grid.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"{out}: found other files and no study.json, expected a new, empty or study directory")
    refuse_unready_cells(grid, directory)
    with alone_in(out, directory.lock, "study"):
        refuse_other_settings(grid, directory)
        if others := count_other_cells(grid, directory):
            say(f"study: {others} cells of earlier calls are kept and not in these tables (not in the grid)")

        from tinythinker.study.cells import do_cells  # torch loads here, and only here

        write_json(directory.grid, grid.model_dump(mode="json"))
        try:
            do_cells(grid, directory, workers)
        finally:
            results = gather(grid, directory)
            write_results(grid, directory, results)
            write_study_page(grid, directory, results)
    return results
