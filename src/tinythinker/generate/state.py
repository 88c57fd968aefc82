"""A batch of unfinished texts: what a student has read and written so far, as keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from tinythinker.student.encode import pad, pad_prompts
from tinythinker.student.logps import positions
from tinythinker.student.pieces import Lengths, cut, reading_costs
from tinythinker.student.student import Student
from tinythinker.student.trees import common


class State(Protocol):
    """A batch of unfinished texts."""

    logits: Tensor
    """Logits of the next token, (texts, vocabulary)."""

    def feed(self, tokens: Tensor) -> None:
        """Append tokens, shape (texts, tokens), and update the logits."""

    def keep(self, texts: Tensor) -> None:
        """Keep only the texts at these positions, shape (kept,); a repeated position copies its text."""


def begin(student: Student, rows: Sequence[Sequence[int]], opening: Sequence[int] = ()) -> State:
    """The state after reading prompts (as token ids) and the first tokens of every answer, if known.

    Call this function and all methods of its result with gradients off.
    """
    return _Causal(student, rows, opening) if student.is_causal else _Seq2Seq(student, rows, opening)


class _Seq2Seq:
    """Prompts are encoded once; the decoder's keys and values, of its own tokens and of the prompt, are cached.

    `_encoded` has shape (texts, prompt tokens, width), `_mask` (texts, prompt tokens).
    """

    def __init__(self, student: Student, rows: Sequence[Sequence[int]], opening: Sequence[int]) -> None:
        self._model = cast(Any, student.model).eval()
        self._mask = pad_prompts(student, rows).mask
        self._encoded = self._read(student, rows)
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        start = [self._model.config.decoder_start_token_id, *opening]
        self.feed(torch.tensor([start] * len(rows), device=student.device))

    def _read(self, student: Student, rows: Sequence[Sequence[int]]) -> Tensor:
        """Hidden states, (texts, tokens, width), read in pieces of similar length."""
        encoded: Tensor | None = None
        for piece in cut([Lengths(len(row), 0) for row in rows], reading_costs(student)):
            ids, mask = pad_prompts(student, [rows[i] for i in piece])
            made = self._model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
            if encoded is None:
                encoded = made.new_zeros((*self._mask.shape, made.shape[-1]))
            encoded[torch.tensor(piece, device=student.device), : ids.shape[1]] = made
        return cast(Tensor, encoded)

    def feed(self, tokens: Tensor) -> None:
        self.logits = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=self._encoded),
            attention_mask=self._mask,
            decoder_input_ids=tokens,
            past_key_values=self._cache,
            use_cache=True,
        ).logits[:, -1]

    def keep(self, texts: Tensor) -> None:
        self._encoded, self._mask, self.logits = self._encoded[texts], self._mask[texts], self.logits[texts]
        self._cache.batch_select_indices(texts)


class _Causal:
    """A prefix shared by several prompts (a question, a recall) is read once; keys and values are copied.

    The cache is laid out left to right as [prefixes | rests | what is written], each part padded on its left, and
    `_mask`, shape (texts, tokens so far), has a 1 where a token counts. Positions count those alone, so that padding in
    the middle of a row changes nothing.

    A worked miniature: the rows 1 2 3 7 and 1 2 3 8 9 share the prefix 1 2 3. It is read as one row; `keep([0, 0])`
    copies its keys and values; then the rests, padded to . 7 and 8 9, are read. The masks are 111 01 and 111 11, and
    the tokens 7 and 8 both stand at position 3.
    """

    def __init__(self, student: Student, rows: Sequence[Sequence[int]], opening: Sequence[int]) -> None:
        self._model = cast(Any, student.model).eval()
        self._cache: Any = None
        whole = [[*row, *opening] for row in rows]
        families = share_prefixes(whole)
        rest = whole
        self._mask = torch.zeros((len(rows), 0), dtype=torch.long, device=student.device)
        if is_worth_sharing(whole, families) and _has_room(student, whole, families):
            trunks = pad(
                [whole[family.rows[0]][: family.width] for family in families],
                student.pad_id,
                student.device,
                left=True,
            )
            self._mask = trunks.mask[:, :0]
            self._read(trunks.ids, trunks.mask)
            family_of = {i: number for number, family in enumerate(families) for i in family.rows}
            self.keep(torch.tensor([family_of[i] for i in range(len(rows))], device=student.device))
            rest = [row[families[family_of[i]].width :] for i, row in enumerate(whole)]
        ids, mask = pad(rest, student.pad_id, student.device, left=True)
        self._read(ids, mask)

    def _read(self, ids: Tensor, mask: Tensor) -> None:
        self._mask = torch.cat([self._mask, mask], dim=1)
        out = self._model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=positions(self._mask)[:, -ids.shape[1] :],
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._cache, self.logits = out.past_key_values, out.logits[:, -1]

    def feed(self, tokens: Tensor) -> None:
        self._read(tokens, torch.ones_like(tokens))

    def keep(self, texts: Tensor) -> None:
        self._mask, self.logits = self._mask[texts], self.logits[texts]
        self._cache.batch_select_indices(texts)


class Family(NamedTuple):
    """Rows that share a prefix."""

    rows: list[int]
    """Their positions."""
    width: int
    """Tokens of the prefix; every row has at least one more."""


def share_prefixes(rows: Sequence[Sequence[int]]) -> list[Family]:
    """Group rows so that reading each group's shared prefix once saves many tokens; each row is in one group.

    >>> share_prefixes([[1, 2, 3], [1, 2, 4], [9, 9]])
    [Family(rows=[0, 1], width=2), Family(rows=[2], width=1)]
    """
    order = sorted(range(len(rows)), key=lambda i: list(rows[i]))
    families = [Family([order[0]], len(rows[order[0]]) - 1)]
    for before, i in pairwise(order):
        family = families[-1]
        width = min(family.width, common(rows[before], rows[i]), len(rows[i]) - 1)
        # A row joins if the group, one larger but perhaps with a shorter prefix, saves no less than before.
        if width and len(family.rows) * width >= (len(family.rows) - 1) * family.width:
            families[-1] = Family([*family.rows, i], width)
        else:
            families.append(Family([i], len(rows[i]) - 1))
    return families


def is_worth_sharing(rows: Sequence[Sequence[int]], families: Sequence[Family]) -> bool:
    """Does sharing save a fifth of all tokens, and has every row two: one to share, one to read after it?"""
    saved = sum((len(family.rows) - 1) * family.width for family in families)
    return all(family.width for family in families) and 5 * saved >= sum(map(len, rows))


def _has_room(student: Student, rows: Sequence[Sequence[int]], families: Sequence[Family]) -> bool:
    """Will the whole cache fit in the model's attention window?

    Shared prefixes put padding in the middle of a row, and the window counts padding.
    """
    config = student.model.config.get_text_config()
    windows = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    beginning = max(family.width for family in families)
    rest = max(len(rows[i]) - family.width for family in families for i in family.rows)
    return all(window is None or beginning + rest + student.recipe.most_written <= window for window in windows)
