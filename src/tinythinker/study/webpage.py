"""One self-contained HTML file that shows the methods of a study side by side."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from jinja2 import Environment

from tinythinker.core.files import write_text
from tinythinker.core.run import StudyDirectory
from tinythinker.evaluate.statistics import in_words
from tinythinker.report.charts import method_curves, method_dots
from tinythinker.study.grid import Grid
from tinythinker.study.results import Results, Row


def write_study_page(grid: Grid, directory: StudyDirectory, results: Results) -> Path:
    """Write `study.html` and return its path."""
    template = resources.files("tinythinker") / "study" / "webpage.jinja"
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        template.read_text(encoding="utf-8")
    )
    values = list(dict.fromkeys(row.value for row in results.rows))
    sections = [
        (value, [row for row in results.rows if row.value == value], results.comparisons.get(value or "", {}))
        for value in values
    ]
    write_text(
        directory.page,
        page.render(
            grid=grid,
            count=len(list(grid.cells())),
            results=results,
            sections=sections,
            figures=_figures(grid, results),
            in_words=in_words,
        ),
    )
    return directory.page


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
        return [method_curves({name: points for name, points in curves.items() if points}, grid.vary[0], "Accuracy")]
    by_method = {
        row.method: [cell.accuracy for cell in results.cells if cell.method == row.method] for row in results.rows
    }
    return [method_dots(by_method, {row.method: _ends(row) for row in results.rows}, "Accuracy of every method")]


def _ends(row: Row) -> tuple[float, float]:
    mean = row.accuracy.mean
    return (
        mean if row.accuracy.low is None else row.accuracy.low,
        mean if row.accuracy.high is None else row.accuracy.high,
    )
