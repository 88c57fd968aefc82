from __future__ import annotations

import pytest

from tinythinker.core.records import Rationale, Rejected
from tinythinker.settings.schema import StoreroomSettings
from tinythinker.tasks.storeroom import build_questions, build_storeroom
from tinythinker.teacher.scripted import scripted_rationales

SETTINGS = StoreroomSettings(
    things=10, containers=30, materials=3, options=4, train=400, valid=1, test=1, annotated=0.6
)
WORLD = build_storeroom(SETTINGS, 0)
TRAIN = {question.id: question for question in build_questions(WORLD, SETTINGS, 0)["train"]}


def taught(**settings: float) -> list[Rationale | Rejected]:
    return list(scripted_rationales(WORLD, TRAIN.values(), SETTINGS.model_copy(update=settings), 0))


def is_true(rationale: Rationale) -> bool:
    question = TRAIN[rationale.question_id]
    said = zip(question.labels, rationale.analyses, strict=True)
    return WORLD.recall_is_fact(question, rationale.recall) and all(
        WORLD.analysis_is_fact(question, label, analysis) for label, analysis in said
    )


def test_every_question_about_an_annotated_thing_gets_one_true_rationale_and_no_other() -> None:
    made = taught()
    wanted = [question.id for question in TRAIN.values() if WORLD.thing(question) in WORLD.annotated]
    assert [rationale.question_id for rationale in made] == wanted
    assert all(isinstance(rationale, Rationale) and is_true(rationale) for rationale in made)


def test_facts_have_several_wordings() -> None:
    assert len({r.recall for r in taught() if isinstance(r, Rationale)}) > len(WORLD.needs)


def test_the_same_seed_gives_the_same_rationales() -> None:
    assert taught(wrong=0.3, malformed=0.1) == taught(wrong=0.3, malformed=0.1)


def test_a_share_of_rationales_is_wrong_yet_defends_the_gold_label() -> None:
    made = taught(wrong=0.25)
    wrong = [r for r in made if isinstance(r, Rationale) and not is_true(r)]
    assert len(wrong) / len(made) == pytest.approx(0.25, abs=0.07)
    for rationale in wrong:
        question = TRAIN[rationale.question_id]
        assert not WORLD.recall_is_fact(question, rationale.recall)
        fitting = [
            label for label, text in zip(question.labels, rationale.analyses, strict=True) if "not fit" not in text
        ]
        assert fitting == [question.gold]


def test_a_share_of_completions_is_malformed_and_rejected() -> None:
    made = taught(malformed=0.2)
    assert sum(isinstance(r, Rejected) for r in made) / len(made) == pytest.approx(0.2, abs=0.07)


def test_more_rationales_per_question_extend_the_first_ones() -> None:
    one = taught()
    three = taught(rationales=3)
    assert len(three) == 3 * len(one)
    assert three[::3] == one
    assert three[1::3] != one
