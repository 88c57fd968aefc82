"""Self-consistency: many chains, one answer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tinythinker.core.records import Chain


def vote(chains: Sequence[Chain]) -> str | None:
    """The answer most chains agree on (METHOD section 5).

    Unreadable answers never vote. A tie goes to the label whose chains found their answer likelier, the probabilities
    summed (chains that were not scored count 0), then to the earlier label.

    Returns:
        The label, or None if no chain was readable.
    """
    readable = [chain for chain in chains if chain.answer is not None]
    labels = sorted({str(chain.answer) for chain in readable})

    def weight(label: str) -> tuple[int, float]:
        own = [chain for chain in readable if chain.answer == label]
        return len(own), math.fsum(math.exp(chain.answer_logp) for chain in own if chain.answer_logp is not None)

    return max(labels, key=weight, default=None)
