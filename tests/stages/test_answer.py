from __future__ import annotations

import pytest

from tinythinker.stages.answer import parse_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So the answer is option B.", "B"),
        ("so The Answer Is Option A", "A"),
        ("So the answer is option C.", None),
        ("So the answer is option b.", None),
        ("So the answer is option BA.", None),
        ("The answer is B.", None),
        ("", None),
    ],
)
def test_an_answer_is_read_or_unreadable_but_never_guessed(text: str, answer: str | None) -> None:
    assert parse_answer(text, ("A", "B")) == answer
