"""Prompts and targets -> what a student reads in one forward pass: rows of their own or, if it can, trees."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tinythinker.core.progress import say
from tinythinker.student.encode import IGNORED, encode_targets, encode_unique_prompts, pad, prompt_ids, target_ids
from tinythinker.student.logps import Forest, Separate, logps_of
from tinythinker.student.pieces import Lengths, costs_of, cut, lengths_of
from tinythinker.student.student import Student
from tinythinker.student.trees import Branch, Tree, groves, tree_of

_MASKS = frozenset({"full_attention", "sliding_attention"})
"""Kinds of layers whose masks `logps.tree_masks` writes."""
_TOLERANCE = 1e-3
"""Largest difference between a text's log-probability in a tree and in a row of its own, nats, in the trial."""


def read(
    student: Student, prompts: Sequence[str], targets: Sequence[str], *, is_ended: bool = True
) -> Separate | Forest:
    """Prompts, each with its target, as the student reads them in the fewest tokens.

    Args:
        is_ended: does the end-of-sequence token belong to a target?
    """
    if not reads_trees(student):
        encoded, prompt_of = encode_unique_prompts(student, prompts)
        return Separate(encoded, encode_targets(student, targets, is_ended=is_ended), prompt_of)
    branches = _branches(student, prompts, targets, is_ended=is_ended)
    return plant(student, branches, costs_of(student).attending)


def plan_passes(
    student: Student, prompts: Sequence[str], targets: Sequence[Sequence[str]], most: int | None
) -> list[list[int]]:
    """Cut items into forward passes of similar rows that together cost least (see `pieces.cut`).

    Args:
        prompts: one per item.
        targets: the items' targets, or their first and their second ones.
        most: largest number of items in a pass; None: no limit.

    Returns:
        Positions of the items of each pass.
    """
    if not reads_trees(student):
        return cut(lengths_of(student, prompts, *targets), costs_of(student, targets=len(targets)), most)
    by_side = [_branches(student, prompts, texts) for texts in targets]
    read_first = [branch.ids[: branch.width] for branch in by_side[0]]
    written = [sum(len(branch.ids) - branch.width for branch in item) for item in zip(*by_side, strict=True)]
    costs = costs_of(student)
    trees = groves(read_first, written, costs.attending, most)
    grown = [tree_of([side[i] for i in items for side in by_side]) for items in trees]
    passes = cut([Lengths(len(tree.ids), 0) for tree in grown], costs, _trees(trees, most))
    return [[i for number in some for i in trees[number]] for some in passes]


def _trees(trees: Sequence[Sequence[int]], most: int | None) -> int | None:
    """How many trees a pass may have, so that it has at most so many items."""
    return None if most is None else max(1, most // max(map(len, trees)))


def _branches(
    student: Student, prompts: Sequence[str], targets: Sequence[str], *, is_ended: bool = True
) -> list[Branch]:
    rows = zip(prompt_ids(student, prompts).ids, target_ids(student, targets, is_ended=is_ended).ids, strict=True)
    return [Branch([*prompt, *target], len(prompt)) for prompt, target in rows]


def plant(student: Student, branches: Sequence[Branch], attending: float) -> Forest:
    """Branches as trees (see `trees.groves`), padded to the largest one."""
    prompts = [branch.ids[: branch.width] for branch in branches]
    items = groves(prompts, [len(branch.ids) - branch.width for branch in branches], attending)
    trees: list[Tree] = [tree_of([branches[i] for i in some]) for some in items]
    width = max(len(tree.ids) for tree in trees)
    alone = [[*tree.ends, *range(len(tree.ends) + 1, width + 1)] for tree in trees]
    at = {i: (number, tree.predicted_at[n]) for number, tree in enumerate(trees) for n, i in enumerate(items[number])}
    return Forest(
        ids=pad([tree.ids for tree in trees], student.pad_id, student.device).ids,
        depths=pad([tree.depths for tree in trees], 0, student.device).ids,
        ends=torch.tensor(alone, device=student.device),
        tree_of=torch.tensor([at[i][0] for i in range(len(branches))], device=student.device),
        places=pad([at[i][1] for i in range(len(branches))], 0, student.device).ids,
        labels=pad([branch.ids[branch.width :] for branch in branches], IGNORED, student.device).ids,
        size=sum(len(tree.ids) for tree in trees),
    )


def reads_trees(student: Student) -> bool:
    """Can the student read trees? An encoder-decoder cannot; a causal model is tried out once.

    A model whose attention takes no mask of ours, or that carries more from token to token than attention does, reads
    every text in a row of its own.
    """
    if student.can_read_trees is None:
        student.can_read_trees = student.is_causal and _passes_trial(student)
        if student.is_causal and not student.can_read_trees:
            kind = student.model.config.model_type
            say(f"{kind}: its attention takes no trees, so every text is read in a row of its own")
    return student.can_read_trees


def _passes_trial(student: Student) -> bool:
    """Do four short texts that begin alike get the same log-probabilities in a tree and in rows of their own?"""
    config = student.model.config.get_text_config()
    if student.model.config._attn_implementation not in ("sdpa", "eager"):
        return False
    if not set(getattr(config, "layer_types", None) or ()) <= _MASKS:
        return False
    few = max(8, min(int(config.vocab_size), 64))
    rows = [[(7 * i + 3 * j * (i > 2) + 5) % few for i in range(6 + j)] for j in range(4)]
    branches = [Branch(row, 2 + n % 2) for n, row in enumerate(rows)]
    apart = Separate(
        pad([branch.ids[: branch.width] for branch in branches], student.pad_id, student.device, left=True),
        pad([branch.ids[branch.width :] for branch in branches], IGNORED, student.device).ids,
    )
    was_training = student.model.training
    student.model.eval()
    try:
        with torch.no_grad():
            one, other = (logps_of(student.model, way).total for way in (plant(student, branches, 0.0), apart))
        return bool(((one - other).abs() < _TOLERANCE).all())
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError):
        return False
    finally:
        student.model.train(was_training)
