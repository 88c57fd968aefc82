from __future__ import annotations

import pytest

from tinythinker.evaluate.score import way_of
from tinythinker.report.tested import called


@pytest.mark.parametrize(
    ("name", "others", "said"),
    [
        ("phase-1.test.greedy", [], "phase 1"),
        ("round-2.test.vote-10-at-0.7", ["round-2.test.greedy"], "round 2, 10 votes"),
        ("round-2.test.vote-10-at-0.7", ["round-2.test.vote-10-at-1"], "round 2, 10 votes at 0.7"),
        ("round-2.test.vote-10-at-0.7", ["round-2.test.vote-5-at-1"], "round 2, 10 votes"),
        ("round-1.test.greedy.recall_summarize", [], "round 1, recall and summarize only"),
        ("round-1.valid.greedy", ["round-1.test.greedy"], "round 1, validation questions"),
    ],
)
def test_a_student_is_called_what_tells_it_apart(name: str, others: list[str], said: str) -> None:
    ways = [way_of(one) for one in (name, *others)]
    assert called(ways[0], ways) == said


def test_a_student_of_a_run_inside_the_run_is_called_after_that_run() -> None:
    way = way_of("phase-1.test.greedy")
    assert called(way, [way], prefix="label-only", is_alone=True) == "label-only"
    assert called(way, [way], prefix="label-only", is_alone=False) == "label-only phase 1"
