"""What a causal student has read and written in earlier stages, so that the next stage does not read it again."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from tinythinker.student.trees import common

LEAST_SHARED = 8
"""Tokens that a prompt must have in common with a remembered text before its keys and values are taken over."""


class Layers(NamedTuple):
    """Keys and values of every layer, each (texts, heads, tokens, width)."""

    keys: list[Tensor]
    values: list[Tensor]


class Known(NamedTuple):
    """The beginning of a prompt that is remembered."""

    block: int
    row: int
    """Of the text in its block."""
    tokens: int
    """How many of the prompt's first tokens are known."""


class _Block(NamedTuple):
    """Texts that were decoded together; their tokens are padded to one width."""

    layers: Layers
    places: list[list[int]]
    """Where each text's tokens stand in its row."""


class Memory:
    """Keys and values of texts by their token ids; a prompt that begins like one of them takes them over.

    A text may be remembered whole although only its beginning comes back: what counts is the longest common beginning
    of token ids, so nothing depends on how words are cut into tokens.
    """

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._texts: list[tuple[list[int], int, int]] = []
        self._is_sorted = True

    def __len__(self) -> int:
        """Number of texts."""
        return len(self._texts)

    def add(self, cache: DynamicCache, mask: Tensor, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> None:
        """Remember texts of a batch.

        Args:
            cache: of the whole batch.
            mask: 1 where a token counts, (batch, tokens in the cache).
            rows: of the texts in the batch.
            texts: token ids, those that the cache holds; a row may hold more after them, which are left out.
        """
        if not rows:
            return
        chosen = torch.tensor(list(rows), device=mask.device)
        places = [
            row.nonzero().squeeze(1)[: len(text)].tolist() for row, text in zip(mask[chosen].cpu(), texts, strict=True)
        ]
        layers = Layers(
            [cast(Any, layer).keys[chosen] for layer in cache.layers],
            [cast(Any, layer).values[chosen] for layer in cache.layers],
        )
        self._texts += [(list(text), len(self._blocks), row) for row, text in enumerate(texts)]
        self._blocks.append(_Block(layers, places))
        self._is_sorted = False

    def longest(self, prompt: Sequence[int]) -> Known | None:
        """The longest beginning of a prompt that is remembered, without its last token, which is always read."""
        if not self._is_sorted:
            self._texts.sort()
            self._is_sorted = True
        row = list(prompt)
        place = bisect_left(self._texts, (row, -1, -1))
        near = self._texts[max(0, place - 1) : place + 1]
        found = [Known(block, i, min(common(text, row), len(row) - 1)) for text, block, i in near]
        best = max(found, key=lambda known: known.tokens, default=None)
        return best if best is not None and best.tokens >= LEAST_SHARED else None

    def recall(self, model: PreTrainedModel, known: Sequence[Known | None]) -> tuple[DynamicCache, Tensor]:
        """A cache with the known beginnings of prompts, padded on the left, and its mask (prompts, tokens)."""
        width = max(0 if one is None else one.tokens for one in known)
        mask = torch.zeros((len(known), width), dtype=torch.long)
        by_block: dict[int, list[int]] = {}
        for i, one in enumerate(known):
            if one is not None:
                by_block.setdefault(one.block, []).append(i)
                mask[i, width - one.tokens :] = 1
        device = model.device
        cache = DynamicCache(config=model.config)
        moves = [
            (self._blocks[number], *self._move(number, rows, known, width, device)) for number, rows in by_block.items()
        ]
        for layer in range(len(self._blocks[0].layers.keys)):
            sides = []
            for side in (0, 1):
                pattern = self._blocks[0].layers[side][layer]
                made = pattern.new_zeros((len(known), pattern.shape[1], width, pattern.shape[3]))
                for block, to_row, to_place, from_row, from_place in moves:
                    made[to_row, :, to_place] = block.layers[side][layer][from_row, :, from_place]
                sides.append(made)
            cache.update(sides[0], sides[1], layer)
        return cache, mask.to(device)

    def _move(
        self, number: int, rows: Sequence[int], known: Sequence[Known | None], width: int, device: torch.device
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Where the known tokens of these prompts go, row and place, and where they come from; all (tokens,)."""
        block = self._blocks[number]
        to_row: list[int] = []
        to_place: list[int] = []
        from_row: list[int] = []
        from_place: list[int] = []
        for i in rows:
            one = cast(Known, known[i])
            to_row += [i] * one.tokens
            to_place += range(width - one.tokens, width)
            from_row += [one.row] * one.tokens
            from_place += block.places[one.row][: one.tokens]
        return tuple(torch.tensor(part, device=device) for part in (to_row, to_place, from_row, from_place))  # type: ignore[return-value]
