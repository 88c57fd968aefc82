"""Prompts -> texts, in batches: greedy, or sampled with one named random stream per text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from tinythinker.generate.attention import one_token_attention
from tinythinker.generate.choose import best_tokens, draw_tokens, uniforms_of
from tinythinker.generate.memory import Memory
from tinythinker.generate.state import State, begin
from tinythinker.student.encode import prompt_ids
from tinythinker.student.student import Student

CROWDED = 0.9
"""Finished rows leave the batch once at most this share is unfinished: moving the others costs time."""


@dataclass(frozen=True)
class Decoded:
    """A generated text."""

    text: str
    count_tokens: int
    """Tokens generated, including the end-of-sequence token if there is one."""
    is_cut: bool = False
    """Was its prompt too long for the student, and therefore cut?"""
    is_stopped: bool = False
    """Did it reach its token limit without ending?"""
    logits: tuple[float, ...] | None = None
    """Of the tokens in `Watched`; None: nothing was asked, or the text begins in another way."""


class Watched(NamedTuple):
    """Tokens whose logits are wanted where a text has begun with `opening`."""

    opening: Sequence[int]
    tokens: Sequence[int]


@dataclass(frozen=True)
class Sampling:
    """Draw tokens at a temperature, from the full distribution (top_k = 0)."""

    temperature: float
    seeds: Sequence[int]
    """One per prompt. A text depends on its own seed and prompt, not on its neighbours in the batch."""


class Recollection(NamedTuple):
    """What a writer remembers from stage to stage."""

    memory: Memory
    is_continued: Sequence[bool]
    """For each prompt: will a later prompt begin with it and its text?"""


def decode(
    student: Student,
    prompts: Sequence[str],
    *,
    max_tokens: int,
    batch_size: int,
    sampling: Sampling | None = None,
    recollection: Recollection | None = None,
    watched: Watched | None = None,
) -> list[Decoded]:
    """The student's continuation of every prompt; greedy decoding runs equal prompts only once.

    Args:
        max_tokens: a text that has not ended is stopped here.
        sampling: None for greedy decoding.
        recollection: what earlier stages read and wrote, and which of these texts to add to it; None: nothing.
        watched: logits to give with every text that begins so; None: none.

    Returns:
        One text per prompt, in order.
    """
    if not prompts:
        return []
    how = _How(max_tokens, batch_size, sampling, recollection, watched)
    if sampling is None:
        distinct = list(dict.fromkeys(prompts))
        if recollection is not None:
            continued = {prompt for prompt, is_kept in zip(prompts, recollection.is_continued, strict=True) if is_kept}
            how = how._replace(
                recollection=recollection._replace(is_continued=[prompt in continued for prompt in distinct])
            )
        texts = dict(zip(distinct, _decode(student, distinct, how), strict=True))
        return [texts[prompt] for prompt in prompts]
    return _decode(student, prompts, how)


class _How(NamedTuple):
    max_tokens: int
    batch_size: int
    sampling: Sampling | None
    recollection: Recollection | None
    watched: Watched | None

    def of(self, chosen: Sequence[int]) -> _How:
        """The same for some of the prompts."""
        sampling, recollection = self.sampling, self.recollection
        if sampling is not None:
            sampling = replace(sampling, seeds=[sampling.seeds[i] for i in chosen])
        if recollection is not None:
            recollection = recollection._replace(is_continued=[recollection.is_continued[i] for i in chosen])
        return self._replace(sampling=sampling, recollection=recollection)


def _decode(student: Student, prompts: Sequence[str], how: _How) -> list[Decoded]:
    rows, is_cut = prompt_ids(student, prompts)
    # Prompts of equal length need no padding; longest first, so memory runs out in the first batch or never.
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]), reverse=True)
    done: dict[int, Decoded] = {}
    count = -(-len(order) // how.batch_size)
    for number in range(count):
        # Batches of equal size: a small last batch would take nearly as long per step as a full one.
        chosen = order[number * len(order) // count : (number + 1) * len(order) // count]
        with one_token_attention(student.model):
            done.update(zip(chosen, _batch(student, [rows[i] for i in chosen], how.of(chosen)), strict=True))
    return [replace(done[i], is_cut=is_cut[i]) for i in range(len(prompts))]


@torch.inference_mode()
def _batch(student: Student, rows: Sequence[Sequence[int]], how: _How) -> list[Decoded]:
    """Decode one batch, token by token; equal prompts are read once; finished rows leave in groups."""
    tokenizer, sampling = student.tokenizer, how.sampling
    distinct = {row: i for i, row in enumerate(dict.fromkeys(map(tuple, rows)))}
    state = begin(student, list(distinct), memory=how.recollection.memory if how.recollection else None)
    if len(distinct) < len(rows):
        state.keep(torch.tensor([distinct[tuple(row)] for row in rows], device=student.device))
    uniforms = None if sampling is None else uniforms_of(sampling.seeds, how.max_tokens).to(student.device)
    written: list[list[int]] = [[] for _ in rows]
    here = torch.arange(len(rows), device=student.device)
    is_going = torch.ones_like(here, dtype=torch.bool)
    ends = torch.tensor(student.end_ids, device=student.device)
    seen: dict[int, tuple[float, ...]] = {}
    for step in range(how.max_tokens):
        if how.watched is not None and step == len(how.watched.opening):
            found = state.logits[:, list(how.watched.tokens)].float().tolist()
            begun = [list(how.watched.opening) == written[row] for row in here.tolist()]
            seen = {row: tuple(one) for row, one, is_so in zip(here.tolist(), found, begun, strict=True) if is_so}
        if uniforms is None or sampling is None:
            tokens = best_tokens(state.logits)
        else:
            tokens = draw_tokens(state.logits, uniforms[here, step], sampling.temperature)
        for row, token, going in zip(here.tolist(), tokens.tolist(), is_going.tolist(), strict=True):
            if going:
                written[row].append(token)
        is_going &= ~torch.isin(tokens, ends)
        left = int(is_going.sum())
        if left == 0 or step + 1 == how.max_tokens:
            break
        if left <= CROWDED * len(here):
            _store(state, how.recollection, here, ~is_going, rows, written)
            stay = is_going.nonzero().squeeze(1)
            here, is_going, tokens = here[stay], is_going[stay], tokens[stay]
            state.keep(stay)
        state.feed(tokens.unsqueeze(1))
    _store(state, how.recollection, here, torch.ones_like(is_going), rows, written)
    texts = tokenizer.batch_decode(written, skip_special_tokens=True)
    return [
        Decoded(text.strip(), len(row), is_stopped=row[-1] not in student.end_ids, logits=seen.get(i))
        for i, (text, row) in enumerate(zip(texts, written, strict=True))
    ]


def _store(
    state: State,
    recollection: Recollection | None,
    here: Tensor,
    leaves: Tensor,
    rows: Sequence[Sequence[int]],
    written: Sequence[Sequence[int]],
) -> None:
    """Add the texts of leaving rows to the memory. A row's last token has not been fed.

    Args:
        here: number of the text in each row of the state, (rows in the state,).
        leaves: whether each row leaves, (rows in the state,).
    """
    if recollection is None:
        return
    some = [
        (place, text)
        for place, (text, is_leaving) in enumerate(zip(here.tolist(), leaves.tolist(), strict=True))
        if is_leaving and recollection.is_continued[text]
    ]
    state.store(
        recollection.memory, [place for place, _ in some], [[*rows[text], *written[text][:-1]] for _, text in some]
    )
