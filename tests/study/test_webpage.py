from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.report.browser import measured
from tinythinker.core.run import StudyDirectory
from tinythinker.evaluate.score import Interval
from tinythinker.evaluate.statistics import Comparison, over_seeds
from tinythinker.study.grid import Grid, read_grid
from tinythinker.study.results import Cell, Results, Row
from tinythinker.study.webpage import write_study_page

METHODS = ["majority", "label_only", "shuffled_rationales", "phase_1", "tinythinker"]
SEEDS = range(5)


def cell(method: str, seed: int, value: str | None = None) -> Cell:
    return Cell(
        method=method,
        seed=seed,
        value=value,
        accuracy=0.5 + seed / 100,
        low=0.4,
        high=0.6,
        n=400,
        unreadable=0.0,
        tokens_per_answer=35.0,
        steps=1400,
        prompt_tokens=1_000_000,
        target_tokens=1_706_000,
        flops=2_670_000_000_000,
        seconds=1234.5,
        recall_facts=0.9,
        analyze_facts=None,
        votes=(Interval(share=0.5, low=0.4, high=0.6), Interval(share=0.6, low=0.5, high=0.7)),
        chance=0.25,
        majority=0.275,
        run=f"cells/{method}/seed-{seed}",
    )


def row(method: str, value: str | None = None) -> Row:
    return Row(
        method=method,
        value=value,
        accuracy=over_seeds([0.5 + seed / 100 for seed in SEEDS]),
        tokens_per_answer=35.0,
        unreadable=0.0,
        steps=1400,
        target_tokens=1_706_000,
        flops=2_670_000_000_000,
        seconds=1234.5,
        recall_facts=0.9,
        analyze_facts=None,
    )


BETTER = Comparison(
    difference=0.433,
    low=-0.155,
    high=0.999,
    p=0.00001,
    p_holm=0.00004,
    seeds=5,
    better=300,
    worse=20,
    p_questions=0.0001,
    low_questions=0.4,
    high_questions=0.5,
)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    grid = read_grid("storeroom", methods=METHODS, seeds=len(SEEDS))
    results = Results(
        cells=tuple(cell(method, seed) for seed in SEEDS for method in METHODS),
        rows=tuple(row(method) for method in METHODS),
        comparisons={"": dict.fromkeys(METHODS[:-1], BETTER)},
    )
    return write_study_page(grid, StudyDirectory(tmp_path), results)


def varied(tmp_path: Path) -> tuple[Grid, Results]:
    grid = read_grid("storeroom", methods=["cot", "phase_1"], seeds=1, vary="storeroom.train=10,100,1000")
    places = [(method, value) for value in ("10", "100", "1000") for method in ("cot", "phase_1")]
    cells = tuple(cell(method, 0, value) for method, value in places)
    return grid, Results(cells=cells, rows=tuple(row(*place) for place in places), comparisons={})


def test_the_verdicts_are_within_sight_on_a_screen_of_1280_pixels(page: Path, tmp_path: Path) -> None:
    script = """
        const heads = [...seen.document.querySelectorAll("th")].filter(own => own.textContent === "verdict");
        return {right: heads.map(own => own.getBoundingClientRect().right),
                hidden: [...seen.document.querySelectorAll(".wide")].filter(o => o.scrollWidth > o.clientWidth).length,
                page: seen.document.documentElement.scrollWidth > seen.innerWidth}"""
    found = measured(page, 1280, script, tmp_path)
    assert 0 < max(found["right"]) <= 1280
    assert (found["hidden"], found["page"]) == (0, False)


def test_every_row_is_a_card_on_a_screen_of_390_pixels(page: Path, tmp_path: Path) -> None:
    script = """
        const rows = [...seen.document.querySelectorAll("tbody tr")];
        const cells = [...seen.document.querySelectorAll("td[data-label]:not(.empty)")];
        return {rows: rows.map(own => seen.getComputedStyle(own).display),
                labels: cells.map(own => seen.getComputedStyle(own, "::before").content),
                right: cells.map(own => own.getBoundingClientRect().right),
                page: seen.document.documentElement.scrollWidth > seen.innerWidth}"""
    found = measured(page, 390, script, tmp_path)
    assert set(found["rows"]) == {"block"}
    assert '"verdict"' in found["labels"]
    assert max(found["right"]) <= 390
    assert not found["page"]


def test_texts_of_charts_have_the_size_of_the_notes(page: Path, tmp_path: Path) -> None:
    script = """
        const chart = seen.document.querySelector(".figures svg"), note = seen.document.querySelector(".soft");
        const scale = chart.getBoundingClientRect().width / chart.viewBox.baseVal.width;
        return [11 * scale, parseFloat(seen.getComputedStyle(note).fontSize)]"""
    drawn, note = measured(page, 1280, script, tmp_path)
    assert drawn == pytest.approx(note, abs=0.2)
    assert measured(page, 390, script, tmp_path)[0] > 10


def test_a_method_has_a_verdict_a_cost_and_a_link_to_each_of_its_cells(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("tinythinker is better") == 4
    assert text.count("2.67 × 10¹²") == 5
    assert re.findall(r'<a href="(cells/phase_1/[^"]+)">(\d)</a>', text) == [
        (f"cells/phase_1/seed-{seed}", str(seed)) for seed in SEEDS
    ]
    assert "chance 25.0%" in text
    assert 'data-label="2 chains">60.0%' in text


def test_a_cell_is_linked_by_its_report_as_soon_as_it_has_one(tmp_path: Path) -> None:
    grid, results = varied(tmp_path)
    odd = results.cells[0].model_copy(update={"run": "cells/a b#1/seed-0"})
    report = tmp_path / "cells" / "a b#1" / "seed-0" / "report.html"
    report.parent.mkdir(parents=True)
    report.touch()
    page = write_study_page(grid, StudyDirectory(tmp_path), results.model_copy(update={"cells": (odd,)}))
    assert '<a href="cells/a%20b%231/seed-0/report.html">' in page.read_text()


def test_a_study_of_a_setting_has_tables_for_every_value_and_no_id_twice(tmp_path: Path) -> None:
    grid, results = varied(tmp_path)
    text = write_study_page(grid, StudyDirectory(tmp_path), results).read_text()
    assert [value for value in ("10", "100", "1000") if f"<h2>storeroom.train = {value}</h2>" in text] == [
        "10",
        "100",
        "1000",
    ]
    labels = re.findall(r'aria-label="([^"]+)"', text)
    assert len(labels) == len(set(labels)) == 7
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
