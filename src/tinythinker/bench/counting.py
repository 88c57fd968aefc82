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
    """Computed positions of the encoder (prompts) and the decoder (targets), with weights and operations."""

    prompts: int = 0
    prompt_tokens: int = 0
    """Prompt positions that hold a token, not padding."""
    targets: int = 0
    weight_bytes: int = 0
    """Bytes of the decoder's weights, added once per call."""
    flops: int = 0
    """Floating-point operations of all matrix products, forward and backward."""


@contextmanager
def counted(student: Student) -> Iterator[Positions]:
    """Count what an encoder-decoder computes inside the block; counting slows it down."""
    found = Positions()

    flops = FlopCounterMode(display=False)

    def encoder(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        mask = kwargs["attention_mask"]
        found.prompts += mask.numel()
        found.prompt_tokens += int(mask.sum())

    def decoder(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.targets += kwargs["input_ids"].numel()
        found.weight_bytes += sum(weight.nbytes for weight in module.parameters())

    model = cast(Any, student.model)
    hooks = [
        model.get_encoder().register_forward_pre_hook(encoder, with_kwargs=True),
        model.get_decoder().register_forward_pre_hook(decoder, with_kwargs=True),
    ]
    try:
        with flops:
            yield found
    finally:
        found.flops = flops.get_total_flops()
        for hook in hooks:
            hook.remove()
