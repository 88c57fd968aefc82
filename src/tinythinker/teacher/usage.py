"""What asking a teacher has really used: `teacher/usage.json`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from tinythinker.core.files import read_record
from tinythinker.core.records import Record


class Price(Record):
    """US dollars per million tokens."""

    input: float
    cached: float
    """Of prompt tokens that the provider had in its cache."""
    output: float

    def of(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        """Cost in US dollars; `cached_tokens` are part of `prompt_tokens`.

        >>> Price(input=5, cached=5, output=15).of(1_000_000, 100_000)
        6.5
        """
        paid = (prompt_tokens - cached_tokens) * self.input + cached_tokens * self.cached
        return (paid + completion_tokens * self.output) / 1e6


class Lost(Record):
    """Upper bound on what was billed without a readable answer."""

    tokens: int = 0
    cost: float = 0.0
    """US dollars; 0 where the price is not known."""


class Usage(Record):
    """Tokens and money of all calls on a run directory together. Sources other than a language model cost nothing."""

    source: str
    model: str | None = None
    cost: float | None
    """US dollars; None if the price is not known."""
    requests: int = 0
    completions: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    """Completion tokens spent on thinking, as far as the endpoint says."""
    uncounted_requests: int = 0
    """Requests whose tokens the endpoint did not count; they are estimated."""
    failed_tries: dict[str, int] = Field(default_factory=dict)
    """By kind."""
    lost_tokens: int = 0
    """Upper bound, on top of the sums: tries that may have been billed without a readable answer."""
    lost_cost: float | None = None
    price_per_million_tokens: Price | None = None
    price_source: str | None = None


def read_usage(path: Path) -> Usage | None:
    """`usage.json` as it was written; None if there is none. Raises DataError."""
    return read_record(path, Usage) if path.exists() else None
