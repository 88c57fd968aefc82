"""How long a server asks us to wait: in headers, in words, or as the time when a limit is lifted."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(
    r"(?P<amount>\d{1,9}(?:\.\d{1,9})?)\s*"
    r"(?P<unit>ms|milliseconds?|s|sec(?:ond)?s?|m|min(?:ute)?s?|h|hours?|d|days?)(?![a-z])\s*",
    re.I,
)
_ASKS = re.compile(r"(?:try\s+again|retry)\s+(?:\w+\s+)?(?:in|after)\s+(?:about\s+)?", re.I)
_FIELD = re.compile(r"\"retry_?(?:delay|after)(?:_seconds)?\"\s*:\s*\"?(?P<number>\d{1,9}(?:\.\d{1,9})?)s?\b", re.I)
_RESET = re.compile(r"(?:x-)?ratelimit-reset(?:-\w+)?$")
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 1e9, 1e12
"""Numbers from here on are points in time."""


def asked_wait(status: int, headers: Mapping[str, str], said: str) -> float | None:
    """Seconds that a server asks us to wait before the next try; None if it does not say.

    Args:
        status: where it is 429, the headers that say when a limit is lifted count too.
        headers: names in small letters.
        said: the body of the answer.
    """
    for wait in (retry_after(headers), wait_in_words(said), reset_after(headers) if status == 429 else None):
        if wait is not None:
            return wait
    return None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds by the header `Retry-After`; None if it is missing or means nothing.

    RFC 9110, section 10.2.3: a number or a date; some servers send milliseconds.

    >>> retry_after({"retry-after": "2.5"})
    2.5
    """
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        return max(0.0, float(headers["retry-after"]))
    except KeyError:
        return None
    except ValueError:
        pass
    try:
        date = parsedate_tz(headers.get("retry-after", ""))
        return None if date is None else max(0.0, mktime_tz(date) - time.time())
    except (ValueError, OverflowError):
        return None


def wait_in_words(said: str) -> float | None:
    """Seconds by the words of an error; None if they ask for no wait.

    >>> wait_in_words("Rate limit reached. Please try again in 1m5.2s."), wait_in_words('{"retryDelay": "45.8s"}')
    (65.2, 45.8)
    """
    for asks in _ASKS.finditer(said):
        if (seconds := _span(said, asks.end())) is not None:
            return seconds
    field = _FIELD.search(said)
    return float(field["number"]) if field else None


def reset_after(headers: Mapping[str, str]) -> float | None:
    """Seconds until a rate limit is lifted: the longest of the limits that are used up, else the shortest.

    >>> reset_after({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"})
    360.0
    """
    used_up: list[float] = []
    others: list[float] = []
    for name, value in headers.items():
        if _RESET.match(name) and (seconds := _until(value)) is not None:
            left = headers.get(name.replace("-reset", "-remaining"), "").strip()
            (used_up if left == "0" else others).append(seconds)
    return max(used_up) if used_up else min(others, default=None)


def _until(value: str) -> float | None:
    """Seconds of a header: a span, a number of seconds, or a point in time."""
    try:
        number = float(value)
    except ValueError:
        return _span(value)
    if number >= _EPOCH_SECONDS:
        number = number / (1000 if number >= _EPOCH_MILLISECONDS else 1) - time.time()
    return max(0.0, number)


def _span(text: str, at: int = 0) -> float | None:
    """Seconds of a span of time such as `1m26.4s` or `120 ms` that begins at a place; None if none does."""
    seconds = None
    while part := _SPAN.match(text, at):
        unit = part["unit"].lower()
        unit = "ms" if unit.startswith(("ms", "milli")) else unit[0]
        seconds = (seconds or 0.0) + float(part["amount"]) * _SECONDS[unit]
        at = part.end()
    return seconds
