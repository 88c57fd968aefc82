from __future__ import annotations

from tests.conftest import ask
from tinythinker.evaluate.guessing import guessing, majority_answers


def test_guessing_matches_values_worked_by_hand() -> None:
    two, four = ask("?", "a", "b", gold="B"), ask("?", "a", "b", "c", "d", gold="A")
    train = [ask("?", "a", "b", gold=gold) for gold in "BBA"]
    found = guessing([two, four], train)
    assert found.chance == (1 / 2 + 1 / 4) / 2
    assert found.majority == 1 / 2  # always B


def test_a_label_that_a_question_lacks_is_not_guessed() -> None:
    train = [ask("?", "a", "b", "c", gold=gold) for gold in "CCB"]
    assert majority_answers([ask("?", "a", "b")], train) == ["B"]
