from __future__ import annotations

import time

import pytest

from tinythinker.teacher.llm.waits import asked_wait, reset_after, wait_in_words


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (
            "Rate limit reached for gpt-4o on requests per min (RPM): Limit 3. Please try again in 20s.",
            20,
        ),
        ("Please try again in 6m0s. Visit https://x/limits", 360),
        ("Please try again in 1m26.4s", 86.4),
        ("please try again in 120ms", 0.12),
        ("Please retry in 45.8s.", 45.8),
        ("Please retry after 6 seconds.", 6),
        ("Try again in about 2 minutes", 120),
        ('{"error": {"details": [{"@type": "RetryInfo", "retryDelay": "45.8s"}]}}', 45.8),
        ('{"retry_after": 3}', 3),
        ("slow down", None),
        ("try again later", None),
        ("Limit 3 per 5 min. Try again.", None),
    ],
)
def test_a_wait_is_read_from_the_words_of_an_error(said: str, seconds: float | None) -> None:
    assert wait_in_words(said) == (seconds if seconds is None else pytest.approx(seconds))


def test_only_limits_that_are_used_up_count() -> None:
    limits = {
        "x-ratelimit-remaining-requests": "14",
        "x-ratelimit-reset-requests": "2h30m",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "7.66s",
    }
    assert reset_after(limits) == pytest.approx(7.66)
    assert reset_after({**limits, "x-ratelimit-remaining-requests": "0"}) == pytest.approx(9_000)
    assert reset_after({**limits, "x-ratelimit-remaining-tokens": "3"}) == pytest.approx(7.66)  # the sooner one
    assert reset_after({"content-type": "json"}) is None


def test_a_reset_may_be_a_point_in_time() -> None:
    for factor in (1, 1000):
        late = reset_after({"x-ratelimit-reset": str(round((time.time() + 50) * factor))})
        assert late == pytest.approx(50, abs=2)


def test_the_header_comes_before_the_words_and_these_before_the_limits() -> None:
    headers = {"retry-after": "2", "x-ratelimit-reset-tokens": "9s"}
    assert asked_wait(429, headers, "try again in 5s") == 2
    assert asked_wait(429, {"x-ratelimit-reset-tokens": "9s"}, "try again in 5s") == 5
    assert asked_wait(429, {"x-ratelimit-reset-tokens": "9s"}, "busy") == 9
    assert asked_wait(503, {"x-ratelimit-reset-tokens": "9s"}, "busy") is None
