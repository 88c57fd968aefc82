"""What a causal student has read and written in earlier stages, so that the next stage does not read it again."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from transformers import PreTrainedModel

from tinythinker.generate.cache import Layers, Move, Texts, assemble
from tinythinker.student.trees import common

LEAST_SHARED = 8
"""Tokens that a prompt must have in common with a remembered text before its keys and values are taken over."""


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

    def add(self, batch: Texts, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> None:
        """Remember texts of a batch.

        Args:
            rows: of the texts in the batch.
            texts: token ids, those that the cache holds; a row may hold more after them, which are left out.
        """
        if not rows:
            return
        chosen = torch.tensor(list(rows), device=batch.mask.device)
        places = [
            row.nonzero().squeeze(1)[: len(text)].tolist()
            for row, text in zip(batch.mask[chosen].cpu(), texts, strict=True)
        ]
        layers = Layers(*([side[chosen] for side in sides] for sides in batch.layers()))
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

    def recall(self, model: PreTrainedModel, known: Sequence[Known | None]) -> Texts:
        """The known beginnings of prompts, padded on the left."""
        width = max(0 if one is None else one.tokens for one in known)
        by_block: dict[int, list[int]] = {}
        for i, one in enumerate(known):
            if one is not None:
                by_block.setdefault(one.block, []).append(i)
        moves = [self._move(number, rows, known, width, model.device) for number, rows in by_block.items()]
        return assemble(model, moves, len(known), width)

    def _move(
        self, number: int, rows: Sequence[int], known: Sequence[Known | None], width: int, device: torch.device
    ) -> Move:
        """The move of these prompts' known tokens, all of one block."""
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
        return Move(
            block.layers, *(torch.tensor(part, device=device) for part in (to_row, to_place, from_row, from_place))
        )
