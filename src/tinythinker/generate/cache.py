"""Keys and values of a batch of texts: taking some texts out, and putting several batches together without gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel


class Layers(NamedTuple):
    """Keys and values of every layer, each (texts, heads, tokens, width)."""

    keys: list[Tensor]
    values: list[Tensor]


class Move(NamedTuple):
    """Tokens to take over from one batch into another; all but `layers` have shape (tokens,)."""

    layers: Layers
    to_row: Tensor
    to_place: Tensor
    from_row: Tensor
    from_place: Tensor


class Texts(NamedTuple):
    """A batch of texts that a causal model has read."""

    cache: DynamicCache | None
    """None if nothing has been read yet."""
    mask: Tensor
    """1 where a token counts, (texts, tokens in the cache)."""

    @property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return int(self.mask.sum(dim=1).max())

    def layers(self) -> Layers:
        """The keys and values of its cache, not copied."""
        every = [cast(Any, layer) for layer in cast(DynamicCache, self.cache).layers]
        return Layers([layer.keys for layer in every], [layer.values for layer in every])

    def moved(self, rows: Sequence[int], width: int) -> Move:
        """The move of every text to the right end of a row of another batch, without the gaps between its tokens.

        Args:
            rows: where each text goes.
            width: of the other batch, at least `longest`.
        """
        from_row, from_place = self.mask.nonzero(as_tuple=True)
        number = (self.mask.cumsum(dim=1) - 1)[from_row, from_place]
        to_row = torch.tensor(list(rows), device=self.mask.device)[from_row]
        to_place = width - self.mask.sum(dim=1)[from_row] + number
        return Move(self.layers(), to_row, to_place, from_row, from_place)

    def some(self, model: PreTrainedModel, rows: Sequence[int]) -> Texts:
        """The texts in these rows, padded no wider than the longest of them."""
        kept = torch.tensor(list(rows), device=self.mask.device)
        own = Texts(self.cache, self.mask[kept])
        if self.cache is None:
            return own
        move = own.moved(range(len(rows)), own.longest)
        return assemble(model, [move._replace(from_row=kept[move.from_row])], len(rows), own.longest)

    def repeated(self, rows: Sequence[int]) -> Texts:
        """The texts in these rows, each as often as its row is named; the cache is changed in place."""
        chosen = torch.tensor(list(rows), device=self.mask.device)
        if self.cache is not None:
            self.cache.batch_select_indices(chosen)
        return Texts(self.cache, self.mask[chosen])


def join(model: PreTrainedModel, parts: Sequence[tuple[Sequence[int], Texts]]) -> Texts:
    """One batch of all texts, padded on the left alone.

    Args:
        parts: batches, each with the new row of every one of its texts.
    """
    width = max(texts.longest for _, texts in parts)
    moves = [texts.moved(rows, width) for rows, texts in parts]
    return assemble(model, moves, sum(len(rows) for rows, _ in parts), width)


def assemble(model: PreTrainedModel, moves: Sequence[Move], texts: int, width: int) -> Texts:
    """A batch of `texts` rows and `width` places that holds the moved tokens and padding elsewhere."""
    cache = DynamicCache(config=model.config)
    for layer in range(len(moves[0].layers.keys)):
        sides = []
        for side in (0, 1):
            pattern = moves[0].layers[side][layer]
            made = pattern.new_zeros((texts, pattern.shape[1], width, pattern.shape[3]))
            for move in moves:
                made[move.to_row, :, move.to_place] = move.layers[side][layer][move.from_row, :, move.from_place]
            sides.append(made)
        cache.update(sides[0], sides[1], layer)
    mask = torch.zeros((texts, width), dtype=torch.long, device=model.device)
    for move in moves:
        mask[move.to_row, move.to_place] = 1
    return Texts(cache, mask)
