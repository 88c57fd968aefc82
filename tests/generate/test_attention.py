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
def test_attention_of_one_token_is_torchs_own(key_heads: int, added: bool) -> None:
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


def test_the_model_attends_as_before_once_the_block_is_left() -> None:
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
