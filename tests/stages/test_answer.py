from __future__ import annotations

import pytest

from tinythinker.core.records import Option
from tinythinker.stages.answer import conclusion, parse_answer

TWO = (Option(label="A", text="river"), Option(label="B", text="the bank"))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So the answer is option B.", "B"),
        ("so The Answer Is Option A", "A"),
        ("So the answer is option C.", None),
        ("So the answer is option b.", None),
        ("So the answer is option BA.", None),
        ("The answer is B.", "B"),
        ("Answer: (B)", "B"),
        ("answer is: B: the bank", "B"),
        ("So the answer is option B (the bank).", "B"),
        ("(B) the bank", "B"),
        ("B. The bank", "B"),
        ("option B", "B"),
        ("B", "B"),
        ("The bank.", "B"),
        ("So the answer is: the bank", "B"),
        ("So the answer is option B (river).", None),
        ("A: the bank", None),
        ("The answer is A or B.", None),
        ("The answer is A, B.", None),
        ("The answer is a river bank.", None),
        ("A river and the bank", None),
        ("", None),
    ],
)
def test_an_answer_is_read_or_unreadable_but_never_guessed(text: str, answer: str | None) -> None:
    assert parse_answer(text, TWO) == answer


def test_every_form_of_an_answer_is_read_back() -> None:
    for form in ("letter", "named", "text"):
        for option in TWO:
            assert parse_answer(conclusion(option, form), TWO) == option.label


def test_a_text_that_two_options_have_is_unreadable_without_its_letter() -> None:
    twins = (*TWO, Option(label="C", text="River"))
    assert parse_answer("river", twins) is None
    assert parse_answer("So the answer is option C (River).", twins) == "C"
