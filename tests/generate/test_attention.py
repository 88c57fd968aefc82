from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.conftest import tiny_of
from tinythinker.generate.attention import attend_from_one_token, one_token_attention


def test_attention_of_one_token_matches_a_value_worked_by_hand() -> None:
    # Scores 2 * [1, 0] . [[1, 0], [0, 1]] + [0, 2] = [2, 2]: both keys weigh one half.
    query, key = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    value, bias = torch.tensor([[[[3.0], [5.0]]]]), torch.tensor([[[[0.0, 2.0]]]])
    assert attend_from_one_token(query, key, value, None, 2.0, bias).flatten().tolist() == [4.0]
    only_first = torch.tensor([[[[True, False]]]])
    assert attend_from_one_token(query, key, value, only_first, 2.0, bias).flatten().tolist() == [3.0]


@pytest.mark.parametrize("key_heads", [1, 2, 6])
@pytest.mark.parametrize("added", [False, True])
def test_attention_of_one_token_equals_torchs_attention(key_heads: int, added: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(3, 6, 1, 8, generator=generator)
    key, value = (torch.randn(3, key_heads, 5, 8, generator=generator) for _ in range(2))
    mask = torch.rand(3, 1, 1, 5, generator=generator) < 0.7
    mask[..., 0] = True
    own = torch.where(mask, 0.5, torch.finfo(torch.float32).min) if added else mask
    made = attend_from_one_token(query, key, value, own, 0.3)
    many = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=own, scale=0.3, enable_gqa=True
    )
    torch.testing.assert_close(made, many.transpose(1, 2))


@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_in_bfloat16_attention_of_one_token_is_as_exact_as_scores_in_bfloat16_can_be(spread: float) -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(8, 4, 1, 64, generator=generator).bfloat16()
    key, value = (torch.randn(8, 4, 80, 64, generator=generator).bfloat16() for _ in range(2))
    made = attend_from_one_token(query, key, value, None, spread / 8)
    exact = attend_from_one_token(query.double(), key.double(), value.double(), None, spread / 8)
    # A score of 2 to 4 standard deviations is rounded to 2^-8 of its size, as are weights and sums.
    assert (made.double() - exact).abs().max() < 4 * spread * 2**-8


def test_the_model_attends_as_before_after_the_block() -> None:
    model: Any = tiny_of("t5").model
    with pytest.raises(KeyboardInterrupt), one_token_attention(model):
        assert model.config._attn_implementation != "sdpa"
        raise KeyboardInterrupt
    assert model.config._attn_implementation == "sdpa"
    assert {part.config._attn_implementation for part in (model.encoder, model.decoder)} == {"sdpa"}


def test_a_model_that_does_not_use_the_fused_kernel_is_left_alone() -> None:
    model = tiny_of("t5").model
    model.set_attn_implementation("eager")
    with one_token_attention(model):
        assert model.config._attn_implementation == "eager"
