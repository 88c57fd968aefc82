from __future__ import annotations

from tests.conftest import ask
from tinythinker.core.records import Rationale
from tinythinker.reflect.sample import Continued, Explained, Recalled

ONE, TWO = ask("Where?", "up", "down", id="q1"), ask("When?", "now", "then", id="q2")


def test_thoughts_on_one_question_are_numbered_across_all_its_recalls() -> None:
    thoughts = Continued([ONE, TWO], [Recalled(0, "a."), Recalled(0, "b."), Recalled(1, None)], 2)
    assert [(one.question.id, one.sample, one.recall) for one in thoughts] == [
        ("q1", 0, "a."), ("q1", 1, "a."), ("q1", 2, "b."), ("q1", 3, "b."), ("q2", 0, None), ("q2", 1, None),
    ]  # fmt: skip


def test_the_rationales_of_a_question_are_found_in_their_order() -> None:
    told = [
        Rationale(question_id=id_, recall=recall, analyses=())
        for id_, recall in (("q2", "x"), ("q1", "y"), ("q2", "z"))
    ]
    explained = Explained(told)
    assert [rationale.recall for rationale in explained.of(TWO)] == ["x", "z"]
    assert not explained.of(ask("Why?", "so", "thus", id="q3"))
