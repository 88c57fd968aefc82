from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import t, ttest_rel
from statsmodels.stats.contingency_tables import mcnemar as oracle_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from tinythinker.core.errors import DataError
from tinythinker.core.seeds import stream
from tinythinker.evaluate.score import wilson
from tinythinker.evaluate.statistics import (
    Comparison,
    bootstrap_mean,
    compare,
    corrected,
    holm,
    in_words,
    mcnemar,
    over_seeds,
)


def answers(right: str) -> dict[str, bool]:
    """Answers from text: `"110"` is right, right, wrong."""
    return {f"q{i}": letter == "1" for i, letter in enumerate(right)}


def comparison(difference: float, p: float) -> Comparison:
    return Comparison(
        difference=difference,
        low=0,
        high=0,
        p=p,
        seeds=3,
        better=0,
        worse=0,
        p_questions=1,
        low_questions=0,
        high_questions=0,
    )


def test_the_mean_over_seeds_has_the_t_interval_worked_out_by_hand() -> None:
    own = over_seeds([0.70, 0.74, 0.78])  # sd 0.04, standard error 0.04 / sqrt(3), t(2) = 4.3027
    assert own.mean == pytest.approx(0.74)
    assert own.sd == pytest.approx(0.04)
    assert (own.low, own.high) == pytest.approx((0.74 - 4.302653 * 0.0230940, 0.74 + 4.302653 * 0.0230940))


def test_one_seed_has_no_spread_and_equal_seeds_no_interval() -> None:
    assert over_seeds([0.7]).model_dump() == {"mean": 0.7, "sd": None, "low": None, "high": None, "seeds": 1}
    equal = over_seeds([0.5, 0.5])
    assert (equal.sd, equal.low, equal.high) == (0, None, None)


@pytest.mark.parametrize(("better", "worse"), [(9, 1), (1, 9), (5, 5), (0, 4), (0, 0), (37, 20)])
def test_mcnemar_agrees_with_statsmodels(better: int, worse: int) -> None:
    table = [[11, better], [worse, 7]]
    assert mcnemar(better, worse) == pytest.approx(oracle_mcnemar(table, exact=True).pvalue)


def test_mcnemar_by_hand() -> None:
    assert mcnemar(5, 0) == pytest.approx(2 / 2**5)


@pytest.mark.parametrize(("count", "n"), [(0, 10), (7, 10), (400, 400), (93, 400)])
def test_the_wilson_interval_agrees_with_statsmodels(count: int, n: int) -> None:
    own = wilson(count, n)
    assert (own.low, own.high) == pytest.approx(proportion_confint(count, n, method="wilson"))


def test_holm_agrees_with_statsmodels_and_with_a_table_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    ps = [0.2, 0.001, 0.04, 0.04, 0.9, 0.012]
    assert holm(ps) == pytest.approx(list(multipletests(ps, method="holm")[1]))
    assert holm([]) == []


def test_two_methods_are_compared_over_seeds() -> None:
    ours = {1: answers("1111"), 2: answers("1110"), 3: answers("1100")}
    theirs = {1: answers("1000"), 2: answers("1100"), 3: answers("1000"), 4: answers("1111")}
    own = compare(ours, theirs)
    assert own is not None
    test = ttest_rel([1, 0.75, 0.5], [0.25, 0.5, 0.25])
    assert own.difference == pytest.approx((0.75 + 0.25 + 0.25) / 3)
    assert own.p == pytest.approx(test.pvalue)
    low, high = test.confidence_interval()
    assert high > 1  # no difference can be
    assert (own.low, own.high) == pytest.approx((low, 1.0))
    assert (own.better, own.worse, own.seeds) == (5, 0, 3)
    assert own.p_questions == pytest.approx(2 / 2**5)


def test_one_seed_is_compared_over_questions() -> None:
    own = compare({1: answers("11111110")}, {1: answers("00000011")})
    assert own is not None
    assert own.p == own.p_questions == pytest.approx(mcnemar(6, 1))
    assert (own.low, own.high) == (own.low_questions, own.high_questions)
    assert own.low < 5 / 8 < own.high


def test_identical_differences_over_seeds_fall_back_to_the_test_over_questions() -> None:
    own = compare({1: answers("11"), 2: answers("11")}, {1: answers("10"), 2: answers("01")})
    assert own is not None
    assert own.p == own.p_questions == 0.5


def test_methods_that_share_no_seed_are_not_compared() -> None:
    assert compare({1: answers("1")}, {2: answers("1")}) is None


def test_different_questions_under_the_same_seed_are_an_error() -> None:
    with pytest.raises(DataError, match="seed 1"):
        compare({1: answers("1")}, {1: answers("11")})


@pytest.mark.parametrize(
    ("difference", "p", "words"),
    [(0.1, 0.04, "better"), (-0.1, 0.04, "worse"), (0.1, 0.051, "no significant difference")],
)
def test_nothing_is_called_better_without_significance(difference: float, p: float, words: str) -> None:
    assert in_words(comparison(difference, p)) == words


def test_the_corrected_p_decides_what_is_called_better() -> None:
    table = corrected({"a": comparison(0.1, 0.04), "b": comparison(0.1, 0.03), "c": comparison(0.2, 0.001)})
    assert [own.p_holm for own in table.values()] == pytest.approx([0.06, 0.06, 0.003])
    assert [in_words(own) for own in table.values()] == ["no significant difference"] * 2 + ["better"]


def test_the_bootstrap_interval_of_a_large_sample_is_close_to_the_normal_interval() -> None:
    rng = stream(1, "test")
    values = rng.normal(0.3, 1, 2000).tolist()
    low, high = bootstrap_mean(values, seed=0)
    half = 1.96 * np.std(values) / 2000**0.5
    assert (low, high) == pytest.approx((np.mean(values) - half, np.mean(values) + half), abs=0.1 * half)
    assert bootstrap_mean(values[:50], seed=3) == bootstrap_mean(values[:50], seed=3)


STUDIES = 2000


def coverage(covers: Callable[[np.random.Generator], bool]) -> float:
    rng = stream(7, "studies")
    return sum(covers(rng) for _ in range(STUDIES)) / STUDIES


def test_intervals_over_seeds_cover_the_true_accuracy_in_95_of_100_studies() -> None:
    def covers(rng: np.random.Generator) -> bool:
        accuracies = rng.binomial(200, np.clip(rng.normal(0.7, 0.06, 5), 0, 1)) / 200
        own = over_seeds(accuracies.tolist())
        return own.low is not None and own.high is not None and own.low <= 0.7 <= own.high

    assert 0.93 <= coverage(covers) <= 0.97


def test_intervals_over_questions_cover_the_true_accuracy_in_95_of_100_studies() -> None:
    def covers(rng: np.random.Generator) -> bool:
        own = wilson(int(rng.binomial(150, 0.62)), 150)
        return own.low <= 0.62 <= own.high

    assert 0.93 <= coverage(covers) <= 0.97


def test_bootstrap_intervals_cover_the_true_difference_in_95_of_100_studies() -> None:
    def covers(rng: np.random.Generator) -> bool:
        differences = rng.choice([1.0, 0.0, -1.0], size=200, p=[0.25, 0.6, 0.15]).tolist()
        low, high = bootstrap_mean(differences, seed=0, resamples=300)
        return low <= 0.1 <= high

    assert 0.93 <= coverage(covers) <= 0.97


def test_differences_over_seeds_cover_the_true_difference_in_95_of_100_studies() -> None:
    """Luck of a seed that both methods share must not widen the interval, nor may many questions narrow it."""
    quantile = t.ppf(0.975, 4)

    def covers(rng: np.random.Generator) -> bool:
        luck = rng.normal(0, 0.1, 5)
        ours, theirs = (rng.binomial(300, np.clip(mean + luck + rng.normal(0, 0.03, 5), 0, 1)) for mean in (0.6, 0.5))
        differences = (ours - theirs) / 300
        own = over_seeds(differences.tolist())
        half = quantile * differences.std(ddof=1) / 5**0.5
        assert own.high is not None
        assert own.high - own.mean == pytest.approx(half)
        return bool(abs(own.mean - 0.1) <= half)

    assert 0.93 <= coverage(covers) <= 0.97
