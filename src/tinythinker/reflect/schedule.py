"""In which order a round's training visits its pairs: whose turn it is, and for how many steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from tinythinker.core.records import PreferencePair, Stage
from tinythinker.settings.schema import ReflectSettings
from tinythinker.stages.plan import Together, cycle_batches, order_batches

Batch = tuple[Stage, Sequence[PreferencePair]]
"""Stage, and the pairs of one optimizer step."""


@dataclass(frozen=True)
class Schedule:
    """The order of the pairs of one round; a function of the seed."""

    pairs: Mapping[Stage, Sequence[PreferencePair]]
    """By stage, without empty stages."""
    settings: ReflectSettings
    seed: int

    def turn(self) -> dict[Stage, int]:
        """Optimizer steps in each stage's turn (`reflect.interval`; METHOD section 4).

        With `auto`, R recall and A analyze pairs, batches of B: R // B + 1 steps of recall, then A // R + 1 times as
        many of analyze. A stage that is alone has one step more than its pairs fill batches.
        """
        if self.settings.interval != "auto":
            return dict.fromkeys(self.pairs, self.settings.interval)
        first, *others = self.pairs
        count = len(self.pairs[first])
        turn = {first: count // self.settings.batch_size + 1}
        return turn | {stage: (len(self.pairs[stage]) // count + 1) * turn[first] for stage in others}

    def first_pass(self) -> list[Batch]:
        """Batches that hold every pair once, as the training visits it first."""
        return self._pass(0)

    def epoch(self, number: int) -> list[Batch]:
        """The batches of an epoch in training order (`reflect.epoch`)."""
        if self.settings.epoch == "pairs":
            return self._pass(number)
        return cycle_batches(self.pairs, self.turn(), cycle=number, **self._how())

    def _pass(self, number: int) -> list[Batch]:
        return order_batches(self.pairs, self.turn(), epoch=number, **self._how())

    def _how(self) -> _How:
        together = _question if self.settings.batches == "questions" else None
        return {"batch_size": self.settings.batch_size, "seed": self.seed, "together": together}


class _How(TypedDict):
    batch_size: int
    seed: int
    together: Together[PreferencePair] | None


def _question(pair: PreferencePair) -> object:
    return pair.question_id
