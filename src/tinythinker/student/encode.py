"""Texts -> tensors. The only place where a text can be cut, and it says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tinythinker.student.student import Student

IGNORED = -100
"""Label of a position that no loss looks at."""


class Encoded(NamedTuple):
    """Padded token ids and their mask (1 where there is a token), both (texts, tokens)."""

    ids: Tensor
    mask: Tensor


class Rows(NamedTuple):
    """Token ids of some texts, and how many of the texts had to be cut."""

    ids: list[list[int]]
    is_cut: list[bool]


def prompt_ids(student: Student, prompts: Sequence[str]) -> Rows:
    """Token ids of prompts. One that is too long loses its front: its end says which stage is asked for."""
    limit = student.recipe.max_prompt_tokens
    rows: list[list[int]] = student.tokenizer(list(prompts))["input_ids"]
    return Rows([row[-limit:] for row in rows], [len(row) > limit for row in rows])


def target_ids(student: Student, targets: Sequence[str]) -> Rows:
    """Token ids of targets, end-of-sequence last. One that is too long loses its end, not its end-of-sequence."""
    limit = student.recipe.max_target_tokens
    rows: list[list[int]] = student.tokenizer(list(targets))["input_ids"]
    kept = [row if len(row) <= limit else [*row[: limit - 1], row[-1]] for row in rows]
    return Rows(kept, [len(row) > limit for row in rows])


def pad(rows: Sequence[Sequence[int]], value: int, device: torch.device) -> Encoded:
    """Right-pad rows of token ids to the longest."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *[value] * (width - len(row))] for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    return Encoded(ids, mask)


def encode_prompts(student: Student, prompts: Sequence[str]) -> Encoded:
    """Prompts as the encoder reads them, shapes (prompts, tokens)."""
    return pad(prompt_ids(student, prompts).ids, int(student.tokenizer.pad_token_id or 0), student.device)


def encode_targets(student: Student, targets: Sequence[str]) -> Tensor:
    """Targets as labels, shape (targets, tokens), padding marked `IGNORED`."""
    return pad(target_ids(student, targets).ids, IGNORED, student.device).ids
