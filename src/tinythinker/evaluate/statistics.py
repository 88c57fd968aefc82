"""Intervals and tests for comparing methods.

Two sources of chance are kept apart. *Over questions*: other test questions for the same students (McNemar's
exact test, a paired bootstrap). *Over seeds*: other training runs of the method (a paired t-test on the
accuracies per seed). A claim about a method needs the second; the first holds only for the trained students.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

import numpy as np
import scipy
from pydantic import Field

from tinythinker.core.errors import DataError, expected
from tinythinker.core.records import Record
from tinythinker.core.seeds import stream

SIGNIFICANT = 0.05
"""A difference counts as significant up to this p, after correction."""

Answers = Mapping[str, bool]
"""Whether each question was answered correctly, by question id."""


class OverSeeds(Record):
    """A figure over seeds: mean, spread, and confidence interval of the mean."""

    mean: float
    sd: float | None
    """Sample standard deviation; None for one seed."""
    low: float | None
    """Lower end of the 95% t interval of the mean; None for one seed, or if all seeds agree."""
    high: float | None
    seeds: int = Field(ge=1)


def over_seeds(values: Sequence[float]) -> OverSeeds:
    """Mean, standard deviation and 95% t interval of one figure per seed (seeds as a random effect).

    Args:
        values: at least one.
    """
    if len(values) == 1:
        return OverSeeds(mean=values[0], sd=None, low=None, high=None, seeds=1)
    sd = stdev(values)
    low = high = None
    if len(set(values)) > 1:
        interval = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
        low, high = float(interval.low), float(interval.high)
    return OverSeeds(mean=fmean(values), sd=sd, low=low, high=high, seeds=len(values))


def mcnemar(better: int, worse: int) -> float:
    """Exact two-sided p of McNemar's test (McNemar 1947, with the binomial distribution).

    Args:
        better: questions that only the first method answered right.
        worse: questions that only the second method answered right.
    """
    return float(scipy.stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0


def bootstrap_mean(differences: Sequence[float], seed: int, *, resamples: int = 9999) -> tuple[float, float]:
    """95% percentile bootstrap interval of the mean of paired differences (Efron 1979)."""
    if len(set(differences)) == 1:
        return differences[0], differences[0]
    interval = scipy.stats.bootstrap(
        (np.asarray(differences),),
        np.mean,
        n_resamples=resamples,
        batch=200,
        method="percentile",
        rng=stream(seed, "bootstrap"),
    ).confidence_interval
    return float(interval.low), float(interval.high)


class Comparison(Record):
    """One method against another, on the same questions and seeds; shares in [0, 1]."""

    difference: float
    """Accuracy of the first minus that of the second, mean over seeds."""
    low: float
    """Lower end of the 95% interval: over seeds if there are two or more, else over questions."""
    high: float
    p: float
    """Over seeds (paired t) if there are two or more and they differ, else over questions (McNemar)."""
    p_holm: float | None = None
    """`p` after Holm's correction for all comparisons in the same table; None before correction."""
    seeds: int
    better: int
    """Questions that only the first method answered right, over all seeds."""
    worse: int
    p_questions: float
    """McNemar's exact p over all questions of all seeds: it compares these students, not the methods."""
    low_questions: float
    """Lower end of the 95% paired bootstrap interval over questions."""
    high_questions: float


def compare(ours: Mapping[int, Answers], theirs: Mapping[int, Answers], seed: int = 0) -> Comparison | None:
    """Compare two methods on the seeds they share; None if they share none.

    Args:
        ours: answers by seed.
        theirs: answers by seed.
        seed: for the bootstrap.

    Raises:
        DataError: the two methods have different questions for a shared seed.
    """
    seeds = [number for number in ours if number in theirs]
    if not seeds:
        return None
    by_seed: list[float] = []
    pairs: list[tuple[bool, bool]] = []
    for number in seeds:
        if ours[number].keys() != theirs[number].keys():
            raise DataError(
                expected(f"seed {number}, questions of the two methods", "different ones", "the same questions")
            )
        both = [(right, theirs[number][id_]) for id_, right in ours[number].items()]
        by_seed.append(fmean(a - b for a, b in both))
        pairs += both
    better, worse = pairs.count((True, False)), pairs.count((False, True))
    p_questions = mcnemar(better, worse)
    low_questions, high_questions = bootstrap_mean([float(a) - float(b) for a, b in pairs], seed)
    low, high, p = low_questions, high_questions, p_questions
    if len(set(by_seed)) > 1:
        test = scipy.stats.ttest_1samp(by_seed, 0.0)
        interval = test.confidence_interval(0.95)
        low, high, p = float(interval.low), float(interval.high), float(test.pvalue)
    return Comparison(
        difference=fmean(by_seed),
        low=max(-1.0, low),
        high=min(1.0, high),
        p=p,
        seeds=len(seeds),
        better=better,
        worse=worse,
        p_questions=p_questions,
        low_questions=low_questions,
        high_questions=high_questions,
    )


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Holm 1979): p values that hold for all comparisons of a table jointly."""
    corrected = [0.0] * len(ps)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[i]))
        corrected[i] = largest
    return corrected


def corrected(comparisons: Mapping[str, Comparison]) -> dict[str, Comparison]:
    """The comparisons of one table, with Holm-corrected p."""
    ps = holm([comparison.p for comparison in comparisons.values()])
    return {
        name: comparison.model_copy(update={"p_holm": p})
        for (name, comparison), p in zip(comparisons.items(), ps, strict=True)
    }


def in_words(comparison: Comparison) -> str:
    """`better`, `worse` or `no significant difference`: nothing is called better at p > 0.05."""
    p = comparison.p if comparison.p_holm is None else comparison.p_holm
    if p > SIGNIFICANT:
        return "no significant difference"
    return "better" if comparison.difference > 0 else "worse"
