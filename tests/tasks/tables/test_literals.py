from __future__ import annotations

import pytest

from tinythinker.core.errors import DataError
from tinythinker.tasks.tables.literals import parse_cell


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ('["a", 1, true, null]', ["a", 1, True, None]),
        ("['a', \"it's\", 2.5, -1, True, None]", ["a", "it's", 2.5, -1, True, None]),
        ("('a', 'b')", ["a", "b"]),
        (" {'A': 'x', 'B': 'y'} ", {"A": "x", "B": "y"}),
        ("{'label': ['A'], 'text': ['\\\\d']}", {"label": ["A"], "text": ["\\d"]}),
        ("{1: 'x', 2: 'y'}", {"1": "x", "2": "y"}),
    ],
)
def test_a_cell_holds_json_or_a_python_list_or_mapping(cell: str, value: object) -> None:
    assert parse_cell(cell, "mine.csv:2, options") == value


@pytest.mark.parametrize(
    "cell",
    [
        "['a' 'b']",  # as NumPy prints; Python would join the two
        "['a'\n 'b']",
        "{'A': 'x', 'A': 'y'}",
        '{"A": "x", "A": "y"}',
        "[__import__('os').system('exit 7')]",
        "[f'{1}']",
        "[b'a']",
        "[...]",
        "['a'] * 9999999",
        "array(['a', 'b'], dtype=object)",
        "a, b",
        "[" * 5000,
        "['a', ",
        "'a'",
    ],
)
def test_anything_else_is_refused_and_never_run(cell: str) -> None:
    with pytest.raises(
        DataError, match=r"^mine\.csv:2, options: found .* expected a JSON list or mapping, or a Python"
    ):
        parse_cell(cell, "mine.csv:2, options")
