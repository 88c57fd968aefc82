from __future__ import annotations

from typing import Literal

import pytest
from tokenizers import processors

from tests.conftest import ask, tiny_of, tiny_recipe, tiny_student
from tinythinker.stages.template import Template
from tinythinker.student.encode import (
    IGNORED,
    encode_prompts,
    encode_targets,
    prompt_ids,
    target_ids,
    whole_prompt_ids,
)
from tinythinker.student.student import Student

SHORT = tiny_recipe().model_copy(update={"max_prompt_tokens": 4, "max_target_tokens": 3})


QUESTION = ask("rain falls", "up", "down")
ANALYZE = Template("paper").analyze_prompt(QUESTION, "rain is wet and falls.", "B")
SUMMARIZE = Template("paper").summarize_prompt(QUESTION, "rain is wet.", ["it falls.", "it falls down."])


def limited(limit: int, family: Literal["seq2seq", "causal"] = "seq2seq") -> Student:
    recipe = tiny_recipe().model_copy(update={"max_prompt_tokens": limit})
    return tiny_student([ANALYZE, SUMMARIZE], recipe=recipe, family=family)


def read(student: Student, prompt: str) -> str:
    """What the student reads of a prompt, as one line."""
    (row,) = prompt_ids(student, [prompt]).ids
    return str(student.tokenizer.decode(row, skip_special_tokens=True))


@pytest.mark.parametrize("family", ["seq2seq", "causal"])
def test_in_a_long_prompt_the_reasoning_gives_way_and_the_question_stays(family: Literal["seq2seq", "causal"]) -> None:
    whole = read(limited(64, family), ANALYZE)
    assert whole == "rain falls (A) up (B) down Recall: rain is wet and falls. Analyze: For option B,"
    length = len(whole_prompt_ids(limited(64, family), [ANALYZE])[0])
    # "Recall:" makes up two of the tokens, "rain" one.
    assert read(limited(length - 3, family), ANALYZE) == whole.replace("Recall: rain ", "")
    assert prompt_ids(limited(length - 3, family), [ANALYZE, "rain"]).is_cut == [True, False]
    assert prompt_ids(limited(length, family), [ANALYZE]).is_cut == [False]


def test_a_prompt_that_is_too_long_even_without_reasoning_loses_the_beginning_of_its_stem() -> None:
    bare = "falls (A) up (B) down Summarize:"
    student = limited(len(whole_prompt_ids(limited(64), [bare])[0]))
    assert read(student, SUMMARIZE) == bare


def test_options_that_alone_are_too_long_leave_the_end_of_the_prompt() -> None:
    student = limited(3)
    assert read(student, SUMMARIZE) == "Summarize:"


def test_without_a_limit_no_prompt_is_cut() -> None:
    student = tiny_student(recipe=tiny_recipe().model_copy(update={"max_prompt_tokens": None}))
    assert student.most_prompt_tokens is None
    assert prompt_ids(student, ["rain " * 5_000]).is_cut == [False]


def test_a_causal_student_leaves_room_in_its_positions_for_what_it_writes() -> None:
    student = tiny_of("gpt2")  # 1,024 positions
    student.recipe = tiny_recipe().model_copy(update={"max_prompt_tokens": None})
    assert student.most_prompt_tokens == 1024 - 16
    assert len(prompt_ids(student, ["rain " * 5_000]).ids[0]) <= 1008


def test_a_long_target_loses_its_end_but_keeps_its_end_of_sequence() -> None:
    student = tiny_student(recipe=SHORT)
    rows = target_ids(student, ["rain is wet and falls.", "rain"])
    assert rows.ids[0][-1] == student.tokenizer.eos_token_id
    assert [len(row) for row in rows.ids] == [3, 2]
    assert rows.is_cut == [True, False]


def test_padding_is_masked_in_prompts_and_ignored_in_labels() -> None:
    student = tiny_student()
    encoded = encode_prompts(student, ["rain is wet", "rain"])
    assert encoded.mask.sum(1).tolist() == [4, 2]
    assert encode_targets(student, ["rain is wet", "rain"])[1].tolist()[2:] == [IGNORED, IGNORED]


def test_a_causal_prompt_has_no_end_and_its_target_begins_with_a_space_and_ends() -> None:
    student = tiny_student(family="causal")
    end = student.tokenizer.eos_token_id
    assert end not in prompt_ids(student, ["rain is wet"]).ids[0]
    (target,) = target_ids(student, ["it falls."]).ids
    assert target[-1] == end
    whole = student.tokenizer("rain is wet it falls.", add_special_tokens=False)["input_ids"]
    assert [*prompt_ids(student, ["rain is wet"]).ids[0], *target[:-1]] == whole


def test_causal_prompts_are_padded_on_the_left() -> None:
    student = tiny_student(family="causal")
    assert encode_prompts(student, ["rain is wet", "rain"]).mask.tolist() == [[1, 1, 1], [0, 0, 1]]


@pytest.mark.parametrize("prompt", [SUMMARIZE, "rain is wet and falls"])
def test_a_long_causal_prompt_keeps_the_mark_of_its_beginning(prompt: str) -> None:
    student = limited(4, "causal")
    student.tokenizer.bos_token = "<unk>"
    begin = student.tokenizer.bos_token_id
    student.tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<unk> $A", special_tokens=[("<unk>", begin)]
    )
    (row,) = prompt_ids(student, [prompt]).ids
    assert len(row) <= 4
    assert row[0] == begin
    assert student.tokenizer.decode(row[-1:]) in ("Summarize:", ":", "falls")


def test_in_a_chat_the_prompt_is_the_users_turn() -> None:
    student = tiny_student(family="causal", recipe=tiny_recipe().model_copy(update={"chat_template": True}))
    student.tokenizer.chat_template = (
        "{{ messages[0]['role'] }} {{ messages[0]['content'] }}{% if add_generation_prompt %} Where{% endif %}"
    )
    (row,) = prompt_ids(student, ["rain"]).ids
    assert student.tokenizer.decode(row) == "<unk> rain Where"
    assert target_ids(student, ["down"]).ids[0] == [
        *student.tokenizer("down", add_special_tokens=False)["input_ids"],
        student.tokenizer.eos_token_id,
    ]


@pytest.mark.parametrize(("architecture", "begins"), [("gemma3", True), ("llama", False)])
def test_a_family_that_needs_a_beginning_gets_one_if_its_tokenizer_adds_none(architecture: str, begins: bool) -> None:
    student = tiny_of(architecture)
    student.tokenizer.bos_token = "<unk>"
    (row,) = whole_prompt_ids(student, ["rain is wet"])
    assert (row[0] == student.tokenizer.bos_token_id) is begins
    student.recipe = student.recipe.model_copy(update={"chat_template": True})
    student.tokenizer.chat_template = "<unk>{{ messages[0]['content'] }}"
    (row,) = whole_prompt_ids(student, ["rain is wet"])
    assert row.count(student.tokenizer.bos_token_id) == 1  # the template's own is enough
