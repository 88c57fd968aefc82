from __future__ import annotations

import re

import pytest

from tests.report.contrast import contrast
from tinythinker.report.cards import Cards, Link
from tinythinker.report.html import render

PAGE = render("report/frame.jinja")
COLOURS = dict(re.findall(r"--([\w-]+): (#\w{6});", PAGE))


@pytest.mark.parametrize(
    ("text", "ground"),
    [
        *(("ink", ground) for ground in ("page", "card", "right-bg", "wrong-bg")),
        *(("soft", ground) for ground in ("page", "card", "right-bg", "wrong-bg")),
        *(("link", ground) for ground in ("page", "card")),
        *((mark, ground) for mark in ("right", "wrong") for ground in ("page", "card")),
    ],
)
def test_every_text_can_be_read(text: str, ground: str) -> None:
    assert contrast(COLOURS[text], COLOURS[ground]) >= 4.5


@pytest.mark.parametrize(
    ("edge", "ground"), [("edge", "page"), ("right", "right-bg"), ("wrong", "wrong-bg"), ("link", "page")]
)
def test_every_edge_that_says_something_stands_out(edge: str, ground: str) -> None:
    assert contrast(COLOURS[edge], COLOURS[ground]) >= 3


def test_colours_are_named_once() -> None:
    used = re.findall(r"#[0-9a-fA-F]{3,8}\b", PAGE.split("</style>")[0].split("}", 1)[1])
    assert used == []


def drawn(table: Cards) -> str:
    page = "{% import 'report/parts.jinja' as parts %}{{ parts.table(own) }}"
    from jinja2 import Environment, PackageLoader

    return Environment(loader=PackageLoader("tinythinker", "."), autoescape=True).from_string(page).render(own=table)


TABLE = Cards(
    "Results",
    ("student", "accuracy", "seed"),
    (("phase 1", "50.0%", [Link("0", "cells/a%20b/report.html")]), ("round <1>", "rolled back"), ("round 2", "", "1")),
)


def test_a_cell_knows_its_column_for_the_card_of_a_narrow_screen() -> None:
    page = drawn(TABLE)
    assert '<td role="cell" data-label="accuracy">50.0%</td>' in page
    assert '<td role="cell" data-label="accuracy" class="empty"></td>' in page
    assert re.search(r'data-label="seed">\s*<span><a href="cells/a%20b/report.html">0</a></span>', page)


def test_the_last_cell_of_a_short_row_fills_it() -> None:
    assert '<td role="cell" class="note" colspan="2">rolled back</td>' in drawn(TABLE)


def test_texts_of_a_table_are_escaped() -> None:
    assert "round &lt;1&gt;" in drawn(TABLE)
