"""Chains -> verdicts -> scores."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import scipy
from pydantic import Field

from tinythinker.core.records import Chain, Question, Record, Stage, Verdict
from tinythinker.evaluate.vote import vote
from tinythinker.settings.schema import EvaluateSettings
from tinythinker.tasks.benchmark import Facts


class Interval(Record):
    """A share with its 95% Wilson score interval."""

    share: float
    low: float
    high: float


class Score(Record):
    """Summary of a file of verdicts. Shares are in [0, 1]."""

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
    """Mean number of tokens generated per question, over all its chains."""
    cut: float
    """Share of the questions with a prompt that was too long for the student and was cut."""
    stopped: float
    """Share of the questions with a text that was stopped at its token limit."""
    recall_facts: float | None = None
    """Share of the first chains' recalls that are true; None if truth cannot be checked."""
    analyze_facts: float | None = None
    """Share of the first chains' analyses that are true; None if truth cannot be checked."""
    votes: tuple[Interval, ...] = ()
    """Accuracy of the vote over the first 1, 2, ... chains of every question, all from one sampling run;
    empty if there is only one chain."""
    first_wrong: dict[Stage, int] = Field(default_factory=dict)
    """Count of wrong answers by the first stage that went wrong; empty if truth cannot be checked."""

    @property
    def interval(self) -> Interval:
        """The accuracy with its interval."""
        return Interval(share=self.accuracy, low=self.low, high=self.high)


def wilson(count: int, n: int) -> Interval:
    """Share `count / n` with its 95% Wilson score interval (Wilson 1927; scipy's, without continuity correction).

    Args:
        n: at least 1.
    """
    interval = scipy.stats.binomtest(count, n).proportion_ci(confidence_level=0.95, method="wilson")
    return Interval(share=count / n, low=float(interval.low), high=float(interval.high))


def verdicts_name(student: str, settings: EvaluateSettings) -> str:
    """Name of a verdicts file: which student, split and way of answering.

    Such as `round-1.test.greedy`, or `round-1.test.greedy.summarize` if it answers with only some of its stages.
    """
    how = "greedy" if settings.votes == 1 else f"vote-{settings.votes}-at-{settings.temperature:g}"
    return f"{student}.{settings.split}.{how}" + (f".{settings.plan}" if settings.plan else "")


class Way(NamedTuple):
    """Which student answered which questions, and how."""

    student: str
    split: str
    votes: int
    temperature: str | None
    """Of the sampling; None if it answered greedily."""
    plan: str | None
    """The stages it answered with; None: all of its own."""


_HOW = re.compile(r"(?:greedy|vote-(\d+)-at-([\d.e+-]+?))(?:\.([a-z_]+))?")


def way_of(name: str) -> Way:
    """What the name of a verdicts file says.

    >>> way_of("round-1.test.vote-10-at-0.7.summarize")
    Way(student='round-1', split='test', votes=10, temperature='0.7', plan='summarize')
    """
    student, split, how = name.split(".", 2)
    found = _HOW.fullmatch(how)
    votes, temperature, plan = found.groups() if found else (None, None, how)
    return Way(student, split, int(votes or 1), temperature, plan)


def judge(question: Question, chains: Sequence[Chain], facts: Facts | None = None) -> Verdict:
    """The verdict on one question.

    Args:
        question: with a gold label.
        chains: one if greedy, otherwise all that vote.
        facts: of the benchmark, to judge recall and analyses too; None judges the answer only.
    """
    answer = vote(chains)
    first = chains[0]
    recall_is_fact = analyses_are_facts = first_wrong = None
    if facts is not None:
        recall_is_fact = None if first.recall is None else facts.recall_is_fact(question, first.recall)
        analyses_are_facts = _judged(question, first.analyses, facts)
        first_wrong = None if answer == question.gold else _first_wrong(recall_is_fact, analyses_are_facts)
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


def _judged(question: Question, analyses: Sequence[str], facts: Facts) -> tuple[bool, ...] | None:
    """Is each analysis true? None if there are none."""
    if not analyses:
        return None
    by_label = zip(question.labels, analyses, strict=True)
    return tuple(facts.analysis_is_fact(question, label, analysis) for label, analysis in by_label)


def _first_wrong(recall_is_fact: bool | None, analyses_are_facts: Sequence[bool] | None) -> Stage | None:
    """The first stage that went wrong on the way to a wrong answer; None for an answer without stages before it."""
    if recall_is_fact is None and analyses_are_facts is None:
        return None
    if recall_is_fact is False:
        return Stage.RECALL
    if analyses_are_facts is not None and not all(analyses_are_facts):
        return Stage.ANALYZE
    return Stage.SUMMARIZE


def first_wrong_stage(verdict: Verdict) -> Stage | None:
    """The first stage that went wrong; None if the answer is right, or no stage before it could be checked.

    Version 0.1 named a stage also for students that have only one.
    """
    has_stages = verdict.recall_is_fact is not None or verdict.analyses_are_facts is not None
    return verdict.first_wrong_stage if has_stages else None


def score(verdicts: Sequence[Verdict]) -> Score:
    """Sum up verdicts.

    Args:
        verdicts: at least one.
    """
    n = len(verdicts)
    accuracy = wilson(sum(verdict.is_correct for verdict in verdicts), n)
    recalls = [verdict.recall_is_fact for verdict in verdicts if verdict.recall_is_fact is not None]
    analyses = [fact for verdict in verdicts for fact in verdict.analyses_are_facts or ()]
    wrong = [stage for verdict in verdicts if (stage := first_wrong_stage(verdict)) is not None]
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
    """Accuracy of the vote over each question's first k chains, for k = 1, 2, ...; all from one sampling run.

    Args:
        verdicts: at least one, each with its chains in the order they were drawn.
    """
    most = min(len(verdict.chains) for verdict in verdicts)
    return [
        wilson(sum(vote(verdict.chains[:k]) == verdict.gold for verdict in verdicts), len(verdicts))
        for k in range(1, most + 1)
    ]
