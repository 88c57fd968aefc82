"""A batch of unfinished texts: what a student has read and written so far, as keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from tinythinker.generate.cache import Texts, join
from tinythinker.generate.memory import Known, Memory
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

    def store(self, memory: Memory, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> None:
        """Let a memory take over texts: their rows in this batch and their token ids, as far as they were fed."""


def begin(
    student: Student, rows: Sequence[Sequence[int]], opening: Sequence[int] = (), memory: Memory | None = None
) -> State:
    """The state after reading prompts (as token ids) and the first tokens of every answer, if known.

    Call this function and all methods of its result with gradients off.

    Args:
        memory: beginnings of prompts that it knows are not read again; causal students only.
    """
    return _Causal(student, rows, opening, memory) if student.is_causal else _Seq2Seq(student, rows, opening)


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

    def store(self, memory: Memory, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> None:
        """Nothing: every stage has a prompt of its own, which the encoder reads as a whole."""


class _Causal:
    """A prefix shared by several prompts (a question, a recall) is read once; keys and values are copied.

    The cache is laid out left to right as [known | prefixes | rests | what is written], each part padded on its left,
    and its mask has a 1 where a token counts. Positions count those alone, so that padding in the middle of a row
    changes nothing. What is known comes from the memory of earlier stages. Rows that are read in several pieces stand
    without gaps afterwards.

    A worked miniature: the rows 1 2 3 7 and 1 2 3 8 9 share the prefix 1 2 3. It is read as one row; `keep([0, 0])`
    copies its keys and values; then the rests, padded to . 7 and 8 9, are read. The masks are 111 01 and 111 11, and
    the tokens 7 and 8 both stand at position 3. If the memory knows 1 2, only 3 is read of the prefix.
    """

    logits: Tensor

    def __init__(
        self, student: Student, rows: Sequence[Sequence[int]], opening: Sequence[int], memory: Memory | None
    ) -> None:
        self._student = student
        self._model = cast(Any, student.model).eval()
        whole = [[*row, *opening] for row in rows]
        families = share_prefixes(whole)
        trunks, rests = whole, None
        if is_worth_sharing(whole, families):
            trunks = [whole[family.rows[0]][: family.width] for family in families]
            family_of = {i: number for number, family in enumerate(families) for i in family.rows}
            rests = [row[families[family_of[i]].width :] for i, row in enumerate(whole)]
        known = [None if memory is None else memory.longest(row) for row in trunks]
        if not _has_room(student, known, trunks, rests):
            known = [None] * len(whole)
            trunks, rests = whole, None
        # A window that does not hold the whole row forgets its beginning.
        self._is_whole = _has_room(student, known, trunks, rests)
        self._texts = Texts(None, torch.zeros((len(trunks), 0), dtype=torch.long, device=student.device))
        if memory is not None and any(known):
            self._texts = memory.recall(self._model, known)
        self._read_rows([row[0 if one is None else one.tokens :] for row, one in zip(trunks, known, strict=True)])
        if rests is not None:
            self.keep(torch.tensor([family_of[i] for i in range(len(rows))], device=student.device))
            self._read_rows(rests)

    def _read_rows(self, rows: Sequence[Sequence[int]]) -> None:
        """Go on reading every row, in pieces of similar length."""
        lengths = [Lengths(len(row), 0) for row in rows]
        pieces = cut(lengths, reading_costs(self._student)) if self._is_whole else []
        if len(pieces) <= 1:
            self._read(*pad(rows, self._student.pad_id, self._student.device, left=True))
            return
        before = self._texts
        parts: list[tuple[list[int], Texts]] = []
        logits: list[Tensor] = []
        for piece in pieces:
            self._texts = before.some(self._model, piece)
            self._read(*pad([rows[i] for i in piece], self._student.pad_id, self._student.device, left=True))
            parts.append((piece, self._texts))
            logits.append(self.logits)
        self._texts = join(self._model, parts)
        self.logits = torch.cat(logits)[_inverse([i for piece in pieces for i in piece])]

    def _read(self, ids: Tensor, mask: Tensor) -> None:
        mask = torch.cat([self._texts.mask, mask], dim=1)
        out = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions(mask)[:, -ids.shape[1] :],
            past_key_values=self._texts.cache,
            use_cache=True,
            # An index, not 1: that gives a slice, which is not dense, and torch may copy the output layer once per row.
            logits_to_keep=torch.tensor([-1], device=ids.device),
        )
        self._texts, self.logits = Texts(out.past_key_values, mask), out.logits[:, -1]

    def feed(self, tokens: Tensor) -> None:
        self._read(tokens, torch.ones_like(tokens))

    def keep(self, texts: Tensor) -> None:
        cache, mask = self._texts
        cast(DynamicCache, cache).batch_select_indices(texts)
        self._texts, self.logits = Texts(cache, mask[texts]), self.logits[texts]

    def store(self, memory: Memory, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> None:
        """See `State.store`."""
        if self._is_whole:
            memory.add(self._texts, rows, texts)


def _inverse(order: Sequence[int]) -> list[int]:
    """The place of every number from 0 on in an order.

    >>> _inverse([2, 0, 1])
    [1, 2, 0]
    """
    return sorted(range(len(order)), key=order.__getitem__)


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


def _has_room(
    student: Student,
    known: Sequence[Known | None],
    trunks: Sequence[Sequence[int]],
    rests: Sequence[Sequence[int]] | None,
) -> bool:
    """Will the whole cache fit in the model's attention window?

    What is taken over and shared puts padding in the middle of a row, and the window counts padding.
    """
    config = student.model.config.get_text_config()
    windows = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    taken = [0 if one is None else one.tokens for one in known]
    read = max(len(row) - tokens for row, tokens in zip(trunks, taken, strict=True))
    width = max(taken) + read + max(map(len, rests or [()])) + student.recipe.most_written
    return all(window is None or width <= window for window in windows)
