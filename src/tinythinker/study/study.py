"""A study: do the cells, then say what they came to."""

from __future__ import annotations

from pathlib import Path

from tinythinker.core.errors import SettingsError
from tinythinker.core.files import write_json
from tinythinker.core.progress import say
from tinythinker.core.run import alone_in
from tinythinker.study.cells import count_other_cells, do_cells, refuse_other_settings
from tinythinker.study.grid import Grid
from tinythinker.study.results import Results, gather, write_results
from tinythinker.study.webpage import write_study_page


def study(grid: Grid, out: Path, *, workers: int = 1) -> Results:
    """Do every cell of a grid that is not done yet, and write what all of them came to.

    Writes `study.json` (the grid), `cells/` (a run directory each), `results.json`, `comparisons.json`, `table.md` and
    `study.html` into `out`. Can be stopped and called again, with more methods or seeds, too.

    Raises:
        SettingsError: `out` holds something else, or a cell that was begun with other settings.
        DataError: another process is at work on this study.
        TinyThinkerError: a cell cannot be done; those that are done stay, and are in the tables.
    """
    if out.exists() and not (out / "study.json").exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"{out}: found other files and no study.json, expected a new, empty or study directory")
    with alone_in(out, out / ".lock"):
        refuse_other_settings(grid, out)
        if others := count_other_cells(grid, out):
            say(f"study: {others} cells of earlier calls are kept and not in these tables: they are not in this grid")
        write_json(out / "study.json", grid.model_dump(mode="json"))
        try:
            do_cells(grid, out, workers)
        finally:
            results = gather(grid, out)
            write_results(grid, out, results)
            write_study_page(grid, out, results)
    return results
