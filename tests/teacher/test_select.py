from __future__ import annotations

import pytest

from tests.teacher.conftest import llm_settings, some_questions
from tinythinker.core.records import Flaw, Rationale, Rejected
from tinythinker.settings.resolve import load_settings
from tinythinker.settings.schema import TeacherSettings
from tinythinker.teacher.select import names, select_rationales

QUESTIONS = some_questions(2)


def settings(*overrides: str) -> TeacherSettings:
    return llm_settings("http://127.0.0.1:9/v1", "teacher.llm.samples=8", *overrides).teacher


def said(recall: str, label: str | None = "A", question: str = "q0") -> Rationale:
    return Rationale(question_id=question, recall=recall, analyses=("because.", "because."), label=label)


FAR = ("Rain falls from the clouds.", "Money is kept in a safe.", "Bread is made of flour.")


def test_rationales_that_argue_against_the_gold_label_are_dropped_by_default() -> None:
    chosen = select_rationales([said(FAR[0], "B"), said(FAR[1], "B"), said(FAR[2], "A")], QUESTIONS, settings(), seed=0)
    assert [own.recall for own in chosen.rationales] == [FAR[2]]
    assert [own.flaw for own in chosen.rejected] == [Flaw.DISAGREES] * 2
    assert chosen.rejected[0].reason == "calls B correct, should argue for A"
    assert chosen.votes == {"q0": {"B": 2, "A": 1}}
    assert chosen.relabelled == {}


def test_the_teachers_majority_may_replace_the_gold_label() -> None:
    answers = [said(FAR[0], "B"), said(FAR[1], "B"), said(FAR[2], "A")]
    chosen = select_rationales(answers, QUESTIONS, settings("teacher.label_policy=teacher"), seed=0)
    assert [own.recall for own in chosen.rationales] == list(FAR[:2])
    assert chosen.relabelled == {"q0": "B"}


def test_near_duplicates_of_a_kept_rationale_are_dropped() -> None:
    # "falls" -> "drops" are 5 edits, "from the clouds" -> "on all" are more than 10
    recalls = ("Rain falls from the clouds.", "Rain drops from the clouds.", "Rain falls on all.")
    chosen = select_rationales([said(recall) for recall in recalls], QUESTIONS, settings(), seed=0)
    assert [own.recall for own in chosen.rationales] == [recalls[0], recalls[2]]
    assert [(own.flaw, own.reason) for own in chosen.rejected] == [
        (Flaw.DUPLICATE, "4 edited characters from one that is kept")
    ]


def test_a_refill_takes_both_of_a_close_pair_only_after_the_others() -> None:
    # The first two are close to each other; the others stand alone.
    recalls = ("Snow is made of ice crystals.", "Snow is made of icy crystals.", *FAR)
    official = "teacher.llm.duplicates=refill"
    answers = [said(recall) for recall in recalls]
    chosen = select_rationales(answers, QUESTIONS, settings(official, "teacher.llm.keep=3"), seed=0)
    assert [own.recall for own in chosen.rationales] == list(FAR)
    assert [own.flaw for own in chosen.rejected] == [Flaw.DUPLICATE, Flaw.DUPLICATE]
    drawn = {
        next(own.recall for own in kept.rationales if own.recall not in FAR)
        for kept in (
            select_rationales(answers, QUESTIONS, settings(official, "teacher.llm.keep=4"), seed=n) for n in range(9)
        )
    }
    assert drawn == set(recalls[:2])
    every = select_rationales(answers, QUESTIONS, settings(official, "teacher.llm.keep=5"), seed=0)
    assert len(every.rationales) == 5


def test_duplicates_can_be_limited_to_equal_texts() -> None:
    recalls = ("Rain falls.", "Rain fell.", "Rain falls.")
    chosen = select_rationales(
        [said(own) for own in recalls], QUESTIONS, settings("teacher.llm.duplicate_distance=0"), seed=0
    )
    assert [own.recall for own in chosen.rationales] == ["Rain falls.", "Rain fell."]


def test_one_text_may_serve_two_questions() -> None:
    chosen = select_rationales([said(FAR[0]), said(FAR[0], question="q1")], QUESTIONS, settings(), seed=0)
    assert len(chosen.rationales) == 2


def test_at_most_the_requested_number_is_kept_in_the_given_order() -> None:
    chosen = select_rationales([said(recall) for recall in FAR], QUESTIONS, settings("teacher.llm.keep=2"), seed=0)
    assert [own.recall for own in chosen.rationales] == list(FAR[:2])
    assert chosen.rejected[0].flaw is Flaw.SURPLUS
    fewer = select_rationales([said(recall) for recall in FAR], QUESTIONS, settings("teacher.llm.samples=1"), seed=0)
    assert len(fewer.rationales) == 1


def test_a_recall_that_names_the_answer_is_a_leak_if_leaks_are_rejected() -> None:
    answers = [said("Balloons go up in the air."), said(FAR[0])]
    assert len(select_rationales(answers, QUESTIONS, settings(), seed=0).rationales) == 2
    chosen = select_rationales(answers, QUESTIONS, settings("teacher.llm.reject_leaks=true"), seed=0)
    assert [own.recall for own in chosen.rationales] == [FAR[0]]
    assert (chosen.rejected[0].flaw, chosen.rejected[0].reason) == (Flaw.LEAK, "the recall names 'up'")


def test_other_sources_follow_only_the_label_policy() -> None:
    recorded = load_settings("mine.jsonl", ["teacher.source=recorded"]).teacher
    answers = [said("Wet.", None), said("Wet.", "A"), said("Wet.", "B")]
    chosen = select_rationales(answers, QUESTIONS, recorded, seed=0)
    assert len(chosen.rationales) == 2
    assert [own.flaw for own in chosen.rejected] == [Flaw.DISAGREES]


def test_questions_keep_their_order_and_earlier_rejections_stay() -> None:
    before = Rejected(question_id="q9", flaw=Flaw.NOT_TRAIN, text="x")
    chosen = select_rationales([before, said(FAR[0], question="q1"), said(FAR[1])], QUESTIONS, settings(), seed=0)
    assert [own.question_id for own in chosen.rationales] == ["q0", "q1"]
    assert chosen.rejected == (before,)


@pytest.mark.parametrize(
    ("recall", "answer", "is_named"),
    [
        ("Keep it in the Bank!", "bank", True),
        ("Embankments are high.", "bank", False),
        ("It's a yell at somebody.", "yell at", True),
        ("At times people yell.", "yell at", False),
        ("x", "?", False),
    ],
)
def test_a_name_is_a_sequence_of_whole_words(recall: str, answer: str, is_named: bool) -> None:
    assert names(recall, answer) is is_named
