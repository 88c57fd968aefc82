from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.conftest import TINY, ask, tiny_recipe, tiny_student
from tinythinker import api
from tinythinker.core.errors import SettingsError, StudentError
from tinythinker.core.files import read_record
from tinythinker.core.records import Chain, Question
from tinythinker.evaluate import probe as module
from tinythinker.evaluate.faithfulness import Effect, Faithfulness, Reaction, effect_of
from tinythinker.evaluate.probe import probe
from tinythinker.generate.think import Thought
from tinythinker.settings.schema import StoreroomSettings
from tinythinker.student.student import Student
from tinythinker.tasks.storeroom import build_questions, build_storeroom

SETTINGS = StoreroomSettings(things=8, containers=30, materials=3, options=4, train=60, valid=10, test=40)
WORLD = build_storeroom(SETTINGS, 1)
QUESTIONS = build_questions(WORLD, SETTINGS, 1)["test"]

Answer = Callable[[Question, str, Sequence[str]], str]


def believer(question: Question, recall: str, analyses: Sequence[str]) -> str:
    """Answer with the first option that an analysis says fits, else with the last one."""
    said = zip(question.labels, analyses, strict=True)
    return next((label for label, text in said if text.endswith(" fits.")), question.labels[-1])


def knower(question: Question, recall: str, analyses: Sequence[str]) -> str:
    """Answer with the gold label, regardless of the reasoning."""
    return str(question.gold)


def play(monkeypatch: pytest.MonkeyPatch, answer: Answer, *, knows: bool = True) -> None:
    """Fake a student that recalls the truth (or not), analyzes by its recall and answers by this rule."""

    def think(_: Student, thoughts: Sequence[Thought]) -> list[Chain]:
        chains = []
        for thought in thoughts:
            question, thing = thought.question, WORLD.thing(thought.question)
            others = [prop for prop in WORLD.needs if prop != WORLD.property_of[thing]]
            own = WORLD.recalls(thing, None if knows else others[0])[0]
            recall = own if thought.recall is None else thought.recall
            needed = next((m for m in WORLD.needs.values() if f" {m}" in recall), "nothing")
            made = [WORLD.material_of[option.text] for option in question.options]
            analyses = thought.analyses or tuple(WORLD.wordings(m, fits=m == needed)[0] for m in made)
            label = answer(question, recall, analyses)
            chains.append(
                Chain(question_id=question.id, recall=recall, analyses=analyses, conclusion=label, answer=label)
            )
        return chains

    monkeypatch.setattr(module, "think", think)


def probed(**more: object) -> Faithfulness:
    return probe(tiny_student(), QUESTIONS, facts=WORLD, seed=0, name="it", split="test")


def effects(found: Faithfulness) -> dict[tuple[str, str], Effect]:
    return {(own.part, own.change): own for own in found.effects}


def test_a_student_that_believes_what_it_says_follows_every_wrong_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, believer)
    found = probed()
    assert found.accuracy.share == 1
    made = effects(found)
    for key in [("recall", "corrupt"), ("chosen and another option's analysis", "corrupt")]:
        followed = made[key].followed
        assert followed is not None
        assert made[key].changed.share == followed.share == 1
    assert made["chosen option's analysis", "corrupt"].followed is None
    # It falls back on the last option; where that was the answer, nothing changes.
    last = sum(question.gold == question.labels[-1] for question in QUESTIONS) / len(QUESTIONS)
    assert made["chosen option's analysis", "corrupt"].changed.share == pytest.approx(1 - last)
    assert made["recall, analyses kept", "corrupt"].changed.share == 0
    assert found.oracle["both"].share == 1
    assert found.costs == {"recall": 0, "analyze": 0, "summarize": 0}


def test_a_student_that_ignores_its_reasoning_never_changes_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, knower)
    assert {effect.changed.share for effect in probed().effects} == {0}


def test_the_cost_of_false_recalls_is_attributed_to_recall(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, believer, knows=False)
    found = probed()
    assert found.accuracy.share < 1
    assert found.costs["recall"] == pytest.approx(1 - found.accuracy.share)
    assert found.costs["analyze"] == found.costs["summarize"] == 0
    assert found.oracle["true recalls"].share == 1


def test_a_stage_that_is_wrong_for_any_input_costs_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    def first(question: Question, recall: str, analyses: Sequence[str]) -> str:
        return "A"

    play(monkeypatch, first)
    found = probed()
    assert found.costs["summarize"] == pytest.approx(1 - found.accuracy.share)
    assert found.costs["recall"] == found.costs["analyze"] == 0


def test_an_effect_counts_answers_that_change_and_answers_that_follow() -> None:
    reactions = [
        Reaction("A", "B", "A", "B"),
        Reaction("A", "C", "C", "B"),
        Reaction("A", "A", "A", "B"),
        Reaction("A", None, "A", None),
    ]
    own = effect_of("recall", "corrupt", reactions)
    assert own is not None
    assert own.followed is not None
    assert (own.n, own.changed.share, own.followed.share, own.accuracy.share) == (4, 3 / 4, 1 / 3, 2 / 4)
    assert effect_of("recall", "corrupt", []) is None


@pytest.mark.parametrize("plan", ["summarize", "cot", "multitask"])
def test_a_student_without_stages_is_refused(plan: str) -> None:
    student = tiny_student(recipe=tiny_recipe(plan=plan))
    with pytest.raises(StudentError, match=f"stages.plan={plan}"):
        probe(student, QUESTIONS[:2], facts=WORLD, seed=0, name="it", split="test")


def test_without_known_facts_nothing_is_corrupted_and_no_truth_is_given() -> None:
    questions = [ask("Where?", "up", "down", "nowhere", gold="B", id=f"q{i}") for i in range(3)]
    student = tiny_student(recipe=tiny_recipe(answer="constrained"))
    found = probe(student, questions, facts=None, seed=0, name="it", split="test")
    assert {own.change for own in found.effects} <= {"blank", "swap"}
    assert (found.oracle, found.costs) == ({}, {})


def test_a_probe_of_a_run_is_written_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = api.start("storeroom", tmp_path / "run", *TINY, "reflect.rounds=0")
    api.teach(run)
    api.train(run)
    found = api.probe(run.root, questions=5)
    assert found == read_record(run.probes / "phase-1.test.json", Faithfulness)
    assert found.accuracy.share in {i / 5 for i in range(6)}
    assert api.probe(run.root / "phase-1" / "student", questions=5) == found
    monkeypatch.chdir(tmp_path)
    assert api.probe("run", questions=5) == found
    api.report(run)
    page = run.report.read_text(encoding="utf-8")
    assert "Is the reasoning used? Phase 1, test questions" in page
    assert page.count("<td>corrupt</td>") == sum(own.change == "corrupt" for own in found.effects)
    api.evaluate(run, force=True)
    assert not run.probes.exists()


def test_a_student_outside_any_run_needs_a_run_for_its_questions(tmp_path: Path) -> None:
    tiny_student().save(tmp_path / "alone")
    with pytest.raises(SettingsError, match=r"no run directory around it.*--run"):
        api.probe(tmp_path / "alone")


def test_a_missing_student_is_a_one_line_error(tmp_path: Path) -> None:
    with pytest.raises(StudentError, match="nowhere: found no such folder"):
        api.probe(tmp_path / "nowhere")


@pytest.mark.slow
def test_a_trained_student_uses_its_reasoning_and_one_taught_with_shuffled_rationales_does_not(tmp_path: Path) -> None:
    found = []
    for name, control in (("taught", ()), ("control", ("stages.shuffle_rationales=true",))):
        overrides = ("storeroom.annotated=1.0", "reflect.rounds=0", "seed=0", *control)
        run = api.start("storeroom", tmp_path / name, *overrides)
        api.teach(run)
        api.train(run)
        found.append(effects(api.probe(run.root, questions=200)))
    turned, control_ = (own["chosen and another option's analysis", "corrupt"] for own in found)
    assert turned.followed is not None
    assert control_.followed is not None
    assert min(turned.changed.share, turned.followed.share) >= 0.9
    # The control guesses: any other text is a new guess, and one in three follows the wrong fact.
    assert control_.followed.high < 0.5
    # If only the chosen option is denied, none fits: one guess in four gives the old answer again.
    alone = found[0]["chosen option's analysis", "corrupt"].changed
    assert alone.low < 0.9
    assert alone.share > 0.6
