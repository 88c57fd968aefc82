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
    )


def reading_costs(student: Student) -> Costs:
    """What reading prompts costs, with nothing learned: a forward pass of an encoder."""
    per_pass = PASS.get(student.device.type, PASS["cuda"]).always
    return Costs(2 * weights_of(student).per_prompt_token, 0.0, per_pass / 3)


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
    alike = [list(own) for _, own in groupby(order, key=lambda i: lengths[i])]
    units = [own[i : i + (most or len(own))] for own in alike for i in range(0, len(own), most or len(own))]
    best, begins = [0.0], [0]
    for end in range(1, len(units) + 1):
        count = prompt = target = 0
        found = math.inf, end - 1
        for begin in range(end - 1, -1, -1):
            count += len(units[begin])
            if most is not None and count > most:
                break
            own = lengths[units[begin][0]]
            prompt, target = max(prompt, own.prompt), max(target, own.target)
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
