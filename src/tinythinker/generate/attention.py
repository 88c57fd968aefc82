"""Fast attention from one new token on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_NAME = "tinythinker_one_token"


@contextmanager
def one_token_attention(model: PreTrainedModel) -> Iterator[None]:
    """Make a model on a CPU attend from one new token with two batched matrix products.

    The usual fused kernel is built for many queries; with one query it takes most of a decoding step.
    Only models that use that kernel (`sdpa`) are changed, and only inside the block.
    """
    if model.device.type != "cpu" or model.config._attn_implementation != "sdpa":
        yield
        return
    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")


def attend_from_one_token(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, bias: Tensor | None = None
) -> Tensor:
    """softmax(scaling · q kᵀ + bias + mask) v.

    Args:
        query: (texts, heads, 1, width).
        key: (texts, key heads, tokens, width); several consecutive heads may share one.
        value: shaped like `key`.
        mask: (texts or 1, 1, 1, tokens), boolean (attend where true) or added to the scores; None: attend everywhere.
        bias: added to the scores, (1, heads, 1, tokens).

    Returns:
        Shape (texts, 1, heads, width).
    """
    texts, heads, _, width = query.shape
    groups, tokens = texts * key.shape[1], key.shape[2]
    asked = query.reshape(groups, heads // key.shape[1], width)
    if scaling != 1:
        asked = asked * scaling
    scores = torch.bmm(asked, key.reshape(groups, tokens, width).transpose(1, 2)).view(texts, heads, 1, tokens)
    if bias is not None:
        scores += bias
    if mask is not None and mask.dtype == torch.bool:
        scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)
    elif mask is not None:
        scores += mask
    weights = scores.softmax(dim=-1).view(groups, -1, tokens)
    return torch.bmm(weights, value.reshape(groups, tokens, -1)).view(texts, 1, heads, -1)


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    position_bias: Tensor | None = None,
    **more: Any,
) -> tuple[Tensor, Tensor | None]:
    """The attention function that transformers calls."""
    is_of_heads = attention_mask is not None and attention_mask.shape[1] > 1
    is_unusual = any(more.get(name) is not None for name in ("softcap", "s_aux", "sinks"))
    if query.shape[2] > 1 or is_of_heads or is_unusual or torch.is_grad_enabled():
        made: tuple[Tensor, Tensor | None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, position_bias=position_bias, **more
        )
        return made
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    return attend_from_one_token(query, key, value, attention_mask, scaling, position_bias), None
