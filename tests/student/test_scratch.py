from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.conftest import TEXTS, tiny_recipe, tiny_student
from tinythinker.core.errors import StudentError
from tinythinker.settings.schema import StudentSettings
from tinythinker.student.scratch import SHAPES, scratch_student, sentencepiece_tokenizer, word_tokenizer


@pytest.mark.parametrize("text", ["So the answer is option B.", "rain is wet, and (A) falls: up."])
def test_known_words_survive_the_tokenizer_exactly(text: str) -> None:
    tokenizer = word_tokenizer([*TEXTS, text])
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_an_option_label_is_one_token_and_unknown_words_are_unk() -> None:
    tokenizer = word_tokenizer(["Where? (A) up"])
    assert tokenizer.convert_ids_to_tokens(tokenizer("Where? (Z) sky")["input_ids"]) == [
        "▁Where",
        "?",
        "▁(Z)",
        "<unk>",
        "</s>",
    ]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (tiny_student(seed=seed).model.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_the_output_layer_has_its_own_weights() -> None:
    state = tiny_student().model.state_dict()
    assert not torch.equal(state["lm_head.weight"], state["shared.weight"])
    assert torch.equal(state["encoder.embed_tokens.weight"], state["decoder.embed_tokens.weight"])


def test_named_sizes_have_about_as_many_weights_as_their_names_say() -> None:
    # Weights outside the vocabulary, worked out from the shapes: attention 4 d h k, feed-forward 2 d f, per layer.
    for name, million in (("1m", 0.92), ("4m", 4.13), ("t5-small", 44.0), ("t5-base", 198.2)):
        shape = SHAPES[name]
        attention = 4 * shape["d_model"] * shape["num_heads"] * shape["d_kv"]
        feed_forward = 2 * shape["d_model"] * shape["d_ff"]
        weights = shape["num_layers"] * (3 * attention + 2 * feed_forward)
        assert weights / 1e6 == pytest.approx(million, rel=0.02), name


def test_a_missing_sentencepiece_file_is_a_one_line_error(tmp_path: Path) -> None:
    settings = StudentSettings(init="scratch", sentencepiece=tmp_path / "none.model")
    with pytest.raises(StudentError, match=r"student\.sentencepiece: found no file"):
        scratch_student(settings, tiny_recipe(), [], 0)


def test_a_file_that_is_not_a_vocabulary_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "a.model").write_text("not a model")
    with pytest.raises(StudentError, match="unreadable"):
        sentencepiece_tokenizer(tmp_path / "a.model")


@pytest.mark.data
def test_t5s_own_vocabulary_gives_t5s_own_token_ids(data_dir: Path) -> None:
    import sentencepiece

    file = data_dir / "t5" / "spiece.model"
    reference = sentencepiece.SentencePieceProcessor(model_file=str(file))
    tokenizer = sentencepiece_tokenizer(file)
    for text in ("What should you keep, exactly?\n(A) résumé (B) “x”", "So the answer is option B."):
        assert tokenizer(text)["input_ids"] == [*reference.encode(text), 1]
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
