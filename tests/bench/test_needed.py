"""The arithmetic that a work needs, worked out by hand."""

from __future__ import annotations

from typing import Literal

import pytest

from tests.conftest import ask, tiny_student
from tinythinker.bench.needed import Text, flops_needed, texts_of_chain, training_needs
from tinythinker.student.encode import prompt_ids, target_ids
from tinythinker.student.student import Student

DOWN, UP = Text("rain is wet", "down"), Text("rain is wet", "up")


def lengths(student: Student, text: Text) -> tuple[int, int]:
    return len(prompt_ids(student, [text.prompt]).ids[0]), len(target_ids(student, [text.target]).ids[0])


def test_a_causal_student_needs_a_shared_prompt_once_and_logits_where_targets_follow() -> None:
    student = tiny_student(family="causal")
    weights = student.weights
    body, head = weights.per_prompt_token, weights.per_target_token - weights.per_prompt_token
    (prompt, down), (_, up) = lengths(student, DOWN), lengths(student, UP)
    # The end of a text is not read. Both first words follow the same token: one row of logits serves both.
    tokens, logits = prompt + (down - 1) + (up - 1), down + up - 1
    assert flops_needed(student, [DOWN, UP]) == 2 * (tokens * body + logits * head)
    assert flops_needed(student, [DOWN, DOWN]) == flops_needed(student, [DOWN])


def test_an_encoder_needs_equal_prompts_once_and_a_decoder_every_token() -> None:
    student = tiny_student()
    weights = student.weights
    (prompt, down), (_, up) = lengths(student, DOWN), lengths(student, UP)
    # The decoder reads its start token once for both.
    decoded = down + up - 1
    assert flops_needed(student, [DOWN, UP]) == 2 * (
        prompt * weights.per_prompt_token + decoded * weights.per_target_token
    )
    other = Text("where does rain go", "down")
    assert flops_needed(student, [DOWN, other]) == flops_needed(student, [DOWN]) + flops_needed(student, [other])


@pytest.mark.parametrize("family", ["causal", "seq2seq"])
def test_training_needs_three_times_as_much_and_nothing_is_shared_from_step_to_step(
    family: Literal["causal", "seq2seq"],
) -> None:
    student = tiny_student(family=family)
    assert training_needs(student, [[DOWN, UP]]) == 3 * flops_needed(student, [DOWN, UP])
    assert training_needs(student, [[DOWN], [DOWN]]) == 6 * flops_needed(student, [DOWN])


def test_a_given_recall_is_read_but_not_written() -> None:
    student = tiny_student(family="causal")
    question = ask("Where does rain go?", "up", "down", gold="B")
    written, given = (
        texts_of_chain(student, question, "rain is wet.", ["no", "yes"], "The answer is B.", is_given=is_given)
        for is_given in (False, True)
    )
    assert [text.target for text in written] == ["rain is wet.", "no", "yes", "The answer is B."]
    assert written[1:] == given
    assert all("rain is wet" in text.prompt for text in given)
