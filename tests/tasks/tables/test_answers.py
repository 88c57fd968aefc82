from __future__ import annotations

from typing import Any

import pytest

from tinythinker.core.errors import DataError
from tinythinker.tasks.tables.answers import Answer, settle

WORDS = ("sparrow", "penguin", "owl", "a hammer")


def answer(said: Any, *texts: str, names: tuple[str, ...] = (), columns: tuple[str, ...] = ()) -> Answer:
    return Answer("mine.csv:2, answer", said, texts or WORDS, names, columns)


def meant(*answers: Answer, base: int | None = None) -> list[int | None]:
    """Positions, None for an answer that is refused."""
    return [None if isinstance(one, DataError) else one for one in settle(answers, base).positions]


@pytest.mark.parametrize(
    "said",
    [
        *(
            "B",
            "b",
            "(B)",
            "(b)",
            "[B]",
            "B.",
            "B)",
            " B ",
            "B:",
            "(B).",
            "Answer: B",
            "answer b",
            "option B",
            "Choice (B)",
        ),
        *("The correct answer is B", "penguin", " Penguin ", "PENGUIN", "(B) penguin", "B. penguin", "B) Penguin"),
        *("Answer: penguin", ["B"]),
    ],
)
def test_an_answer_is_a_label_in_any_dress_or_a_text(said: Any) -> None:
    assert meant(answer(said)) == [1]


@pytest.mark.parametrize("said", ["E", "(B) owl", "B, C", "B C", ["A", "B"], "", "peng", "-1", "BB", {"a": 1}, 1.5])
def test_an_answer_that_means_no_option_or_several_is_refused(said: Any) -> None:
    assert meant(answer(said)) == [None]


def test_a_text_that_begins_with_a_letter_is_no_label() -> None:
    assert meant(answer("a hammer")) == [3]


def test_a_label_that_is_another_options_text_is_refused() -> None:
    assert meant(answer("A", "B", "A")) == [None]
    assert meant(answer("A", "A", "B")) == [0]


def test_equal_texts_can_only_be_told_by_their_labels() -> None:
    assert meant(answer("mode", "mean", "mode", "mode"), answer("B", "mean", "mode", "mode")) == [None, 1]


def test_capitals_count_where_options_differ_by_nothing_else() -> None:
    assert meant(answer("us", "US", "us")) == [1]
    assert meant(answer("Us", "US", "us")) == [None]


@pytest.mark.parametrize(
    ("said", "texts", "position"),
    [
        (True, ("yes", "no"), 0),
        (False, ("No", "Yes"), 0),
        ("TRUE", ("yes", "no"), 0),
        ("no", ("true", "false"), 1),
        ("F", ("true", "false"), 1),
        (True, ("yes", "no", "maybe"), 0),
        (True, WORDS, None),
        (True, ("yes", "true"), None),
    ],
)
def test_a_truth_value_is_the_option_that_affirms_or_denies(said: Any, texts: tuple[str, ...], position: int) -> None:
    assert meant(answer(said, *texts)) == [position]


def test_numbers_are_refused_until_their_base_is_known() -> None:
    assert meant(answer("2"), answer(1)) == [None, None]
    assert meant(answer("2"), answer(1), base=0) == [2, 1]
    assert meant(answer("2"), answer(1), base=1) == [1, 0]
    assert meant(answer(4), base=0) == [None]


def test_the_file_may_decide_the_base_and_then_it_is_said() -> None:
    settled = settle([answer("2"), answer("4")], None)
    assert (settled.positions, settled.way) == ((1, 3), "1")
    assert settled.because == "mine.csv:2, answer is 4 of 4 options"
    settled = settle([answer(2), answer(0.0)], None)
    assert (settled.positions, settled.way, settled.because) == ((2, 0), "0", "mine.csv:2, answer is 0.0 of 4 options")


def test_numbers_that_count_from_0_and_from_1_in_one_file_are_refused() -> None:
    assert meant(answer(0), answer(4), answer(2)) == [None, None, None]


def test_a_number_that_is_a_text_and_could_be_a_position_is_left_to_the_other_rows() -> None:
    odd = answer("2", "1", "2", "3")
    assert meant(odd) == [None]
    assert meant(odd, answer("40", "30", "40")) == [1, 1]  # texts in both rows, no positions
    assert meant(odd, answer("0")) == [2, 0]  # positions from 0 in both rows, no texts
    assert meant(odd, base=0) == [2]


def test_numbers_that_are_labels_are_labels() -> None:
    assert meant(answer("2", "x", "y", "z", names=("1", "2", "3"))) == [1]
    assert meant(answer("(2)", "x", "y", "z", names=("1", "2", "3"))) == [1]
    assert meant(answer("B", "x", "y", "z", names=("1", "2", "3"))) == [1]
    # An index beside them would not be a text.
    assert meant(answer(2, "x", "y", "z", names=("1", "2", "3"))) == [None]


def test_the_files_own_labels_come_before_the_order() -> None:
    assert meant(answer("A", "x", "y", names=("B", "A"))) == [1]
    assert meant(answer("C", "x", "y", names=("B", "A"))) == [None]


def test_an_answer_may_name_a_column() -> None:
    assert meant(answer("Option 2", "x", "y", columns=("option_1", "option_2"))) == [1]


def test_a_number_beside_yes_and_no_may_be_a_truth_value_and_is_refused() -> None:
    assert meant(answer(1, "yes", "no"), answer(0, "yes", "no")) == [None, None]
    assert meant(answer(1, "no", "yes"), answer(0, "no", "yes")) == [1, 0]
