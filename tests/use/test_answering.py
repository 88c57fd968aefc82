from __future__ import annotations

import pytest

from tests.conftest import ask, tiny_recipe, tiny_student
from tinythinker.core.errors import DataError
from tinythinker.generate.think import Thought, think
from tinythinker.use.answering import LoadedStudent
from tinythinker.use.questions import Posed, SoFar


@pytest.fixture(params=["seq2seq", "causal"])
def student(request: pytest.FixtureRequest) -> LoadedStudent:
    """A student of either family, in evaluation mode as after loading."""
    made = tiny_student(recipe=tiny_recipe(answer="constrained"), family=request.param)
    made.model.eval()
    return LoadedStudent.of(made)


def test_a_loaded_student_answers_as_it_thinks(student: LoadedStudent) -> None:
    made = student.answer("Where does rain go?", ["up", "down"])
    (chain,) = think(student, [Thought(ask("Where does rain go?", "up", "down", gold=None))], score=True)
    assert (made.recall, made.analyses, made.answer) == (chain.recall, chain.analyses, chain.answer)
    assert made.probabilities is not None
    assert sum(made.probabilities.values()) == pytest.approx(1, abs=2e-6)
    assert max(made.probabilities, key=made.probabilities.__getitem__) == made.answer


def test_many_questions_are_answered_in_order_whatever_their_number_of_options(student: LoadedStudent) -> None:
    asked = [("Where?", ["up", "down", "nowhere"]), ("Where does rain go?", ["up", "down"])] * 40
    made = student.answer_all(asked)
    assert [(one.id, len(one.analyses)) for one in made[:2]] == [("asked-1", 3), ("asked-2", 2)]
    assert len(made) == 80
    assert made[79].model_copy(update={"id": "asked"}) == student.answer(*asked[1])


def test_the_answer_goes_on_from_a_given_recall_and_given_analyses(student: LoadedStudent) -> None:
    given = student.answer("Where?", ["up", "down"], recall="rain falls.", analyses=["no.", "it does."])
    assert (given.recall, given.analyses) == ("rain falls.", ("no.", "it does."))
    with pytest.raises(DataError, match="recall: found none with given analyses"):
        student.answer("Where?", ["up", "down"], analyses=["no.", "yes."])


def test_every_question_of_a_batch_is_told_of_after_each_stage(student: LoadedStudent) -> None:
    heard: list[tuple[int, SoFar]] = []
    asked = [Posed(ask("Where?", "up", "down")), Posed(ask("When?", "now", "then"))]
    made = student.answer_together(asked, lambda place, so_far: heard.append((place, so_far)))
    assert [place for place, _ in heard] == [0, 1, 0, 1]
    assert heard[1][1] == SoFar(made[1].recall, None)
    assert heard[3][1] == SoFar(made[1].recall, made[1].analyses)


def test_a_student_that_writes_one_text_has_no_probabilities() -> None:
    made = LoadedStudent.of(tiny_student(recipe=tiny_recipe(plan="cot"))).answer("Where?", ["up", "down"])
    assert made.probabilities is None
    assert made.reasoning is not None


def test_a_student_that_writes_one_text_has_probabilities_if_its_answer_is_constrained() -> None:
    recipe = tiny_recipe(plan="cot", answer="constrained")
    made = LoadedStudent.of(tiny_student(recipe=recipe)).answer("Where?", ["up", "down"])
    assert made.probabilities is not None
    assert max(made.probabilities, key=made.probabilities.__getitem__) == made.answer
    assert made.reasoning is not None
