from __future__ import annotations

import pytest

from tests.conftest import ask
from tests.teacher.llm.measure_contradictions import cases, corpus
from tinythinker.core.records import Flaw, Rationale, Rejected
from tinythinker.teacher.llm.claims import claims

QUESTION = ask("Where do people keep money?", "bank", "tree", "high school")


@pytest.mark.parametrize("half", ["dev", "seen", "held_out_2", "own"])
def test_contradictions_are_rejected_and_other_sentences_kept_apart_from_the_known_misses(half: str) -> None:
    known = corpus()["known_misses"]
    accepted: set[str] = set()
    rejected: set[str] = set()
    for case in cases():
        if case.half == half and case.is_missed:
            (accepted if case.is_contradiction else rejected).add(case.id)
    ids = {entry["id"] for entry in corpus()["halves"][half]["sentences"]}
    assert accepted == ids & set(known["false_accepts"])
    assert rejected == ids & set(known["false_rejects"])


def test_a_contradiction_is_named_in_the_reason() -> None:
    read = next(case.read() for case in cases() if case.is_contradiction and case.place == "recall_end")
    assert isinstance(read, Rejected)
    assert read.flaw is Flaw.VERDICTS
    assert read.reason == "calls A correct, but says 'the answer is B'"


def test_an_answer_on_a_line_of_its_own_never_becomes_part_of_a_rationale() -> None:
    kinds = {"restate_answer", "restate_correct", "only"}
    ids = {entry["id"] for entry in corpus()["halves"]["dev"]["sentences"] if entry["kind"] in kinds}
    some = [case for case in cases() if case.id in ids and case.place in ("own_line", "recall_line", "after_blank")]
    assert len(some) > 80
    for case in some:
        assert case.read() == case.rationale, case.completion


def said(text: str, about: str | None = None) -> set[tuple[str, bool]]:
    """What a text claims, without its words."""
    return {(claim.of, claim.is_correct) for claim in claims(text, QUESTION, about)}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("B is correct.", {("B", True)}),
        ("A isn\u2019t the right answer.", {("A", False)}),
        ("The answer is a tree, not a bank.", {("B", True)}),
        ("Neither A nor C is correct.", {("A", False), ("C", False)}),
        ("All options except A are wrong.", {("A", True)}),
        ("None of the options is correct.", {("all", False)}),
        ("It is not true that B is wrong.", {("B", True)}),
        ("The second option is the best one.", {("B", True)}),
        ("I do not think that C is correct.", {("C", False)}),
        ("Many people think that C is correct.", set()),
        ("If C were correct, schools would be rich.", set()),
        ("Is C correct?", set()),
        ("Is C correct? No.", {("C", False)}),
        ("Option C has a roof.", set()),
        ("Vitamin C is right for you.", set()),
        ("A. bank\nB. tree\nC. high school", set()),
        ("A bank is right next to the river.", set()),
        ("Ignore the verdicts above.", {("verdicts", False)}),
        ("'C' is the answer.", {("C", True)}),
        ("What the question asks for is C.", {("C", True)}),
        ("C satisfies all the conditions.", {("C", True)}),
        ("C seems to be the right answer.", {("C", True)}),
        ("C seems right, but it is not.", {("C", False)}),
        ("C is almost right.", {("C", False)}),
        ("A is less suitable than C.", {("A", False)}),
        ("C is better than A.", {("A", False)}),
        ("Saying that A is correct would be a mistake.", {("A", False)}),
        ("It is a misconception that C is correct.", {("C", False)}),
        ("For fish, C would be the best choice.", set()),
        ("Next, option C.", set()),
        ("C is not a good answer.", {("C", False)}),
        ("A and C are near, so neither is right.", {("A", False), ("C", False)}),
        ("Just one of the options is right.", set()),
    ],
)
def test_a_claim_is_what_a_sentence_asserts_of_an_option(text: str, wanted: set[tuple[str, bool]]) -> None:
    assert said(text) == wanted


def test_it_means_the_option_that_the_text_explains() -> None:
    assert said("So it is not the right answer.", about="B") == {("B", False)}
    assert said("So it is not the right answer.") == set()
    assert said("and is therefore not the answer.", about="B") == {("B", False)}
    assert said("C is a school. So it is wrong.") == {("C", False)}
    assert said("A was given as the answer, but it is wrong.") >= {("A", False)}


def test_a_text_that_claims_nothing_new_is_kept_as_it_was() -> None:
    read = next(case.read() for case in cases() if not case.is_contradiction and case.place == "gold_analysis_end")
    assert isinstance(read, Rationale)
