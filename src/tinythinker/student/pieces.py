"""Cutting a batch into pieces of similar length: the same gradient with less padding and less memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from tinythinker.core.metrics import FLOPS_PER_WEIGHT
from tinythinker.student.encode import prompt_ids, target_ids
from tinythinker.student.student import Student


class Pass(NamedTuple):
    """Fixed cost of a forward and backward pass, in equivalent floating-point operations of the device."""

    always: float
    per_weight: float
    """Every pass writes the gradients and adds them up once."""
    per_weight_read: float
    """A pass that trains nothing only reads the weights."""


PASS = {"cpu": Pass(2e9, 300.0, 30.0), "cuda": Pass(6e12, 100.0, 30.0)}
"""Rough values by device: some 20 ms plus the time to move all weights a few times (docs/PERFORMANCE.md)."""

COMPARING = 2.0
"""How much longer attention takes for an operation than a product with weights does: 1 for Storeroom's student, 3 for
SmolLM2-135M (docs/EXPERIMENTS.md, 12)."""

MOST_STATES = 800_000
"""Most numbers in one layer's hidden states, (items, tokens, width), in a pass on a CPU: more do not fit its
caches, and a token then costs a third to a half more."""


class Lengths(NamedTuple):
    """Tokens in one item."""

    prompt: int
    target: int
    """Tokens of the longest target, if the item has several."""


class Costs(NamedTuple):
    """Costs of a pass, in floating-point operations."""

    per_prompt_token: float
    per_target_token: float
    """Cost for all targets of an item: with two targets each, for both."""
    per_pass: float
    per_compared: float = 0.0
    """Cost of comparing two tokens of a row in attention; every token is compared with every one."""
    most_tokens: float = math.inf
    """Limit for a pass of more than one item: tokens of prompts and targets together, padding included."""

    @property
    def attending(self) -> float:
        """Cost of comparing two tokens, as a share of the cost of reading one."""
        return self.per_compared / self.per_prompt_token

    def of_item(self, prompt: int, target: int) -> float:
        """Cost of an item with so many tokens."""
        read = prompt * self.per_prompt_token + target * self.per_target_token
        return read + self.per_compared * (prompt + target) ** 2


def costs_of(student: Student, targets: int = 1) -> Costs:
    """Costs of training a student on its device.

    Args:
        targets: number of targets per item.
    """
    weights = student.weights
    more = PASS.get(student.device.type, PASS["cuda"])
    return Costs(
        FLOPS_PER_WEIGHT * weights.per_prompt_token,
        FLOPS_PER_WEIGHT * weights.per_target_token * targets,
        more.always + more.per_weight * student.count_parameters(),
        _per_compared(student),
        # A causal student reads the prompt again for every target.
        _most_tokens(student) / (targets if student.is_causal else 1),
    )


def reading_costs(student: Student) -> Costs:
    """Costs of reading prompts without training: a forward pass of an encoder or a causal model."""
    weights, more = student.weights.per_prompt_token, PASS.get(student.device.type, PASS["cuda"])
    per_pass = more.always / 3 + more.per_weight_read * weights
    return Costs(2 * weights, 0.0, per_pass, most_tokens=_most_tokens(student))


def _per_compared(student: Student) -> float:
    """Cost of comparing two tokens in training: a product for the score and one for the sum, in every layer.

    An encoder-decoder's rows are the same however they are cut, so there it is left out; likewise where the model has
    no attention (Mamba), or another number of heads in every layer.
    """
    config = student.model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", None)
    if not student.is_causal or not isinstance(heads, int):
        return 0.0
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    return FLOPS_PER_WEIGHT * 2.0 * COMPARING * int(width * heads * config.num_hidden_layers)


def _most_tokens(student: Student) -> float:
    if student.device.type != "cpu":
        return math.inf
    return MOST_STATES / int(student.model.config.get_text_config().hidden_size)


def lengths_of(student: Student, prompts: Sequence[str], *targets: Sequence[str]) -> list[Lengths]:
    """Lengths of items as the student reads them; an item is a prompt with one or more targets."""
    longest = [max(map(len, rows)) for rows in zip(*(target_ids(student, texts).ids for texts in targets), strict=True)]
    return [Lengths(len(row), most) for row, most in zip(prompt_ids(student, prompts).ids, longest, strict=True)]


def cut(lengths: Sequence[Lengths], costs: Costs, most: int | None = None) -> list[list[int]]:
    """Cut items into the pieces that cost least in total, with every piece padded to its longest item.

    Dynamic programming over the items sorted by length: the best cut of the first n items ends in some last piece, and
    what comes before that piece is itself a best cut. So `best[n]` is the smallest cost of the first n items, tried
    over every place where the last piece may begin, and `begins[n]` is that place; the pieces are read off backwards.

    A worked miniature, with one operation per token and 10 per pass, for prompts of 90, 9 and 8 tokens and targets of
    1: all in one piece cost 10 + 3 * 91 = 283; {90}, {9, 8} cost (10 + 91) + (10 + 2 * 10) = 131; three pieces cost
    30 + 91 + 10 + 9 = 140. The second wins.

    Args:
        lengths: one per item.
        most: largest number of items in a piece; None: no limit.

    Returns:
        Positions of the items of each piece, longest first: memory runs out in the first piece or never.

    >>> cut([Lengths(9, 1), Lengths(90, 1), Lengths(8, 1)], Costs(1.0, 1.0, 10.0))
    [[1], [0, 2]]
    """
    order = sorted(range(len(lengths)), key=lambda i: lengths[i], reverse=True)
    # Separating items of equal length gains nothing, so they form one unit, split only where a piece is full.
    units = [
        unit
        for first, alike in groupby(order, key=lambda i: lengths[i])
        for unit in _even_parts(list(alike), min(most or math.inf, costs.most_tokens / (first.prompt + first.target)))
    ]
    best, begins = [0.0], [0]
    for end in range(1, len(units) + 1):
        count = prompt = target = 0
        found = math.inf, end - 1
        for begin in range(end - 1, -1, -1):
            count += len(units[begin])
            first = lengths[units[begin][0]]
            prompt, target = max(prompt, first.prompt), max(target, first.target)
            is_full = count * (prompt + target) > costs.most_tokens or (most is not None and count > most)
            if is_full and begin < end - 1:
                break
            each = costs.of_item(prompt, target)
            found = min(found, (best[begin] + costs.per_pass + count * each, begin))
        best.append(found[0])
        begins.append(found[1])
    pieces = []
    end = len(units)
    while end:
        pieces.append([i for unit in units[begins[end] : end] for i in unit])
        end = begins[end]
    return pieces[::-1]


def _even_parts(items: list[int], most: float) -> list[list[int]]:
    """The items in as few parts as possible, all of about one size, each of at most `most` (at least one)."""
    count = -(-len(items) // max(1, int(min(most, len(items)))))
    return [items[i * len(items) // count : (i + 1) * len(items) // count] for i in range(count)]
