"""Prompts -> texts, in batches; greedy, or sampled with one named random stream per text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tinythinker.core.seeds import stream
from tinythinker.generate.attention import one_token_attention
from tinythinker.generate.state import begin
from tinythinker.stages.template import conclusion
from tinythinker.student.encode import encode_targets, pad_prompts, prompt_ids, whole_target_ids
from tinythinker.student.logps import target_logps
from tinythinker.student.student import Student

BLOCK = 128
"""Tokens of the vocabulary that are looked at together when one is chosen."""
CROWDED = 0.9
"""Rows that have ended leave the batch as soon as so small a share of it is left: moving the others has its price."""


@dataclass(frozen=True)
class Decoded:
    """A generated text."""

    text: str
    count_tokens: int
    """Tokens it took, its end included."""
    is_cut: bool = False
    """Was its prompt longer than the student reads?"""
    is_stopped: bool = False
    """Did it reach the most tokens it may have without an end of its own?"""


@dataclass(frozen=True)
class Sampling:
    """Draw at a temperature, from the full distribution (top_k = 0)."""

    temperature: float
    seeds: Sequence[int]
    """One per prompt. A text depends on its own seed and prompt, not on its neighbours in the batch."""


def decode(
    student: Student, prompts: Sequence[str], *, max_tokens: int, batch_size: int, sampling: Sampling | None = None
) -> list[Decoded]:
    """Write on from every prompt; equal prompts are decoded once if greedy.

    Args:
        max_tokens: a text stops there if it has not ended by itself.
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
    # Neighbours of one length need no padding; longest first, so that memory runs out at once or never.
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]), reverse=True)
    done: dict[int, Decoded] = {}
    count = -(-len(order) // batch_size)
    for number in range(count):
        # A last batch of a few rows would cost a step nearly as much as a whole one.
        chosen = order[number * len(order) // count : (number + 1) * len(order) // count]
        own = None if sampling is None else replace(sampling, seeds=[sampling.seeds[i] for i in chosen])
        with one_token_attention(student.model):
            done.update(zip(chosen, _batch(student, [rows[i] for i in chosen], max_tokens, own), strict=True))
    return [replace(done[i], is_cut=is_cut[i]) for i in range(len(prompts))]


@torch.inference_mode()
def _batch(
    student: Student, rows: Sequence[Sequence[int]], max_tokens: int, sampling: Sampling | None
) -> list[Decoded]:
    """Decode one batch, token by token. Equal prompts are read once; rows that have ended leave it, several at once."""
    tokenizer = student.tokenizer
    distinct = {row: i for i, row in enumerate(dict.fromkeys(map(tuple, rows)))}
    state = begin(student, list(distinct))
    if len(distinct) < len(rows):
        state.keep(torch.tensor([distinct[tuple(row)] for row in rows], device=student.device))
    uniforms = None if sampling is None else _uniforms(sampling.seeds, max_tokens).to(student.device)
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


def _uniforms(seeds: Sequence[int], count: int) -> Tensor:
    """Numbers in [0, 1), shape (seeds, count), float64, every row from a stream of its own."""
    return torch.stack([torch.from_numpy(stream(seed, "tokens").random(count)) for seed in seeds])


def draw_tokens(logits: Tensor, uniforms: Tensor, temperature: float) -> Tensor:
    """The token on which each row's uniform number falls in the row's cumulated distribution: exact sampling.

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
    """The place on which each row's target falls among the row's weights, one after the other; how far into it.

    Args:
        weights: (rows, places), float64; a place without weight is never hit.
        targets: (rows,), float64.
    """
    cumulated = weights.cumsum(dim=1)
    # What rounding might put behind the last weight falls on it.
    inside = torch.minimum(targets, cumulated[:, -1] * (1 - 2**-52)).unsqueeze(1)
    # Where logits are no numbers, nothing is larger than the target; some token is drawn all the same.
    place = torch.searchsorted(cumulated, inside, right=True).clamp_(max=weights.shape[1] - 1)
    before = (cumulated - weights).gather(1, place)
    return place.squeeze(1), (inside - before).clamp(min=0).squeeze(1)


def best_tokens(logits: Tensor) -> Tensor:
    """The likeliest token of each row, the first of equals, shape (rows,)."""
    blocks = _in_blocks(logits, -torch.inf)
    block = blocks.amax(dim=2).max(dim=1).indices
    return block * BLOCK + blocks[torch.arange(len(blocks), device=blocks.device), block].max(dim=1).indices


def _in_blocks(values: Tensor, filler: float) -> Tensor:
    """Values by block of the vocabulary, (rows, blocks, `BLOCK`).

    Whole rows are looked at in ways that a CPU is fast at, and one block a row in the others.
    """
    missing = -values.shape[1] % BLOCK
    return (F.pad(values, (0, missing), value=filler) if missing else values).reshape(len(values), -1, BLOCK)


class LabelLogps(NamedTuple):
    """How likely every label of a question is as its answer."""

    logps: dict[str, float]
    """Log-probabilities by label, nats, normalised over the question's labels."""
    is_cut: bool
    """Was the prompt longer than the student reads?"""


@torch.inference_mode()
def label_logps(
    student: Student, prompts: Sequence[str], labels: Sequence[Sequence[str]], *, batch_size: int
) -> list[LabelLogps]:
    """Score every option label as the answer to a summarize prompt; equal prompts are scored once.

    The conclusion is fed up to its label, so one forward pass gives all labels. Where the vocabulary writes two labels
    with the same first token, whole conclusions are scored instead. Differs from free decoding only in that the answer
    is always readable.

    Returns:
        One per prompt, in order.
    """
    every = sorted({label for own in labels for label in own})
    sentences = whole_target_ids(student, [conclusion(label) for label in every])
    # The conclusions are the same up to their label; a question has at least two.
    width = next(i for i, column in enumerate(zip(*sentences, strict=False)) if len(set(column)) > 1)
    token_of = {label: sentence[width] for label, sentence in zip(every, sentences, strict=True)}
    is_one_pass = len(set(token_of.values())) == len(every)
    opening = sentences[0][:width]
    distinct = dict.fromkeys((prompt, tuple(own)) for prompt, own in zip(prompts, labels, strict=True))
    asked = sorted(distinct, key=lambda one: len(one[0]))
    found: dict[tuple[str, tuple[str, ...]], LabelLogps] = {}
    for start in range(0, len(asked), batch_size):
        some = asked[start : start + batch_size]
        rows = prompt_ids(student, [prompt for prompt, _ in some])
        if is_one_pass:
            scores = begin(student, rows.ids, opening).logits.float()
            by_label = {label: scores[:, token] for label, token in token_of.items()}
        else:
            targets = {label: encode_targets(student, [conclusion(label)] * len(some)) for label in every}
            encoded, model = pad_prompts(student, rows.ids), student.model.eval()
            by_label = {label: target_logps(model, encoded, target).total for label, target in targets.items()}
        for i, key in enumerate(some):
            own = torch.stack([by_label[label][i] for label in key[1]])
            values = torch.log_softmax(own, dim=0).tolist()
            found[key] = LabelLogps(dict(zip(key[1], values, strict=True)), rows.is_cut[i])
    return [found[prompt, tuple(own)] for prompt, own in zip(prompts, labels, strict=True)]
