from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.conftest import ask
from tinythinker.core.records import LABELS, Option, Question, Rationale


def test_a_question_takes_2_to_26_options() -> None:
    assert len(ask("s", *["t"] * 26).options) == 26
    with pytest.raises(ValidationError, match="number of options: found 1, expected 2 to 26"):
        ask("s", "only")
    options = tuple(Option(label=LABELS[i % 26], text="t") for i in range(27))
    with pytest.raises(ValidationError, match="number of options: found 27"):
        Question(id="q", stem="s", options=options, gold="A")


def test_a_gold_label_that_is_not_an_option_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"gold: found 'C', expected one of \('A', 'B'\)"):
        ask("s", "x", "y", gold="C")


def test_an_empty_question_is_refused() -> None:
    with pytest.raises(ValidationError, match="expected some text"):
        ask(" \n", "x", "y")


def test_repeated_labels_are_refused() -> None:
    with pytest.raises(ValidationError, match="distinct labels"):
        Question(id="q", stem="s", options=(Option(label="A", text="x"), Option(label="A", text="y")), gold="A")


def test_permuting_moves_options_gold_and_analyses_together() -> None:
    question = ask("s", "zero", "one", "two", gold="B")
    rationale = Rationale(question_id="q1", recall="r", analyses=("about zero", "about one", "about two"))
    order = [2, 0, 1]
    moved = question.permuted(order)
    assert [(option.label, option.text) for option in moved.options] == [("A", "two"), ("B", "zero"), ("C", "one")]
    assert moved.gold == "C"
    assert rationale.permuted(order).analyses == ("about two", "about zero", "about one")
