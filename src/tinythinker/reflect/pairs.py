"""From chains to preference pairs (METHOD section 4): pure functions of texts, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple, TypeVar

import numpy as np

from tinythinker.core.records import Chain, PreferencePair, Question, Record, Stage
from tinythinker.core.text import finished
from tinythinker.stages.template import Template

T = TypeVar("T")


class PairCounts(Record):
    """What a round sampled, and the pairs it made from that."""

    questions: int
    """Questions that chains were sampled for."""
    questions_with_pairs: int
    samples: int
    """Sampled chains: those with a sampled recall plus those with sampled analyses."""
    repeated: int
    """Samples that repeat another sample of the same question (recalls) or of the same recall (analyses)."""
    unreadable: int
    """Samples with an unreadable answer."""
    recall_pairs: int
    analyze_pairs: int
    summarize_pairs: int = 0
    from_teacher: int
    """Pairs whose chosen text the teacher wrote."""
    replayed: int
    """Pairs of earlier rounds that this round also trains on and did not make again."""
    chosen_tokens: float
    """Mean length of the chosen texts, in tokens."""
    rejected_tokens: float
    """Mean length of the rejected texts, in tokens. If the two lengths differ a lot, the student may learn to
    avoid a length instead of a mistake."""

    @property
    def pairs(self) -> int:
        """Pairs of all stages."""
        return self.recall_pairs + self.analyze_pairs + self.summarize_pairs

    def in_words(self) -> str:
        """Such as `120 recall and 80 analyze pairs`; summarize pairs only where there are any."""
        answers = f", {self.summarize_pairs:,} summarize pairs" if self.summarize_pairs else ""
        return f"{self.recall_pairs:,} recall and {self.analyze_pairs:,} analyze pairs{answers}"


def solved(chains: Sequence[Chain], question: Question) -> float:
    """Share of the chains that reached the gold label."""
    return sum(chain.answer == question.gold for chain in chains) / len(chains)


def share_out(budget: int, shares: Sequence[float], most: int) -> list[int]:
    """Extra samples per question: spread evenly over the questions that are solved only sometimes.

    If the budget does not divide evenly, earlier questions get one more.

    Args:
        budget: extra samples in total; those that the uncertain questions cannot take are not spent.
        shares: for every question, the share of its first samples that reached the gold label.
        most: maximum extra samples for one question.

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
    is_over_all: bool = False,
) -> list[PreferencePair]:
    """Pairs of recalls: one that led to the gold label, one that did not.

    Equal texts count once, and a text on both sides is dropped from both. Without rejected texts there are no
    pairs. If there are more chosen than rejected texts, rejected ones are re-drawn with replacement until the
    numbers match. If there are fewer, the teacher's recalls of the question (those on neither side) are added
    to the chosen; rejected texts that still have no partner are left out.

    Args:
        chains: chains with a sampled recall, greedy analyses and a greedy summary.
        teacher_recalls: the teacher's recalls of this question; empty if there are none.
        on_policy: share of the chosen texts that the student wrote; the teacher's recalls replace the others.
        is_over_all: pair every chosen text with every rejected one, and leave the teacher out.
    """
    chosen, rejected = chosen_and_rejected(chains, question)
    prompt = template.recall_prompt(question)
    if is_over_all:
        return [
            PreferencePair(question_id=question.id, stage=Stage.RECALL, prompt=prompt, chosen=winner, rejected=loser)
            for winner, loser in product(chosen, rejected)
        ]
    if not rejected:
        return []
    known = dict.fromkeys(map(finished, teacher_recalls))
    spare = [text for text in known if text not in chosen and text not in rejected]
    spare = [spare[i] for i in rng.permutation(len(spare))]
    if foreign := spare[: len(chosen) - round(on_policy * len(chosen))]:
        chosen = _stretched(chosen, len(chosen), rng)[len(foreign) :]
        spare = spare[len(foreign) :]
    fill = [*foreign, *spare[: max(0, len(rejected) - len(chosen) - len(foreign))]]
    winners = [*chosen, *fill]
    losers = _stretched(rejected, len(winners), rng)
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
    """The distinct recalls that led to the gold label, and those that did not, except those in both.

    Each ends with a full stop, so "X" and "X." are one text. A blank recall is on neither side.
    """
    right = dict.fromkeys(_told(chain.recall) for chain in chains if chain.answer == question.gold)
    wrong = dict.fromkeys(_told(chain.recall) for chain in chains if chain.answer != question.gold)
    return [text for text in right if text and text not in wrong], [
        text for text in wrong if text and text not in right
    ]


def _told(text: str | None) -> str:
    """A sampled text with its full stop; blank if nothing was said."""
    return finished(text) if text and text.strip() else ""


class Backup(NamedTuple):
    """Analyses that may stand in as chosen where no drawn set led to the gold label (`reflect.fallback`)."""

    analyses: tuple[str, ...]
    is_from_teacher: bool


def analyze_pairs(
    question: Question,
    chains: Sequence[Chain],
    template: Template,
    rng: np.random.Generator,
    backups: Sequence[Backup] = (),
    *,
    is_over_all: bool = False,
) -> list[PreferencePair]:
    """Pairs of analyses under one recall: from a set that led to the gold label, and from one that did not.

    Each couple of sets gives two pairs: the analyses of the gold option, and those of the option that was
    wrongly picked. Equal sets count once, sets on both sides are dropped, and so are sets with an unreadable
    answer. The shorter side is filled up by re-drawing from it with replacement (FIDELITY, defect 6). If the
    two sets of a couple have the same analysis of an option, that analysis gives no pair.

    Args:
        chains: chains with sampled analyses, all under the same recall, and a greedy summary.
        backups: sets to choose from if none of these led to the gold label.
        is_over_all: make a couple of every chosen set and every rejected one, all of them drawn.
    """
    sets = [(tuple(map(_told, chain.analyses)), chain.answer) for chain in chains if chain.answer is not None]
    right = dict.fromkeys(analyses for analyses, answer in sets if answer == question.gold)
    wrong = {analyses: answer for analyses, answer in sets if answer != question.gold}
    drawn = [Backup(analyses, is_from_teacher=False) for analyses in right if analyses not in wrong]
    spare = [Backup(tuple(map(_told, backup.analyses)), backup.is_from_teacher) for backup in backups]
    chosen = (
        drawn if drawn or is_over_all else [backup for backup in dict.fromkeys(spare) if backup.analyses not in wrong]
    )
    rejected = [(analyses, answer) for analyses, answer in wrong.items() if analyses not in right]
    if not chosen or not rejected:
        return []
    count = max(len(chosen), len(rejected))
    matched = zip(_stretched(chosen, count, rng), _stretched(rejected, count, rng), strict=True)
    pairs: dict[PreferencePair, None] = {}
    for winner, (lost, answer) in product(chosen, rejected) if is_over_all else matched:
        for label in (question.gold, answer):
            i = question.labels.index(str(label))
            if winner.analyses[i] != lost[i] and winner.analyses[i] and lost[i]:
                pair = PreferencePair(
                    question_id=question.id,
                    stage=Stage.ANALYZE,
                    prompt=template.analyze_prompt(question, chains[0].recall, question.labels[i]),
                    chosen=winner.analyses[i],
                    rejected=lost[i],
                    is_from_teacher=winner.is_from_teacher,
                )
                pairs[pair] = None
    return list(pairs)


def summarize_pairs(
    question: Question, chains: Sequence[Chain], template: Template, rng: np.random.Generator
) -> list[PreferencePair]:
    """Pairs of answers under the student's own reasoning: the gold option, and another one.

    The other one is what the chain answered or, where it was right or unreadable, drawn from the rest. In phase 1 the
    student answers from the teacher's reasoning alone; here it learns how far to trust its own. Equal prompts give one
    pair, and an option with the gold option's text gives none. Not in the paper.

    Args:
        chains: those that were sampled on this question.
    """
    right = template.conclusion(question, str(question.gold))
    others = [label for label in question.labels if template.conclusion(question, label) != right]
    made: dict[str, PreferencePair] = {}
    for chain in chains if others else ():
        prompt = template.summarize_prompt(question, chain.recall, chain.analyses)
        label = chain.answer if chain.answer in others else others[int(rng.integers(len(others)))]
        wrong = template.conclusion(question, str(label))
        pair = PreferencePair(
            question_id=question.id, stage=Stage.SUMMARIZE, prompt=prompt, chosen=right, rejected=wrong
        )
        made.setdefault(prompt, pair)
    return list(made.values())


def _stretched(items: Sequence[T], count: int, rng: np.random.Generator) -> list[T]:
    """All items in random order, then more re-drawn with replacement until there are at least `count`."""
    shuffled = [items[i] for i in rng.permutation(len(items))]
    extra = [items[i] for i in rng.integers(len(items), size=max(0, count - len(items)))]
    return [*shuffled, *extra]
