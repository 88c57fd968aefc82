from __future__ import annotations

from tests.conftest import tiny_recipe, tiny_student
from tinythinker.student.encode import IGNORED, encode_prompts, encode_targets, prompt_ids, target_ids

SHORT = tiny_recipe().model_copy(update={"max_prompt_tokens": 4, "max_target_tokens": 3})


def test_a_long_prompt_loses_its_front_and_is_counted() -> None:
    student = tiny_student(recipe=SHORT)
    whole = tiny_student()
    rows = prompt_ids(student, ["rain is wet and falls.", "rain."])
    assert rows.ids[0] == prompt_ids(whole, ["rain is wet and falls."]).ids[0][-4:]
    assert rows.is_cut == [True, False]


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


def test_a_long_causal_prompt_keeps_the_mark_of_its_beginning() -> None:
    student = tiny_student(recipe=SHORT, family="causal")
    student.tokenizer.bos_token = "▁rain"
    begin = student.tokenizer.bos_token_id
    (row,) = prompt_ids(student, ["rain is wet and falls."]).ids
    assert len(row) == 4
    assert row[0] == begin


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
