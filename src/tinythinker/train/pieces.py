"""Cutting a batch into pieces of like length: the same gradient, less padding computed, less memory."""

from __future__ import annotations

from collections.abc import Sequence
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
    best, begins = [0.0], [0]
    for end in range(1, len(order) + 1):
        prompt = target = 0
        found: tuple[float, int] | None = None
        for begin in range(end - 1, max(-1, end - 1 - (most or end)), -1):
            own = lengths[order[begin]]
            prompt, target = max(prompt, own.prompt), max(target, own.target)
            each = prompt * costs.per_prompt_token + target * costs.per_target_token
            whole = best[begin] + costs.per_pass + (end - begin) * each
            if found is None or whole < found[0]:
                found = whole, begin
        assert found is not None  # noqa: S101  (a piece of one is always allowed)
        best.append(found[0])
        begins.append(found[1])
    pieces = []
    end = len(order)
    while end:
        pieces.append(order[begins[end] : end])
        end = begins[end]
    return pieces[::-1]
