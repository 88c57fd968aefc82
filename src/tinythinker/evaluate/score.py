"""Chains -> verdicts -> scores."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from scipy.stats import binomtest

from tinythinker.core.records import Chain, Question, Record, Stage, Verdict
from tinythinker.evaluate.vote import vote
from tinythinker.tasks.storeroom import Storeroom


class Interval(Record):
    """A share with its 95% Wilson score interval."""

    share: float
    low: float
    high: float


class Score(Record):
    """What a file of verdicts amounts to. Shares are in [0, 1]."""

    accuracy: float
    low: float
    """Lower end of the 95% Wilson interval of the accuracy."""
    high: float
    """Upper end."""
    n: int
    """Number of questions."""
    unreadable: float
    """Share of the questions without a readable answer; they count as wrong."""
    tokens_per_answer: float
    """Mean number of tokens generated per question, all chains together."""
    cut: float
    """Share of the questions with a prompt that was too long for the student and lost its front."""
    stopped: float
    """Share of the questions with a text that was stopped at its most tokens."""
    recall_facts: float | None = None
    """Share of the first chains' recalls that are true; None where truth cannot be checked."""
    analyze_facts: float | None = None
    """Share of the first chains' analyses that are true; None where truth cannot be checked."""
    votes: tuple[Interval, ...] = ()
    """Accuracy of the vote over the first 1, 2, ... chains of every question, all from one sampling run; empty for one
    chain."""
    first_wrong: dict[Stage, int] = Field(default_factory=dict)
    """Wrong answers by the first stage that went wrong; empty where truth cannot be checked."""


def wilson(count: int, n: int) -> Interval:
    """Share `count / n` with its 95% Wilson score interval (Wilson 1927; scipy's, without continuity correction).

    Args:
        n: at least 1.
    """
    interval = binomtest(count, n).proportion_ci(confidence_level=0.95, method="wilson")
    return Interval(share=count / n, low=float(interval.low), high=float(interval.high))


def judge(question: Question, chains: Sequence[Chain], world: Storeroom | None = None) -> Verdict:
    """The verdict on one question.

    Args:
        question: with a gold label.
        chains: one if greedy; all that vote otherwise.
        world: Storeroom's facts, to judge recall and analyze too.
    """
    answer = vote(chains)
    first = chains[0]
    recall_is_fact = analyses_are_facts = first_wrong = None
    if world is not None and first.recall is not None:
        recall_is_fact = world.recall_is_fact(question, first.recall)
    if world is not None and first.analyses:
        analyses_are_facts = tuple(
            world.analysis_is_fact(question, label, analysis)
            for label, analysis in zip(question.labels, first.analyses, strict=True)
        )
    if world is not None and answer != question.gold:
        first_wrong = Stage.SUMMARIZE
        if analyses_are_facts is not None and not all(analyses_are_facts):
            first_wrong = Stage.ANALYZE
        if recall_is_fact is False:
            first_wrong = Stage.RECALL
    return Verdict(
        question_id=question.id,
        gold=str(question.gold),
        answer=answer,
        is_correct=answer == question.gold,
        chains=tuple(chains),
        recall_is_fact=recall_is_fact,
        analyses_are_facts=analyses_are_facts,
        first_wrong_stage=first_wrong,
    )


def score(verdicts: Sequence[Verdict]) -> Score:
    """Sum verdicts up.

    Args:
        verdicts: at least one.
    """
    n = len(verdicts)
    accuracy = wilson(sum(verdict.is_correct for verdict in verdicts), n)
    recalls = [verdict.recall_is_fact for verdict in verdicts if verdict.recall_is_fact is not None]
    analyses = [fact for verdict in verdicts for fact in verdict.analyses_are_facts or ()]
    wrong = [verdict.first_wrong_stage for verdict in verdicts if verdict.first_wrong_stage is not None]
    return Score(
        accuracy=accuracy.share,
        low=accuracy.low,
        high=accuracy.high,
        n=n,
        unreadable=sum(verdict.answer is None for verdict in verdicts) / n,
        tokens_per_answer=sum(chain.count_tokens for verdict in verdicts for chain in verdict.chains) / n,
        cut=sum(any(chain.count_cut for chain in verdict.chains) for verdict in verdicts) / n,
        stopped=sum(any(chain.count_stopped for chain in verdict.chains) for verdict in verdicts) / n,
        recall_facts=sum(recalls) / len(recalls) if recalls else None,
        analyze_facts=sum(analyses) / len(analyses) if analyses else None,
        votes=tuple(vote_curve(verdicts)) if len(verdicts[0].chains) > 1 else (),
        first_wrong={stage: wrong.count(stage) for stage in Stage if stage in wrong},
    )


def vote_curve(verdicts: Sequence[Verdict]) -> list[Interval]:
    """Accuracy of the vote over each question's first k chains, for every k there are: one sampling run, all votes.

    Args:
        verdicts: at least one, each with its chains in the order they were drawn.
    """
    most = min(len(verdict.chains) for verdict in verdicts)
    return [
        wilson(sum(vote(verdict.chains[:k]) == verdict.gold for verdict in verdicts), len(verdicts))
        for k in range(1, most + 1)
    ]
