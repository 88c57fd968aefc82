"""Training in float32 or in mixed precision with bfloat16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tinythinker.settings.schema import OptimSettings
from tinythinker.student.precision import pays
from tinythinker.student.student import Student

SHORT = 256
"""Most tokens of a row whose attention a CPU computes in float32: the gradient of attention over short rows is slow in
bfloat16 (docs/EXPERIMENTS.md, 12)."""


def wants_bf16(settings: OptimSettings, student: Student) -> bool:
    """Does training with these settings use bfloat16 on this student's device?"""
    return pays(student) if settings.bf16 == "auto" else settings.bf16 == "always"


@contextmanager
def short_attention_in_float32() -> Iterator[None]:
    """While this is entered, mixed precision on a CPU leaves attention over short rows in float32.

    Nothing changes outside of torch's autocast, on other devices, or for models with an attention of their own.
    """
    before = ALL_ATTENTION_FUNCTIONS["sdpa"]
    ALL_ATTENTION_FUNCTIONS["sdpa"] = _attend
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS["sdpa"] = before


@contextmanager
def mixed_precision(student: Student, *, enabled: bool) -> Iterator[None]:
    """A forward pass in the precision in which training makes it."""
    with short_attention_in_float32(), torch.autocast(student.device.type, torch.bfloat16, enabled=enabled):
        yield


def _attend(module: torch.nn.Module, query: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, None]:
    """Attention as transformers' `sdpa_attention_forward` computes it; queries are (rows, heads, tokens, width)."""
    if query.device.type != "cpu" or not torch.is_autocast_enabled("cpu") or query.shape[2] > SHORT:
        return sdpa_attention_forward(module, query, *args, **kwargs)
    with torch.autocast("cpu", enabled=False):
        wide = {name: _wide(value) for name, value in kwargs.items()}
        return sdpa_attention_forward(module, query.float(), *map(_wide, args), **wide)


def _wide(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
