"""Chains -> preference pairs (METHOD section 4). Pure functions of what the student wrote; no model in sight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from tinythinker.core.records import Chain, PreferencePair, Question, Record, Stage
from tinythinker.stages.template import Template

T = TypeVar("T")


class PairCounts(Record):
    """What a round sampled and what pairs it made of that."""

    questions: int
    """Questions that were sampled on."""
    questions_with_pairs: int
    samples: int
    """Chains drawn with another recall each, and with other analyses each."""
    repeated: int
    """Samples that say what another sample in the same place says."""
    unreadable: int
    """Samples whose answer could not be read."""
    recall_pairs: int
    analyze_pairs: int
    from_teacher: int
    """Pairs whose chosen text is the teacher's."""
    replayed: int
    """Pairs of earlier rounds that are trained on, too, and that the round has not made again."""
    chosen_tokens: float
    """Mean length of the chosen texts."""
    rejected_tokens: float
    """Mean length of the rejected texts. Much longer or shorter ones are what a student learns to avoid instead."""


def solved(chains: Sequence[Chain], question: Question) -> float:
    """Share of the chains that reached the gold label."""
    return sum(chain.answer == question.gold for chain in chains) / len(chains)


def share_out(budget: int, shares: Sequence[float], most: int) -> list[int]:
    """Spend more samples on the questions that are neither always solved nor always failed, all alike.

    Args:
        budget: samples there are; what the uncertain questions cannot take stays unspent.
        shares: by question, the share of its first samples that reached the gold label.
        most: samples that one question can have.

    >>> share_out(7, [0.0, 0.5, 1.0, 0.25], most=10)
    [0, 4, 0, 3]
    """
    uncertain = [i for i, share in enumerate(shares) if 0 < share < 1]
    spent = [0] * len(shares)
    for rank, i in enumerate(uncertain):
        spent[i] = min((budget - rank - 1) // len(uncertain) + 1, most)
    return spent


def recall_pairs(
    question: Question,
    chains: Sequence[Chain],
    teacher_recalls: Sequence[str],
    template: Template,
    rng: np.random.Generator,
    *,
    on_policy: float = 1.0,
) -> list[PreferencePair]:
    """Pairs of recalls: one that led to the gold label, one that did not.

    Equal texts count once; a text on both sides is dropped from both. No rejected: no pair. More chosen than rejected:
    the rejected are re-drawn with replacement up to the number of chosen. Fewer: the teacher's recalls of the question
    (those that are not among the rejected) fill up the chosen as far as they go; what is still short makes no pair.

    Args:
        chains: sampled recalls with greedy analyses and summary.
        teacher_recalls: the teacher's recalls of this question; empty if it has none.
        on_policy: share of the chosen that stay the student's own; the others give way to the teacher's.
    """
    chosen, rejected = chosen_and_rejected(chains, question)
    if not rejected:
        return []
    spare = [text for text in dict.fromkeys(teacher_recalls) if text not in chosen and text not in rejected]
    spare = [spare[i] for i in rng.permutation(len(spare))]
    if foreign := spare[: len(chosen) - round(on_policy * len(chosen))]:
        chosen = _stretched(chosen, len(chosen), rng)[len(foreign) :]
        spare = spare[len(foreign) :]
    fill = [*foreign, *spare[: max(0, len(rejected) - len(chosen) - len(foreign))]]
    winners = [*chosen, *fill]
    losers = _stretched(rejected, len(winners), rng)
    prompt = template.recall_prompt(question)
    return [
        PreferencePair(
            question_id=question.id,
            stage=Stage.RECALL,
            prompt=prompt,
            chosen=winner,
            rejected=loser,
            is_from_teacher=i >= len(chosen),
        )
        for i, (winner, loser) in enumerate(zip(winners, losers, strict=False))
    ]


def chosen_and_rejected(chains: Sequence[Chain], question: Question) -> tuple[list[str], list[str]]:
    """The distinct recalls that led to the gold label and those that did not, without those that did both."""
    right = list(dict.fromkeys(chain.recall or "" for chain in chains if chain.answer == question.gold))
    wrong = list(dict.fromkeys(chain.recall or "" for chain in chains if chain.answer != question.gold))
    return [text for text in right if text and text not in wrong], [
        text for text in wrong if text and text not in right
    ]


def analyze_pairs(
    question: Question, chains: Sequence[Chain], template: Template, rng: np.random.Generator
) -> list[PreferencePair]:
    """Pairs of analyses under one recall: from a set that led to the gold label, and from one that did not.

    Each couple of sets gives the analyses of the gold option and of the wrongly picked option. Equal sets count once;
    sets on both sides are dropped; unreadable answers are left out. The shorter side is topped up by re-drawing from it
    with replacement (FIDELITY, defect 6). Couples that agree on an analysis give no pair of it.

    Args:
        chains: sampled analyses under one and the same recall, with greedy summaries.
    """
    right = {chain.analyses: chain for chain in chains if chain.answer == question.gold}
    wrong = {chain.analyses: chain for chain in chains if chain.answer is not None and chain.answer != question.gold}
    chosen = [chain for analyses, chain in right.items() if analyses not in wrong]
    rejected = [chain for analyses, chain in wrong.items() if analyses not in right]
    if not chosen or not rejected:
        return []
    count = max(len(chosen), len(rejected))
    pairs: dict[PreferencePair, None] = {}
    for winner, loser in zip(_stretched(chosen, count, rng), _stretched(rejected, count, rng), strict=True):
        for label in (question.gold, loser.answer):
            i = question.labels.index(str(label))
            if winner.analyses[i] != loser.analyses[i] and winner.analyses[i] and loser.analyses[i]:
                pair = PreferencePair(
                    question_id=question.id,
                    stage=Stage.ANALYZE,
                    prompt=template.analyze_prompt(question, winner.recall, question.labels[i]),
                    chosen=winner.analyses[i],
                    rejected=loser.analyses[i],
                )
                pairs[pair] = None
    return list(pairs)


def _stretched(items: Sequence[T], count: int, rng: np.random.Generator) -> list[T]:
    """The items in a random order, then as many re-drawn with replacement as are missing to `count`."""
    shuffled = [items[i] for i in rng.permutation(len(items))]
    extra = [items[i] for i in rng.integers(len(items), size=max(0, count - len(items)))]
    return [*shuffled, *extra]
