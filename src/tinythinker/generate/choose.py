"""Which token comes next: the most likely one, or one drawn from the full distribution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tinythinker.core.seeds import stream

BLOCK = 128
"""Tokens per block of the vocabulary: choosing a token first picks its block, then the token in it."""


def uniforms_of(seeds: Sequence[int], count: int) -> Tensor:
    """Numbers in [0, 1), shape (seeds, count), float64, with a separate random stream per row."""
    return torch.stack([torch.from_numpy(stream(seed, "tokens").random(count)) for seed in seeds])


def draw_tokens(logits: Tensor, uniforms: Tensor, temperature: float) -> Tensor:
    """Exact samples: the token where each row's uniform number falls in the row's cumulative distribution.

    In two stages, because a cumulative sum over a whole vocabulary is slow: the number falls into a block of `BLOCK`
    tokens, by the blocks' total weights, and what is left of it falls on a token of that block. The result is that of
    one cumulative sum.

    A worked miniature, with blocks of two: weights .1 .2 | .3 .4 have totals .3 and .7; the number .65 falls into the
    second block, .35 deep, and there on its second token, since .35 > .3. That is token 3, as .1 + .2 + .3 < .65.

    Args:
        logits: (rows, vocabulary).
        uniforms: (rows,), float64 in [0, 1).

    Returns:
        Token ids, shape (rows,).
    """
    blocks = _in_blocks(torch.softmax(logits.float() / temperature, dim=-1), 0.0)
    weights = blocks.sum(dim=2, dtype=torch.float64)
    block, rest = _fall(weights, uniforms * weights.sum(dim=1))
    token, _ = _fall(blocks[torch.arange(len(blocks), device=blocks.device), block].double(), rest)
    return (block * BLOCK + token).clamp_(max=logits.shape[1] - 1)


def _fall(weights: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The place where each row's target falls if its weights are laid end to end, and how far into it.

    Args:
        weights: (rows, places), float64; a place with zero weight is never hit.
        targets: (rows,), float64.
    """
    cumulated = weights.cumsum(dim=1)
    # A target that rounding puts past the last weight falls on that weight.
    inside = torch.minimum(targets, cumulated[:, -1] * (1 - 2**-52)).unsqueeze(1)
    # If logits are NaN, no sum exceeds the target; clamping still draws some token.
    place = torch.searchsorted(cumulated, inside, right=True).clamp_(max=weights.shape[1] - 1)
    before = (cumulated - weights).gather(1, place)
    return place.squeeze(1), (inside - before).clamp(min=0).squeeze(1)


def best_tokens(logits: Tensor) -> Tensor:
    """The most likely token of each row (the first on a tie), shape (rows,)."""
    blocks = _in_blocks(logits, -torch.inf)
    block = blocks.amax(dim=2).max(dim=1).indices
    return block * BLOCK + blocks[torch.arange(len(blocks), device=blocks.device), block].max(dim=1).indices


def _in_blocks(values: Tensor, filler: float) -> Tensor:
    """Values grouped into blocks of the vocabulary, (rows, blocks, `BLOCK`).

    Operations that are fast on a CPU then run over whole rows, and slow ones over a single block per row.
    """
    missing = -values.shape[1] % BLOCK
    return (F.pad(values, (0, missing), value=filler) if missing else values).reshape(len(values), -1, BLOCK)
