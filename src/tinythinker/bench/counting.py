"""Counts the token positions and operations that a model computes, with hooks on encoder and decoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.utils.flop_counter import FlopCounterMode

from tinythinker.student.student import Student


@dataclass
class Positions:
    """Computed positions of the encoder (prompts) and the decoder (targets), with weights and operations.

    A causal student's positions count as both.
    """

    prompts: int = 0
    prompt_tokens: int = 0
    """Prompt positions that hold a token, not padding."""
    targets: int = 0
    weight_bytes: int = 0
    """Bytes of the decoder's weights, added once per call."""
    flops: int = 0
    """Floating-point operations of all matrix products, forward and backward."""
    weight_flops: int = 0
    """The same without products of activations with each other, which attention consists of."""


_WITH_WEIGHTS = (torch.ops.aten.mm, torch.ops.aten.addmm)
"""Products of a matrix with a matrix. Attention has one product per text and head (`bmm`, or a fused kernel)."""


@contextmanager
def counted(student: Student) -> Iterator[Positions]:
    """Count what a student computes inside the block; counting slows it down."""
    found = Positions()

    flops = FlopCounterMode(display=False)

    def encoder(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        mask = kwargs["attention_mask"]
        found.prompts += mask.numel()
        found.prompt_tokens += int(mask.sum())

    def decoder(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = kwargs["input_ids"]
        found.targets += ids.numel()
        found.weight_bytes += sum(weight.nbytes for weight in module.parameters())
        if student.is_causal:
            found.prompts += ids.numel()
            found.prompt_tokens += _count_tokens(kwargs.get("attention_mask"), ids)

    model = cast(Any, student.model)
    hooks = [model.get_decoder().register_forward_pre_hook(decoder, with_kwargs=True)]
    if not student.is_causal:
        hooks.append(model.get_encoder().register_forward_pre_hook(encoder, with_kwargs=True))
    try:
        with flops:
            yield found
    finally:
        found.flops = flops.get_total_flops()
        by_product = flops.get_flop_counts().get("Global", {})
        found.weight_flops = sum(by_product.get(name, 0) for name in _WITH_WEIGHTS)
        for hook in hooks:
            hook.remove()


def _count_tokens(mask: Any, ids: torch.Tensor) -> int:
    """Tokens in a causal model's input that are not padding.

    Args:
        mask: of all tokens so far, (texts, tokens); or of trees, (trees, 1, tokens, tokens), one or one by kind of
            layer: there, padding attends to itself alone.
    """
    if mask is None:
        return ids.numel()
    if isinstance(mask, dict):
        mask = mask["full_attention"]
    if mask.ndim == 2:
        return int(mask[:, -ids.shape[1] :].sum())
    allowed = mask if mask.dtype == torch.bool else mask == 0
    return int((allowed.sum(-1) > 1).sum()) + len(ids)
