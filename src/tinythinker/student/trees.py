"""Texts that share a beginning, as trees: what several texts begin with is read once.

A causal model reads a tree as one row. Its tokens lie depth first, a token attends to those on the way from the root to
itself, and its position is its depth. So every text gets the very logits that it would get in a row of its own.

A worked miniature: the texts 1 2 3 4 and 1 2 5 make the row 1 2 3 4 5 with positions 0 1 2 3 2; the token 5 attends to
1, 2 and itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

MOST_TOKENS = 1024
"""Tokens of a tree of several texts: memory for masks and attention grows with the square of a row's length."""


class Branch(NamedTuple):
    """A text in a tree: a prompt and its target."""

    ids: list[int]
    """Tokens of the prompt, then of the target."""
    width: int
    """Tokens of the prompt, at least one."""


class Tree(NamedTuple):
    """Branches that are read together. The last token of a branch predicts nothing and is not read."""

    ids: list[int]
    """Tokens, depth first."""
    depths: list[int]
    """Tokens before each on its branch."""
    ends: list[int]
    """For each token, the place after the last token that comes after it on some branch."""
    predicted_at: list[list[int]]
    """For each branch, in the order given, the places of the tokens before those of its target."""


def tree_of(branches: Sequence[Branch]) -> Tree:
    """One tree of branches; what they begin with in common is in it once.

    >>> tree_of([Branch([1, 2, 3, 4, 9], 2), Branch([1, 2, 5, 9], 2)]).ids
    [1, 2, 3, 4, 5]
    """
    ids: list[int] = []
    depths: list[int] = []
    ends: list[int] = []
    path: list[int] = []  # places of the tokens of the branch before
    predicted_at: list[list[int]] = [[] for _ in branches]
    before: list[int] = []
    for i in sorted(range(len(branches)), key=lambda i: branches[i].ids[:-1]):
        read = branches[i].ids[:-1]
        shared = common(before, read)
        for place in path[shared:]:
            ends[place] = len(ids)
        path = path[:shared] + list(range(len(ids), len(ids) + len(read) - shared))
        ids += read[shared:]
        depths += range(shared, len(read))
        ends += [0] * (len(read) - shared)
        predicted_at[i] = path[branches[i].width - 1 :]
        before = read
    for place in path:
        ends[place] = len(ids)
    return Tree(ids, depths, ends, predicted_at)


def groves(
    prompts: Sequence[Sequence[int]], written: Sequence[int], attending: float, most: int | None = None
) -> list[list[int]]:
    """Which items to read as one tree, so that prompts which begin alike stand together.

    In a tree, what two prompts begin with is read once; but every token of a row is compared with every other, also
    with those of other branches. An item joins a tree where it saves more than that costs.

    Args:
        prompts: token ids of each item's prompt.
        written: tokens of each item's targets.
        attending: cost of comparing two tokens, as a share of the cost of reading one (`Costs.attending`).
        most: largest number of items in a tree; None: no limit.

    Returns:
        Positions of the items of every tree; each item is in one.
    """
    order = sorted(range(len(prompts)), key=lambda i: list(prompts[i]))
    found = [[order[0]]]
    tokens = len(prompts[order[0]]) + written[order[0]]
    for before, i in pairwise(order):
        shared = common(prompts[before], prompts[i])
        alone = len(prompts[i]) + written[i]
        together = tokens + alone - shared
        compared = together**2 - tokens**2 - alone**2
        is_worth_it = shared > attending * compared and together <= MOST_TOKENS
        if is_worth_it and (most is None or len(found[-1]) < most):
            found[-1].append(i)
            tokens = together
        else:
            found.append([i])
            tokens = alone
    return found


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Number of tokens that two texts begin with in common."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count
