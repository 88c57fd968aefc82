"""Pairs compared with tables worked out by hand (METHOD section 4)."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import ask
from tinythinker.core.records import Chain, PreferencePair, Stage
from tinythinker.core.seeds import stream
from tinythinker.reflect.pairs import Backup, analyze_pairs, recall_pairs, share_out, summarize_pairs
from tinythinker.stages.template import Template

QUESTION = ask("Where?", "up", "down", "left", gold="B")
PAPER = Template("paper")


def rng() -> np.random.Generator:
    return stream(0, "test")


def recalled(*chains: tuple[str, str | None], teacher: tuple[str, ...] = ()) -> list[PreferencePair]:
    """Pairs of sampled recalls, given as (recall, answer)."""
    made = [
        Chain(question_id="q1", sample=i, recall=recall, analyses=("a", "b", "c"), conclusion="", answer=answer)
        for i, (recall, answer) in enumerate(chains)
    ]
    return recall_pairs(QUESTION, made, teacher, PAPER, rng())


def sides(pairs: list[PreferencePair]) -> tuple[list[str], list[str]]:
    return sorted(pair.chosen for pair in pairs), sorted(pair.rejected for pair in pairs)


def test_without_rejected_recalls_there_is_no_pair() -> None:
    assert recalled(("r1.", "B"), ("r2.", "B"), teacher=("t.",)) == []


def test_without_chosen_recalls_and_rationales_there_is_no_pair() -> None:
    assert recalled(("w1.", "A"), ("w2.", "C")) == []


def test_right_and_wrong_are_paired_on_the_recall_prompt() -> None:
    (pair,) = recalled(("r1.", "B"), ("w1.", "A"))
    assert (pair.stage, pair.chosen, pair.rejected) == (Stage.RECALL, "r1.", "w1.")
    assert pair.prompt == PAPER.recall_prompt(QUESTION)


def test_an_unreadable_answer_is_a_rejected_recall() -> None:
    assert sides(recalled(("r1.", "B"), ("w1.", None))) == (["r1."], ["w1."])


def test_rejected_recalls_are_redrawn_up_to_the_number_of_chosen() -> None:
    assert sides(recalled(("r1.", "B"), ("r2.", "B"), ("r3.", "B"), ("w1.", "A"))) == (
        ["r1.", "r2.", "r3."],
        ["w1."] * 3,
    )


def test_every_rejected_recall_is_used_before_any_is_redrawn() -> None:
    chosen, rejected = sides(recalled(("r1.", "B"), ("r2.", "B"), ("r3.", "B"), ("w1.", "A"), ("w2.", "C")))
    assert chosen == ["r1.", "r2.", "r3."]
    assert set(rejected) == {"w1.", "w2."}


def test_the_teacher_tops_up_too_few_chosen_recalls() -> None:
    pairs = recalled(("r1.", "B"), ("w1.", "A"), ("w2.", "A"), ("w3.", "C"), teacher=("t1.", "t2.", "t3."))
    chosen, rejected = sides(pairs)
    assert chosen[0] == "r1."
    assert len(set(chosen[1:]) & {"t1.", "t2.", "t3."}) == 2
    assert rejected == ["w1.", "w2.", "w3."]
    assert {pair.chosen for pair in pairs if pair.is_from_teacher} == set(chosen[1:])


def test_the_teacher_tops_up_even_if_the_student_was_never_right() -> None:
    assert sides(recalled(("w1.", "A"), ("w2.", "C"), teacher=("t1.", "t2.", "t3.")))[1] == ["w1.", "w2."]


def test_without_rationales_there_are_as_many_pairs_as_chosen() -> None:
    pairs = recalled(("r1.", "B"), ("w1.", "A"), ("w2.", "A"), ("w3.", "C"))
    assert len(pairs) == 1
    assert pairs[0].chosen == "r1."


def test_a_teacher_recall_among_the_rejected_or_chosen_is_not_added() -> None:
    pairs = recalled(("r1.", "B"), ("w1.", "A"), ("w2.", "A"), teacher=("w1.", "r1."))
    assert [pair.chosen for pair in pairs] == ["r1."]


def test_equal_texts_count_once() -> None:
    assert sides(recalled(("r1.", "B"), ("r1.", "B"), ("w1.", "A"), ("w1.", "A"))) == (["r1."], ["w1."])


def test_a_text_on_both_sides_is_dropped_from_both() -> None:
    assert recalled(("x", "B"), ("x", "A")) == []
    assert sides(recalled(("x", "B"), ("x", "A"), ("r1.", "B"), ("w1.", "A"))) == (["r1."], ["w1."])


def test_a_text_with_and_without_its_full_stop_is_one_text_and_carries_it() -> None:
    assert recalled(("x", "B"), ("x.", "A")) == []
    assert sides(recalled(("x", "B"), ("x.", "B"), ("y", "A"))) == (["x."], ["y."])
    assert sides(recalled(("r1.", "B"), ("w1.", "A"), ("w2.", "A"), teacher=("r1", "t1")))[0] == ["r1.", "t1."]


def test_an_empty_recall_is_not_used_in_a_pair() -> None:
    assert recalled(("", "B"), ("w1.", "A")) == []
    assert recalled(("r1.", "B"), ("", "A")) == []


def test_a_recall_that_says_for_option_is_a_text_like_any_other() -> None:
    assert sides(recalled(("For option A, no.", "B"), ("w1.", "A")))[0] == ["For option A, no."]


def test_off_policy_the_teacher_replaces_some_chosen_recalls() -> None:
    own = [
        Chain(question_id="q1", recall=r, conclusion="", answer=a)
        for r, a in (("r1.", "B"), ("r2.", "B"), ("w1.", "A"))
    ]
    by_share = {
        share: recall_pairs(QUESTION, own, ("t1.", "t2.", "r1."), PAPER, rng(), on_policy=share)
        for share in (1.0, 0.5, 0.0)
    }
    students = {share: sum(not pair.is_from_teacher for pair in pairs) for share, pairs in by_share.items()}
    assert students == {1.0: 2, 0.5: 1, 0.0: 0}
    assert {pair.chosen for pair in by_share[0.0]} == {"t1.", "t2."}
    assert all(len(pairs) == 2 for pairs in by_share.values())


def test_off_policy_without_enough_teacher_recalls_the_students_own_stay() -> None:
    own = [
        Chain(question_id="q1", recall=r, conclusion="", answer=a)
        for r, a in (("r1.", "B"), ("r2.", "B"), ("w1.", "A"))
    ]
    pairs = recall_pairs(QUESTION, own, ("t1.",), PAPER, rng(), on_policy=0.0)
    assert sorted(pair.is_from_teacher for pair in pairs) == [False, True]


def test_samples_go_to_questions_solved_sometimes_up_to_a_limit() -> None:
    assert share_out(9, [0.5, 1.0, 0.0, 0.1], most=10) == [5, 0, 0, 4]
    assert share_out(100, [0.5, 1.0], most=10) == [10, 0]
    assert share_out(9, [1.0, 0.0], most=10) == [0, 0]


Set = tuple[tuple[str, ...], str | None]


def analyzed(*sets: Set) -> list[PreferencePair]:
    """Pairs of sampled sets of analyses, given as (analyses, answer)."""
    chains = [
        Chain(question_id="q1", sample=i, recall="r.", analyses=analyses, conclusion="", answer=answer)
        for i, (analyses, answer) in enumerate(sets)
    ]
    return analyze_pairs(QUESTION, chains, PAPER, rng())


def found(pairs: list[PreferencePair]) -> set[tuple[str, str, str]]:
    return {(pair.prompt[-2], pair.chosen, pair.rejected) for pair in pairs}


RIGHT: Set = (("a+.", "b+.", "c+."), "B")
WRONG_A: Set = (("a-.", "b-.", "c-."), "A")
WRONG_C: Set = (("a~.", "b~.", "c~."), "C")


def test_a_couple_gives_pairs_for_the_gold_and_the_wrongly_picked_option() -> None:
    assert found(analyzed(RIGHT, WRONG_A)) == {("B", "b+.", "b-."), ("A", "a+.", "a-.")}


def test_analyze_pairs_use_the_prompt_with_the_recall() -> None:
    pairs = analyzed(RIGHT, WRONG_C)
    assert {pair.prompt for pair in pairs} == {PAPER.analyze_prompt(QUESTION, "r.", label) for label in "BC"}
    assert {pair.stage for pair in pairs} == {Stage.ANALYZE}


@pytest.mark.parametrize("sets", [[RIGHT], [WRONG_A], [RIGHT, (("x", "y", "z"), None)], [RIGHT, (RIGHT[0], "A")]])
def test_one_side_only_gives_no_pair(sets: list[Set]) -> None:
    # All right; all wrong; the other set unreadable; the same set on both sides.
    assert analyzed(*sets) == []


def test_too_few_chosen_are_topped_up_and_not_replaced() -> None:
    # One chosen, two rejected: the official code would train on one couple, and we train on both (FIDELITY, 6).
    assert found(analyzed(RIGHT, WRONG_A, WRONG_C)) == {
        ("B", "b+.", "b-."),
        ("A", "a+.", "a-."),
        ("B", "b+.", "b~."),
        ("C", "c+.", "c~."),
    }


def test_too_few_rejected_are_redrawn() -> None:
    other: Set = (("a*.", "b*.", "c*."), "B")
    assert found(analyzed(RIGHT, other, WRONG_A)) == {
        ("B", "b+.", "b-."),
        ("A", "a+.", "a-."),
        ("B", "b*.", "b-."),
        ("A", "a*.", "a-."),
    }


def test_sets_that_differ_only_in_full_stops_are_one_set() -> None:
    assert analyzed(RIGHT, (("a+", "b+", "c+"), "A")) == []


def test_without_a_right_set_a_backup_is_chosen() -> None:
    chains = [Chain(question_id="q1", recall="r.", analyses=WRONG_A[0], conclusion="", answer="A")]
    backup = Backup(("a*", "b*", "c*"), is_from_teacher=True)
    pairs = analyze_pairs(QUESTION, chains, PAPER, rng(), [backup])
    assert found(pairs) == {("B", "b*.", "b-."), ("A", "a*.", "a-.")}
    assert all(pair.is_from_teacher for pair in pairs)
    assert analyze_pairs(QUESTION, chains, PAPER, rng()) == []


def test_a_backup_is_not_used_where_a_set_was_right_or_where_it_was_wrong_itself() -> None:
    backup = Backup(("a*.", "b*.", "c*."), is_from_teacher=False)
    right, wrong = (
        Chain(question_id="q1", recall="r.", analyses=analyses, conclusion="", answer=answer)
        for analyses, answer in (RIGHT, WRONG_A)
    )
    assert {pair.chosen for pair in analyze_pairs(QUESTION, [right, wrong], PAPER, rng(), [backup])} == {"b+.", "a+."}
    failed = Chain(question_id="q1", recall="r.", analyses=backup.analyses, conclusion="", answer="A")
    assert analyze_pairs(QUESTION, [failed], PAPER, rng(), [backup]) == []


def test_sets_that_agree_on_an_analysis_give_no_pair_for_it() -> None:
    assert found(analyzed(RIGHT, (("a+.", "b-.", "c+."), "A"))) == {("B", "b+.", "b-.")}


def test_an_analysis_that_says_for_option_stays_whole() -> None:
    tricky: Set = (("a-.", "For option C, b-.", "c-."), "A")
    assert ("B", "b+.", "For option C, b-.") in found(analyzed(RIGHT, tricky))


@pytest.mark.parametrize("count", [2, 3, 7, 26])
def test_questions_of_any_size_give_pairs_for_the_gold_and_the_picked_option(count: int) -> None:
    question = ask("Where?", *(f"place {i}" for i in range(count)), gold="A")
    last = question.labels[-1]
    chains = [
        Chain(
            question_id="q1", recall="r.", analyses=tuple(f"{say} {i}" for i in range(count)), conclusion="", answer=a
        )
        for say, a in (("yes", "A"), ("no", last))
    ]
    pairs = analyze_pairs(question, chains, PAPER, rng())
    assert {(pair.chosen, pair.rejected) for pair in pairs} == {
        ("yes 0.", "no 0."),
        (f"yes {count - 1}.", f"no {count - 1}."),
    }
    assert {pair.prompt for pair in pairs} == {PAPER.analyze_prompt(question, "r.", label) for label in ("A", last)}


def test_over_all_every_right_recall_meets_every_wrong_one_and_the_teacher_is_left_out() -> None:
    answers = [("r1.", "B"), ("r2.", "B"), ("w1.", "A"), ("w2.", "C"), ("w3.", None)]
    chains = [
        Chain(question_id="q1", sample=i, recall=recall, analyses=("a", "b", "c"), conclusion="", answer=answer)
        for i, (recall, answer) in enumerate(answers)
    ]
    made = recall_pairs(QUESTION, chains, ["t."], PAPER, rng(), is_over_all=True)
    assert {(pair.chosen, pair.rejected) for pair in made} == {
        (r, w) for r in ("r1.", "r2.") for w in ("w1.", "w2.", "w3.")
    }
    assert len(made) == 6


def test_over_all_no_backup_stands_in_for_a_right_set() -> None:
    chains = [Chain(question_id="q1", sample=0, recall="r", analyses=("a", "b", "c"), conclusion="", answer="A")]
    backup = [Backup(("x", "y", "z"), is_from_teacher=True)]
    assert analyze_pairs(QUESTION, chains, PAPER, rng(), backup)
    assert analyze_pairs(QUESTION, chains, PAPER, rng(), backup, is_over_all=True) == []


def test_answers_are_paired_under_the_reasoning_of_every_chain_right_or_wrong() -> None:
    answers = [("r1", "B"), ("w1", "A"), ("w1", "C"), ("w2", None)]
    chains = [
        Chain(question_id="q1", sample=i, recall=recall, analyses=(), conclusion="", answer=answer)
        for i, (recall, answer) in enumerate(answers)
    ]
    cloze = Template("cloze")
    made = summarize_pairs(QUESTION, chains, cloze, rng())
    assert [pair.prompt for pair in made] == [
        cloze.summarize_prompt(QUESTION, recall, ()) for recall in ("r1", "w1", "w2")
    ]
    assert {pair.chosen for pair in made} == {"down"} and {pair.stage for pair in made} == {Stage.SUMMARIZE}
    assert made[1].rejected == "up"  # what that chain answered
    assert {made[0].rejected, made[2].rejected} <= {"up", "left"}
    assert made == summarize_pairs(QUESTION, chains, cloze, rng())


def test_options_with_the_gold_options_text_are_never_the_wrong_answer() -> None:
    twins = ask("Where?", "down", "down", gold="B")
    chain = Chain(question_id="q1", sample=0, recall="r", analyses=(), conclusion="", answer="A")
    assert summarize_pairs(twins, [chain], Template("cloze"), rng()) == []
    assert [pair.rejected for pair in summarize_pairs(twins, [chain], PAPER, rng())] == ["So the answer is option A."]
