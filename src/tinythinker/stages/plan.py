"""Which stages a method has, and in which order optimizer steps visit them; you can print both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TypeVar

from tinythinker.core.errors import SettingsError, expected
from tinythinker.core.records import Stage
from tinythinker.core.seeds import stream
from tinythinker.core.stored import pick

PLANS: Mapping[str, tuple[Stage, ...]] = {
    "full": (Stage.RECALL, Stage.ANALYZE, Stage.SUMMARIZE),
    "summarize": (Stage.SUMMARIZE,),
    "recall_summarize": (Stage.RECALL, Stage.SUMMARIZE),
    "analyze_summarize": (Stage.ANALYZE, Stage.SUMMARIZE),
    "cot": (Stage.REASON,),
    "multitask": (Stage.REASON, Stage.SUMMARIZE),
}
"""Stages to train, for the method, the paper's ablations and the baselines. `summarize` is fine-tuning on
labels; `cot` is single-target chain of thought (Fine-tune-CoT, Ho et al. 2023): recall, analyses and answer
in one text; `multitask` learns the label and the rationale as two tasks (Distilling step-by-step, Hsieh et
al. 2023)."""

ANSWERED_WITH: Mapping[str, tuple[Stage, ...]] = {**PLANS, "multitask": (Stage.SUMMARIZE,)}
"""Stages to answer with: the trained ones, except that a multi-task student answers without a rationale."""


def answering_plan(plan: str, wanted: str | None) -> str:
    """The plan that a student answers with: its own, or a wanted one whose stages are among its own.

    Raises:
        SettingsError: it has not learned all of the wanted stages.

    >>> answering_plan("full", None), answering_plan("full", "recall_summarize")
    ('full', 'recall_summarize')
    """
    if wanted is None or set(PLANS[wanted]) <= set(PLANS[plan]):
        return wanted or plan
    able = [other for other, stages in PLANS.items() if set(stages) <= set(PLANS[plan]) and Stage.REASON not in stages]
    wanted_here = f"one of {', '.join(able)}, or null" if able else "null"
    raise SettingsError(expected(f"setting evaluate.plan with stages.plan={plan}", wanted, wanted_here))


K = TypeVar("K", bound=str)
T = TypeVar("T")


def interleave(turn: Mapping[K, int], budget: Mapping[K, int]) -> Iterator[K]:
    """Yield the stage of every optimizer step of one epoch; the stages take turns (METHOD section 3).

    Args:
        turn: optimizer steps in each stage's turn.
        budget: optimizer steps of each stage in this epoch.

    A stage that runs out ends its turn at once; the others keep their full turns (FIDELITY, defect 5).

    Raises:
        SettingsError: a turn is shorter than one step.

    >>> "".join(stage[0] for stage in interleave({"recall": 1, "analyze": 2}, {"recall": 2, "analyze": 5}))
    'raaraaa'
    """
    if turn and min(turn.values()) < 1:
        raise SettingsError(expected("turn", dict(turn), "at least one step for every stage"))
    left = dict(budget)
    while any(left.values()):
        for stage, steps in turn.items():
            taken = min(steps, left[stage])
            left[stage] -= taken
            yield from [stage] * taken


Together = Callable[[T], object]
"""Items for which this gives the same stand next to each other in the order of training."""


def order_batches(
    items: Mapping[K, Sequence[T]],
    turn: Mapping[K, int],
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    together: Together[T] | None = None,
) -> list[tuple[K, Sequence[T]]]:
    """The batches of one epoch in training order: each stage's items shuffled and cut, stages taking turns.

    Args:
        items: what to train on, by stage.
        turn: optimizer steps in each stage's turn (see `interleave`).
        batch_size: most items in a batch; a stage's last batch may be smaller.
        together: keeps items together, which are then shuffled as groups; None: each item stands alone.
    """
    queues = {stage: iter(_batches(some, batch_size, seed, epoch, stage, together)) for stage, some in items.items()}
    budget = {stage: -(-len(some) // batch_size) for stage, some in items.items()}
    return [(stage, next(queues[stage])) for stage in interleave(turn, budget)]


def cycle_batches(
    items: Mapping[K, Sequence[T]],
    turn: Mapping[K, int],
    *,
    batch_size: int,
    seed: int,
    cycle: int,
    together: Together[T] | None = None,
) -> list[tuple[K, Sequence[T]]]:
    """The batches of one cycle in training order: every stage's whole turn, going on where its last turn ended.

    A stage whose items are used up begins them again, in a new order. The first pass over a stage's items has the
    batches that `order_batches` gives it in epoch 0.

    Args:
        cycle: its number, from 0; the rest as in `order_batches`.
    """
    made: list[tuple[K, Sequence[T]]] = []
    for stage, some in items.items():
        per_pass = -(-len(some) // batch_size)
        steps = range(cycle * turn[stage], (cycle + 1) * turn[stage])
        for number, own in groupby(steps, key=lambda step, per_pass=per_pass: step // per_pass):  # type: ignore[misc]
            batches = _batches(some, batch_size, seed, number, stage, together)
            made += [(stage, batches[step % per_pass]) for step in own]
    return made


def _batches(
    items: Sequence[T], size: int, seed: int, epoch: int, stage: str, together: Together[T] | None
) -> list[Sequence[T]]:
    groups: dict[object, list[int]] = {}
    if together is not None:
        for place, item in enumerate(items):
            groups.setdefault(together(item), []).append(place)
    every = list(groups.values())
    order = stream(seed, "shuffle", epoch, stage).permutation(len(items) if together is None else len(every))
    places = order.tolist() if together is None else [place for i in order for place in every[i]]
    return [pick(items, places[i : i + size]) for i in range(0, len(places), size)]
