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
        plan = plan_reading(whole, [None if memory is None else memory.longest(row) for row in whole])
        if not _has_room(student, plan):
            plan = Plan([None] * len(whole), whole, list(range(len(whole))), None)
        # A window that does not hold the whole row forgets its beginning.
        self._is_whole = _has_room(student, plan)
        self._texts = Texts(None, torch.zeros((len(plan.trunks), 0), dtype=torch.long, device=student.device))
        if memory is not None and any(plan.known):
            self._texts = memory.recall(self._model, plan.known)
        self._read_rows(plan.trunks)
        if plan.rests is not None:
            self._texts = self._texts.repeated(plan.trunk_of)
            self._read_rows(plan.rests)

    def _read_rows(self, rows: Sequence[Sequence[int]]) -> None:
        """Go on reading rows, in pieces of similar length; one without tokens stays as it is, and has no logits."""
        pieces = [[i for i, row in enumerate(rows) if row]]
        if not pieces[0]:
            return
        if self._is_whole:
            found = cut([Lengths(len(rows[i]), 0) for i in pieces[0]], reading_costs(self._student))
            pieces = [[pieces[0][i] for i in sorted(piece)] for piece in found]
        if len(pieces[0]) == len(rows):
            self._read(*pad(rows, self._student.pad_id, self._student.device, left=True))
            return
        before = self._texts
        done = [i for i, row in enumerate(rows) if not row]
        parts = [(done, before.some(self._model, done))] if done else []
        logits: Tensor | None = None
        for piece in pieces:
            self._texts = before.some(self._model, piece)
            self._read(*pad([rows[i] for i in piece], self._student.pad_id, self._student.device, left=True))
            parts.append((piece, self._texts))
            if logits is None:
                logits = self.logits.new_zeros((len(rows), self.logits.shape[1]))
            logits[torch.tensor(piece, device=logits.device)] = self.logits
        self._texts = join(self._model, parts)
        self.logits = cast(Tensor, logits)

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


class Plan(NamedTuple):
    """What is read of some rows, and in which order: first trunks, then the rows' rests."""

    known: list[Known | None]
    """What the memory has of each trunk."""
    trunks: list[list[int]]
    """Tokens of each trunk that are still to be read."""
    trunk_of: list[int]
    """The trunk of each row."""
    rests: list[list[int]] | None
    """Tokens of each row after its trunk; None: trunks are whole rows."""


def plan_reading(rows: Sequence[Sequence[int]], known: Sequence[Known | None]) -> Plan:
    """Read once what rows share after their known beginnings, if that saves a fifth of the tokens left to read.

    >>> plan_reading([[1, 2, 3, 4], [1, 2, 3, 5]], [None, None])
    Plan(known=[None], trunks=[[1, 2, 3]], trunk_of=[0, 0], rests=[[4], [5]])
    """
    taken = [0 if one is None else one.tokens for one in known]
    unread = [list(row[tokens:]) for row, tokens in zip(rows, taken, strict=True)]
    alone = Plan(list(known), unread, list(range(len(rows))), None)
    # Only rows with the same known beginning share what follows; a number in front of the row stands for it.
    numbers: dict[tuple[int, ...], int] = {}
    marked = [
        [-1 - numbers.setdefault(tuple(row[:tokens]), len(numbers)), *rest]
        for row, tokens, rest in zip(rows, taken, unread, strict=True)
    ]
    families = share_prefixes(marked)
    saved = sum((len(family.rows) - 1) * (family.width - 1) for family in families)
    # A row that nothing is known of needs a token in its trunk.
    if 5 * saved < sum(map(len, unread)) or any(not taken[f.rows[0]] and f.width < 2 for f in families):
        return alone
    trunk_of = {i: number for number, family in enumerate(families) for i in family.rows}
    return Plan(
        [known[family.rows[0]] for family in families],
        [marked[family.rows[0]][1 : family.width] for family in families],
        [trunk_of[i] for i in range(len(rows))],
        [row[families[trunk_of[i]].width :] for i, row in enumerate(marked)],
    )


class Family(NamedTuple):
    """Rows that share a prefix."""

    rows: list[int]
    """Their positions."""
    width: int
    """Tokens of the prefix; every row has at least one more."""


def share_prefixes(rows: Sequence[Sequence[int]]) -> list[Family]:
    """Group rows so that reading each group's shared prefix once saves most tokens; each row is in one group.

    Dynamic programming over the sorted rows: the best grouping of the first n ends in some last group.

    >>> share_prefixes([[1, 2, 3], [1, 2, 4], [9, 9]])
    [Family(rows=[0, 1], width=2), Family(rows=[2], width=1)]
    """
    order = sorted(range(len(rows)), key=lambda i: list(rows[i]))
    shared = [0, *(common(rows[one], rows[other]) for one, other in pairwise(order))]
    best = [(0, 0, 0)]  # tokens saved by the first n rows, where the last group begins, and its width
    for end in range(1, len(order) + 1):
        width = len(rows[order[end - 1]]) - 1
        found = (best[end - 1][0], end - 1, width)
        for begin in range(end - 2, -1, -1):
            width = min(width, shared[begin + 1], len(rows[order[begin]]) - 1)
            if width == 0:
                break
            found = max(found, (best[begin][0] + (end - begin - 1) * width, begin, width), key=lambda one: one[0])
        best.append(found)
    families = []
    end = len(order)
    while end:
        _, begin, width = best[end]
        families.append(Family(order[begin:end], width))
        end = begin
    return families[::-1]


def _has_room(student: Student, plan: Plan) -> bool:
    """Will the whole cache fit in the model's attention window?

    What is taken over and shared puts padding in the middle of a row, and the window counts padding.
    """
    config = student.model.config.get_text_config()
    windows = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    taken = max(0 if one is None else one.tokens for one in plan.known)
    read = max(map(len, plan.trunks)) + max(map(len, plan.rests or [[]]))
    return all(window is None or taken + read + student.recipe.most_written <= window for window in windows)
