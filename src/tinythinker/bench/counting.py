"""How many token positions a model computes, counted where they pass."""

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
    """Of the encoder (prompts) and of the decoder (targets); the decoder's weights."""

    prompts: int = 0
    prompt_tokens: int = 0
    """Those of the prompts that are no padding."""
    targets: int = 0
    weight_bytes: int = 0
    """Of the decoder's weights, once per call."""
    flops: int = 0
    """Of all matrix products, forward and backward."""


@contextmanager
def counted(student: Student) -> Iterator[Positions]:
    """Count what an encoder-decoder computes inside the block; counting makes it slower."""
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
