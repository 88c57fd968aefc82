from __future__ import annotations

from tests.conftest import tiny_recipe, tiny_student
from tinythinker.student.encode import IGNORED, encode_prompts, encode_targets, prompt_ids, target_ids

SHORT = tiny_recipe().model_copy(update={"max_prompt_tokens": 4, "max_target_tokens": 3})


def test_a_long_prompt_loses_its_front_and_says_so() -> None:
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
