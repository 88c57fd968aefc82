from __future__ import annotations

import pytest

from tinythinker.core.errors import SettingsError
from tinythinker.settings.schema import StoreroomSettings
from tinythinker.tasks.storeroom import build_questions, build_storeroom

SETTINGS = StoreroomSettings(things=8, containers=30, materials=3, options=4, train=60, valid=10, test=20)
WORLD = build_storeroom(SETTINGS, 1)
QUESTIONS = build_questions(WORLD, SETTINGS, 1)


def test_the_same_seed_makes_the_same_world_and_another_seed_another() -> None:
    assert build_storeroom(SETTINGS, 1) == WORLD
    assert build_questions(WORLD, SETTINGS, 1) == QUESTIONS
    assert build_storeroom(SETTINGS, 2) != WORLD


def test_exactly_one_option_is_made_of_the_needed_material() -> None:
    for questions in QUESTIONS.values():
        for question in questions:
            needed = WORLD.needs[WORLD.property_of[WORLD.thing(question)]]
            fitting = [option.label for option in question.options if WORLD.material_of[option.text] == needed]
            assert fitting == [question.gold]


def test_no_pair_of_thing_and_container_occurs_in_two_splits() -> None:
    pairs = {
        split: {(WORLD.thing(question), option.text) for question in questions for option in question.options}
        for split, questions in QUESTIONS.items()
    }
    assert not pairs["train"] & pairs["test"]
    assert not pairs["train"] & pairs["valid"]
    assert not pairs["valid"] & pairs["test"]


def test_every_thing_and_container_of_the_test_split_occurs_in_training() -> None:
    words = {
        split: {
            word
            for question in QUESTIONS[split]
            for word in (WORLD.thing(question), *(o.text for o in question.options))
        }
        for split in ("train", "test")
    }
    assert words["test"] <= words["train"]


def test_questions_are_all_different_and_gold_takes_every_position() -> None:
    train = QUESTIONS["train"]
    assert len({question.id for question in train}) == len(train) == 60
    assert len({(q.stem, frozenset(o.text for o in q.options)) for q in train}) == 60
    assert {question.gold for question in train} == set("ABCD")


def test_the_annotated_share_is_a_share_of_the_things() -> None:
    assert len(build_storeroom(SETTINGS.model_copy(update={"annotated": 0.5}), 1).annotated) == 4
    assert build_storeroom(SETTINGS.model_copy(update={"annotated": 1.0}), 1).annotated == set(WORLD.property_of)


def test_facts_are_judged_by_truth_and_not_by_wording() -> None:
    question = QUESTIONS["test"][0]
    thing = WORLD.thing(question)
    assert all(WORLD.recall_is_fact(question, recall) for recall in WORLD.recalls(thing))
    wrong = next(prop for prop in WORLD.needs if prop != WORLD.property_of[thing])
    assert not any(WORLD.recall_is_fact(question, recall) for recall in WORLD.recalls(thing, wrong))
    for option in question.options:
        said = WORLD.analyses(thing, option.text)
        assert all(WORLD.analysis_is_fact(question, option.label, analysis) for analysis in said)
        other = next(label for label in question.labels if WORLD.analyses(thing, _text(question, label)) != said)
        assert not WORLD.analysis_is_fact(question, other, said[0])


def _text(question: object, label: str) -> str:
    from tinythinker.core.records import Question

    assert isinstance(question, Question)
    return question.text_of(label)


def test_too_few_containers_are_refused_with_what_to_change() -> None:
    small = StoreroomSettings(things=4, containers=8, materials=4, options=4)
    with pytest.raises(SettingsError, match=r"storeroom\.containers .*found 8, expected more"):
        build_questions(build_storeroom(small, 0), small, 0)


def test_more_questions_than_there_are_combinations_are_refused() -> None:
    small = StoreroomSettings(things=2, containers=10, materials=2, options=2, train=9999, valid=1, test=1)
    with pytest.raises(SettingsError, match=r"storeroom\.train: found 9999, expected at most"):
        build_questions(build_storeroom(small, 0), small, 0)


def test_hops_lead_from_a_thing_over_kinds_to_its_property_and_change_no_question() -> None:
    for hops in (1, 2, 3):
        world = build_storeroom(SETTINGS.model_copy(update={"hops": hops}), 1)
        assert world.property_of == WORLD.property_of
        assert {len(kinds) for kinds in world.kinds_of.values()} == {hops - 1}
        assert build_questions(world, SETTINGS, 1) == QUESTIONS
    by_kind: dict[str, set[str]] = {}
    for thing, (nearest, broad) in world.kinds_of.items():
        by_kind.setdefault(nearest, set()).add(broad)
        by_kind.setdefault(broad, set()).add(world.property_of[thing])
    assert all(len(follows) == 1 for follows in by_kind.values())
    names = [*world.property_of, *world.material_of, *by_kind]
    assert len(names) == len(set(names))


def test_a_recall_of_two_hops_reads_naturally() -> None:
    world = build_storeroom(SETTINGS.model_copy(update={"hops": 2}), 1)
    thing = next(iter(world.property_of))
    kind, prop = world.kinds_of[thing][0], world.property_of[thing]
    needed = world.needs[prop]
    assert world.recalls(thing) == [
        f"it is a {kind}, so {prop} and needs {needed}.",
        f"being a {kind}, so {prop}, it needs {needed}.",
    ]
