from __future__ import annotations

import pytest

from tests.conftest import ask
from tinythinker.core.records import Chain, Stage, Verdict
from tinythinker.evaluate.score import first_wrong_stage, judge, score, verdicts_name, way_of, wilson
from tinythinker.settings.schema import EvaluateSettings, StoreroomSettings
from tinythinker.tasks.storeroom import build_questions, build_storeroom


def test_the_wilson_interval_matches_values_worked_by_hand() -> None:
    # n = 10, 8 right, z = 1.959964: centre (0.8 + z²/20) / (1 + z²/10) = 0.716740,
    # half width z sqrt(0.016 + z²/400) / (1 + z²/10) = 0.226577.
    interval = wilson(8, 10)
    assert interval.low == pytest.approx(0.716740 - 0.226577, abs=1e-4)
    assert interval.high == pytest.approx(0.716740 + 0.226577, abs=1e-4)


@pytest.mark.parametrize("count", [0, 5])
def test_the_interval_stays_within_0_and_1(count: int) -> None:
    interval = wilson(count, 5)
    assert 0 <= interval.low <= interval.share <= interval.high <= 1


def answered(answer: str | None, tokens: int = 10, cut: int = 0) -> Verdict:
    chain = Chain(question_id="q1", conclusion="", answer=answer, count_tokens=tokens, count_cut=cut)
    return judge(ask("Where?", "up", "down", gold="B"), [chain])


def test_an_unreadable_answer_counts_as_wrong_and_as_unreadable() -> None:
    made = score([answered("B"), answered(None), answered("A"), answered("B", tokens=30, cut=2)])
    assert (made.accuracy, made.unreadable, made.n) == (0.5, 0.25, 4)
    assert (made.tokens_per_answer, made.cut) == (15.0, 0.25)
    assert made.recall_facts is None
    assert made.first_wrong == {}


SETTINGS = StoreroomSettings(things=4, containers=20, materials=2, options=3, train=4, valid=1, test=1)
WORLD = build_storeroom(SETTINGS, 0)
QUESTION = build_questions(WORLD, SETTINGS, 0)["train"][0]
THING = WORLD.thing(QUESTION)
TRUE_RECALL = WORLD.recalls(THING)[0]
FALSE_RECALL = WORLD.recalls(THING, next(p for p in WORLD.needs if p != WORLD.property_of[THING]))[0]
TRUE = [WORLD.analyses(THING, option.text)[0] for option in QUESTION.options]
WRONG_LABEL = next(label for label in QUESTION.labels if label != QUESTION.gold)


@pytest.mark.parametrize(
    ("recall", "analyses", "answer", "stage"),
    [
        (FALSE_RECALL, TRUE, WRONG_LABEL, Stage.RECALL),
        (TRUE_RECALL, ["it is soup.", *TRUE[1:]], WRONG_LABEL, Stage.ANALYZE),
        (TRUE_RECALL, TRUE, WRONG_LABEL, Stage.SUMMARIZE),
        (TRUE_RECALL, TRUE, None, Stage.SUMMARIZE),
        (FALSE_RECALL, TRUE, QUESTION.gold, None),
    ],
)
def test_a_wrong_answer_is_attributed_to_the_first_stage_that_went_wrong(
    recall: str, analyses: list[str], answer: str | None, stage: Stage | None
) -> None:
    chain = Chain(question_id=QUESTION.id, recall=recall, analyses=tuple(analyses), conclusion="", answer=answer)
    assert judge(QUESTION, [chain], WORLD).first_wrong_stage == stage


def test_an_answer_without_stages_before_it_has_no_first_wrong_one() -> None:
    chain = Chain(question_id=QUESTION.id, conclusion="", answer=WRONG_LABEL)
    verdict = judge(QUESTION, [chain], WORLD)
    assert verdict.first_wrong_stage is None
    older = verdict.model_copy(update={"first_wrong_stage": Stage.SUMMARIZE})  # as version 0.1 wrote it
    assert first_wrong_stage(older) is None
    assert score([older]).first_wrong == {}


@pytest.mark.parametrize(
    ("settings", "votes", "temperature", "plan"),
    [
        ({}, 1, None, None),
        ({"votes": 10, "temperature": 0.7}, 10, "0.7", None),
        ({"votes": 3, "temperature": 1e-5, "plan": "recall_summarize"}, 3, "1e-05", "recall_summarize"),
        ({"plan": "summarize", "split": "valid"}, 1, None, "summarize"),
    ],
)
def test_the_name_of_a_file_says_how_its_student_answered(
    settings: dict[str, object], votes: int, temperature: str | None, plan: str | None
) -> None:
    how = EvaluateSettings.model_validate(settings)
    assert way_of(verdicts_name("round-2", how)) == ("round-2", how.split, votes, temperature, plan)


def test_facts_are_counted_over_recalls_and_over_single_analyses() -> None:
    half = Chain(
        question_id=QUESTION.id, recall=FALSE_RECALL, analyses=("soup", *TRUE[1:]), conclusion="", answer=QUESTION.gold
    )
    made = score([judge(QUESTION, [half], WORLD)])
    assert made.recall_facts == 0.0
    assert made.analyze_facts == pytest.approx(2 / 3)


def test_votes_of_every_size_come_from_the_same_chains() -> None:
    question = ask("Where?", "up", "down", gold="B")
    chains = [
        Chain(question_id="q1", sample=i, conclusion="", answer=answer)
        for i, answer in enumerate(["A", "B", "B", None])
    ]
    curve = score([judge(question, chains), judge(question, chains[::-1])]).votes
    # First question: A, then a tie that A wins, then B, B; second: unreadable, B, B, B.
    assert [own.share for own in curve] == [0.0, 0.5, 1.0, 1.0]
    assert score([judge(question, chains[:1])]).votes == ()
