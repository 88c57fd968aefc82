"""One self-contained HTML file that shows the methods of a study side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from urllib.parse import quote

from tinythinker.core.files import write_text
from tinythinker.core.run import StudyDirectory
from tinythinker.evaluate.guessing import Guessing
from tinythinker.report.cards import Cards, Link, interval, large, percent
from tinythinker.report.cards import Cell as Shown
from tinythinker.report.charts import method_curves, method_dots
from tinythinker.report.html import render
from tinythinker.study.grid import Grid
from tinythinker.study.results import Cell, Results, Row, compared


def write_study_page(grid: Grid, directory: StudyDirectory, results: Results) -> Path:
    """Write `study.html` and return its path."""
    values = list(dict.fromkeys(row.value for row in results.rows))
    write_text(
        directory.page,
        render(
            "study/webpage.jinja",
            grid=grid,
            count=len(list(grid.cells())),
            results=results,
            sections=[(value, *_tables(grid, directory, results, value)) for value in values],
            votes=_votes_table(results),
            figures=_figures(grid, results),
        ),
    )
    return directory.page


def _tables(grid: Grid, directory: StudyDirectory, results: Results, value: str | None) -> tuple[Cards, Cards]:
    """What came out, with links to the cells, and what it cost."""
    at = f" at {grid.vary[0]} = {value}" if grid.vary else ""
    rows = [row for row in results.rows if row.value == value]
    better: list[tuple[Shown, ...]] = []
    for row in rows:
        gain, p, said = compared(grid, row, results.comparisons.get(value or "", {}).get(row.method))
        accuracy = (percent(row.accuracy.mean), "–" if row.accuracy.sd is None else f"{100 * row.accuracy.sd:.1f}")
        cells = [cell for cell in results.cells if (cell.method, cell.value) == (row.method, value)]
        ends = interval(row.accuracy.low, row.accuracy.high)
        better.append((row.method, *accuracy, ends, gain, p, said, list(_links(directory, cells))))
    gain = f"{grid.compared_with} minus it"
    columns = ("method", "accuracy", "sd", "95% interval", gain, "p (Holm)", "verdict", "report of seed")
    costs: list[tuple[Shown, ...]] = [(row.method, *_costs(row)) for row in rows]
    return (
        Cards(f"Accuracy of the methods{at}", columns, tuple(better)),
        Cards(f"Reasoning and cost of the methods{at}", ("method", *_COSTS), tuple(costs)),
    )


def _links(directory: StudyDirectory, cells: Sequence[Cell]) -> Iterator[Link]:
    """The reports of a method's cells; the folder of a cell that has none."""
    for cell in cells:
        report = directory.cell(Path(cell.run)).report
        path = report.relative_to(directory.root) if report.exists() else Path(cell.run)
        yield Link(str(cell.seed), quote(path.as_posix()))


_COSTS = (
    "recalls true",
    "analyses true",
    "tokens per answer",
    "unreadable",
    "steps",
    "target tokens",
    "training FLOPs",
    "seconds",
)


def _costs(row: Row) -> tuple[str, ...]:
    return (
        percent(row.recall_facts),
        percent(row.analyze_facts),
        f"{row.tokens_per_answer:.1f}",
        percent(row.unreadable),
        f"{row.steps:,.0f}",
        f"{row.target_tokens:,.0f}",
        large(row.flops),
        f"{row.seconds:,.0f}",
    )


def _votes_table(results: Results) -> Cards | None:
    """Accuracy by number of votes, a row per cell that sampled several chains; None if none did."""
    voted = [cell for cell in results.cells if cell.votes]
    if not voted:
        return None
    most = max(len(cell.votes) for cell in voted)
    rows = []
    for cell in voted:
        name = ", ".join([cell.method, *([] if cell.value is None else [cell.value]), f"seed {cell.seed}"])
        shares = [percent(vote.share) for vote in cell.votes]
        rows.append((name, *shares, *[""] * (most - len(shares))))
    columns = ("cell", *(f"{k} chain{'s' if k > 1 else ''}" for k in range(1, most + 1)))
    return Cards("Accuracy by number of votes", columns, tuple(rows))


def _figures(grid: Grid, results: Results) -> list[str]:
    if not results.rows:
        return []
    if grid.vary is not None:
        curves = {
            method: [
                (str(row.value), row.accuracy.mean, row.accuracy.low, row.accuracy.high)
                for row in results.rows
                if row.method == method
            ]
            for method in grid.methods
        }
        known = {name: points for name, points in curves.items() if points}
        values = {str(cell.value) for cell in results.cells}
        guesses = {value: _guess([cell for cell in results.cells if str(cell.value) == value]) for value in values}
        return [method_curves(known, grid.vary[0], f"Accuracy by {grid.vary[0]}", guesses)]
    by_method = {
        row.method: [cell.accuracy for cell in results.cells if cell.method == row.method] for row in results.rows
    }
    ends = {row.method: _ends(row) for row in results.rows}
    return [method_dots(by_method, ends, "Accuracy of every method", _guess(results.cells))]


def _guess(cells: Sequence[Cell]) -> Guessing:
    """What guessing scores, mean over cells."""
    return Guessing(chance=fmean(cell.chance for cell in cells), majority=fmean(cell.majority for cell in cells))


def _ends(row: Row) -> tuple[float, float]:
    mean = row.accuracy.mean
    return (
        mean if row.accuracy.low is None else row.accuracy.low,
        mean if row.accuracy.high is None else row.accuracy.high,
    )
