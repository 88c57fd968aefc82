"""A table of a page, and what stands in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """A text that leads somewhere."""

    text: str
    href: str


Cell = str | Sequence[Link]
"""A text, or links next to each other."""


@dataclass(frozen=True)
class Cards:
    """A table of a page; on a narrow screen each row is a card."""

    title: str
    """What it holds, for screen readers."""
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    """Its first cell names the row; the last cell of a shorter row takes the place of all that are missing."""


def percent(share: float | None) -> str:
    """A share in percent, or a dash if there is none.

    >>> percent(0.5), percent(None)
    ('50.0%', '–')
    """
    return "–" if share is None else f"{100 * share:.1f}%"


def interval(low: float | None, high: float | None) -> str:
    """Both ends of an interval in percent, or a dash if there is none.

    >>> interval(0.25, 0.5)
    '25.0 to 50.0'
    """
    return "–" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def large(number: float) -> str:
    """A number that may have very many digits.

    >>> large(0), large(725), large(1.494e12)
    ('0', '725', '1.49 × 10¹²')
    """
    if number < 1e6:
        return f"{number:,.0f}"
    digits, _, power = f"{number:.2e}".partition("e")
    return f"{digits} × 10{str(int(power)).translate(_RAISED)}"


def p_value(p: float) -> str:
    """The p of a test.

    >>> p_value(0.0123), p_value(0.00002)
    ('0.012', '2.0e-05')
    """
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"
