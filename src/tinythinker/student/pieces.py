"""Cutting a batch into pieces of like length: the same gradient, less padding computed, less memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from tinythinker.student.encode import prompt_ids, target_ids
from tinythinker.student.flops import TRAINING, weights_of
from tinythinker.student.student import Student


class Pass(NamedTuple):
    """What one more pass, forward and backward, costs beside its arithmetic, in the floating-point operations that the
    device does meanwhile."""

    always: float
    per_weight: float
    """Gradients are written, and added up, once per pass."""


PASS = {"cpu": Pass(2e9, 300.0), "cuda": Pass(6e12, 100.0)}
"""By device, roughly; some 20 ms, and the time to move all weights a few times (docs/PERFORMANCE.md)."""

MOST_STATES = 800_000
"""Numbers of one layer's hidden states, (items, tokens, width), in a pass on a CPU: more leave its caches, and a token
then costs a third to a half more."""


class Lengths(NamedTuple):
    """Tokens of one item."""

    prompt: int
    target: int
    """The longest, if it has several."""


class Costs(NamedTuple):
    """What a pass costs, in floating-point operations."""

    per_prompt_token: float
    per_target_token: float
    """Of every item: with two targets each, of both."""
    per_pass: float
    most_tokens: float = math.inf
    """Of prompts and targets together, padding included, in a pass of more than one item."""


def costs_of(student: Student, targets: int = 1) -> Costs:
    """What training a student costs where it is.

    Args:
        targets: how many every item has.
    """
    weights = weights_of(student)
    more = PASS.get(student.device.type, PASS["cuda"])
    return Costs(
        TRAINING * weights.per_prompt_token,
        TRAINING * weights.per_target_token * targets,
        more.always + more.per_weight * student.count_parameters(),
        # A causal student reads its prompt once for every target.
        _most_tokens(student) / (targets if student.is_causal else 1),
    )


def reading_costs(student: Student) -> Costs:
    """What reading prompts costs, with nothing learned: a forward pass of an encoder."""
    per_pass = PASS.get(student.device.type, PASS["cuda"]).always
    return Costs(2 * weights_of(student).per_prompt_token, 0.0, per_pass / 3, _most_tokens(student))


def _most_tokens(student: Student) -> float:
    if student.device.type != "cpu":
        return math.inf
    return MOST_STATES / int(student.model.config.get_text_config().hidden_size)


def lengths_of(student: Student, prompts: Sequence[str], *targets: Sequence[str]) -> list[Lengths]:
    """Lengths of items as the student reads them: a prompt and one or more targets each."""
    longest = [max(map(len, own)) for own in zip(*(target_ids(student, texts).ids for texts in targets), strict=True)]
    return [Lengths(len(row), most) for row, most in zip(prompt_ids(student, prompts).ids, longest, strict=True)]


def cut(lengths: Sequence[Lengths], costs: Costs, most: int | None = None) -> list[list[int]]:
    """Cut items into the pieces that cost least together, every piece padded to its longest.

    Args:
        lengths: of every item.
        most: items in a piece; None: any number.

    Returns:
        Positions of the items by piece, the longest first, so that memory runs out at once or never.

    >>> cut([Lengths(9, 1), Lengths(90, 1), Lengths(8, 1)], Costs(1.0, 1.0, 10.0))
    [[1], [0, 2]]
    """
    order = sorted(range(len(lengths)), key=lambda i: lengths[i], reverse=True)
    # Nothing is won by parting items of one length; so they are looked at together, as far as a piece may hold them.
    units = [
        unit
        for own, alike in groupby(order, key=lambda i: lengths[i])
        for unit in _even_parts(list(alike), min(most or math.inf, costs.most_tokens / (own.prompt + own.target)))
    ]
    best, begins = [0.0], [0]
    for end in range(1, len(units) + 1):
        count = prompt = target = 0
        found = math.inf, end - 1
        for begin in range(end - 1, -1, -1):
            count += len(units[begin])
            own = lengths[units[begin][0]]
            prompt, target = max(prompt, own.prompt), max(target, own.target)
            is_full = count * (prompt + target) > costs.most_tokens or (most is not None and count > most)
            if is_full and begin < end - 1:
                break
            each = prompt * costs.per_prompt_token + target * costs.per_target_token
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
    """The items in as few parts as `most` in one allows (at least one), all of about one size."""
    count = -(-len(items) // max(1, int(min(most, len(items)))))
    return [items[i * len(items) // count : (i + 1) * len(items) // count] for i in range(count)]
