"""Self-consistency: many chains, one answer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from tinythinker.core.records import Chain


def vote(chains: Sequence[Chain]) -> str | None:
    """The answer most chains agree on (METHOD section 5).

    Unreadable answers never vote. A tie goes to the label whose chains give their answer the larger sum of
    probabilities (an unscored chain adds 0), then to the earlier label.

    Returns:
        The label, or None if no chain was readable.
    """
    readable = [chain for chain in chains if chain.answer is not None]
    labels = sorted({str(chain.answer) for chain in readable})

    def weight(label: str) -> tuple[int, float]:
        votes = [chain for chain in readable if chain.answer == label]
        return len(votes), math.fsum(math.exp(chain.answer_logp) for chain in votes if chain.answer_logp is not None)

    return max(labels, key=weight, default=None)


def tally(chains: Sequence[Chain]) -> str:
    """How many chains gave each answer, the most common first: `B 7, A 2, unreadable 1`."""
    counts = Counter(chain.answer or "unreadable" for chain in chains)
    return ", ".join(f"{answer} {count}" for answer, count in counts.most_common())
