"""Prompts -> texts, in batches: greedy, or sampled with one named random stream per text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from tinythinker.generate.attention import one_token_attention
from tinythinker.generate.choose import best_tokens, draw_tokens, uniforms_of
from tinythinker.generate.state import begin
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


@dataclass(frozen=True)
class Sampling:
    """Draw tokens at a temperature, from the full distribution (top_k = 0)."""

    temperature: float
    seeds: Sequence[int]
    """One per prompt. A text depends on its own seed and prompt, not on its neighbours in the batch."""


def decode(
    student: Student, prompts: Sequence[str], *, max_tokens: int, batch_size: int, sampling: Sampling | None = None
) -> list[Decoded]:
    """The student's continuation of every prompt; greedy decoding runs equal prompts only once.

    Args:
        max_tokens: a text that has not ended is stopped here.
        sampling: None for greedy decoding.

    Returns:
        One text per prompt, in order.
    """
    if not prompts:
        return []
    if sampling is None:
        distinct = list(dict.fromkeys(prompts))
        texts = dict(zip(distinct, _decode(student, distinct, max_tokens, batch_size, None), strict=True))
        return [texts[prompt] for prompt in prompts]
    return _decode(student, prompts, max_tokens, batch_size, sampling)


def _decode(
    student: Student, prompts: Sequence[str], max_tokens: int, batch_size: int, sampling: Sampling | None
) -> list[Decoded]:
    rows, is_cut = prompt_ids(student, prompts)
    # Prompts of equal length need no padding; longest first, so memory runs out in the first batch or never.
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]), reverse=True)
    done: dict[int, Decoded] = {}
    count = -(-len(order) // batch_size)
    for number in range(count):
        # Batches of equal size: a small last batch would take nearly as long per step as a full one.
        chosen = order[number * len(order) // count : (number + 1) * len(order) // count]
        drawn = None if sampling is None else replace(sampling, seeds=[sampling.seeds[i] for i in chosen])
        with one_token_attention(student.model):
            done.update(zip(chosen, _batch(student, [rows[i] for i in chosen], max_tokens, drawn), strict=True))
    return [replace(done[i], is_cut=is_cut[i]) for i in range(len(prompts))]


@torch.inference_mode()
def _batch(
    student: Student, rows: Sequence[Sequence[int]], max_tokens: int, sampling: Sampling | None
) -> list[Decoded]:
    """Decode one batch, token by token; equal prompts are read once; finished rows leave in groups."""
    tokenizer = student.tokenizer
    distinct = {row: i for i, row in enumerate(dict.fromkeys(map(tuple, rows)))}
    state = begin(student, list(distinct))
    if len(distinct) < len(rows):
        state.keep(torch.tensor([distinct[tuple(row)] for row in rows], device=student.device))
    uniforms = None if sampling is None else uniforms_of(sampling.seeds, max_tokens).to(student.device)
    written: list[list[int]] = [[] for _ in rows]
    here = torch.arange(len(rows), device=student.device)
    is_going = torch.ones_like(here, dtype=torch.bool)
    for step in range(max_tokens):
        if uniforms is None or sampling is None:
            tokens = best_tokens(state.logits)
        else:
            tokens = draw_tokens(state.logits, uniforms[here, step], sampling.temperature)
        for row, token, going in zip(here.tolist(), tokens.tolist(), is_going.tolist(), strict=True):
            if going:
                written[row].append(token)
        is_going &= tokens != tokenizer.eos_token_id
        left = int(is_going.sum())
        if left == 0 or step + 1 == max_tokens:
            break
        if left <= CROWDED * len(here):
            stay = is_going.nonzero().squeeze(1)
            here, is_going, tokens = here[stay], is_going[stay], tokens[stay]
            state.keep(stay)
        state.feed(tokens.unsqueeze(1))
    texts = tokenizer.batch_decode(written, skip_special_tokens=True)
    return [
        Decoded(text.strip(), len(row), is_stopped=row[-1] != tokenizer.eos_token_id)
        for text, row in zip(texts, written, strict=True)
    ]
