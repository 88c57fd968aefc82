"""A round's pairs scored by the frozen reference: once, before the first step, with the scores kept on disk.

So there is no second model in memory while the student trains, with or without adapters.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from tinythinker.core import ranks
from tinythinker.core.errors import DataError
from tinythinker.core.files import iterate_records, whole_file
from tinythinker.core.records import PreferencePair, Record
from tinythinker.reflect.objective import ScoredPair, score_pairs
from tinythinker.settings.schema import ReflectSettings
from tinythinker.student.logps import Scorer
from tinythinker.student.student import Student
from tinythinker.train.loop import save_memory, set_mode
from tinythinker.train.mixed_precision import mixed_precision, wants_bf16

MOST_DRIFT = 0.02
"""Largest difference allowed between a stored log-probability per token and the student's own, in nats:
another machine or bfloat16 may differ by this much; another student would differ by far more."""


class PairReference(Record):
    """One line of `reference.jsonl`: log-probabilities of a pair under the reference, in nats."""

    pair: PreferencePair
    chosen: float
    rejected: float


def score_reference(
    student: Student, batches: Sequence[Sequence[PreferencePair]], *, bf16: bool = False
) -> list[PairReference]:
    """Reference log-probabilities of every pair, dropout off.

    Pairs are scored in exactly the batches of the first epoch, in the same precision and with gradients on,
    although none is used. The same kernels then sum the same shapes, and the margin before the first step is
    exactly 0.
    """
    set_mode(student.model, dropout=False)
    scored = []
    for batch in batches:
        with mixed_precision(student, enabled=bf16):
            logps = score_pairs(student, Scorer(student.model), batch).logps
        for pair, chosen, rejected in zip(
            batch, logps.chosen.detach().tolist(), logps.rejected.detach().tolist(), strict=True
        ):
            scored.append(PairReference(pair=pair, chosen=chosen, rejected=rejected))
    return scored


class Scores:
    """Log-probabilities of pairs under the reference, by pair; a few numbers for each are in memory."""

    def __init__(self, scored: Iterable[PairReference]) -> None:
        digests, chosen, rejected = array("Q"), array("d"), array("d")
        for one in scored:
            digests.append(_digest(one.pair))
            chosen.append(one.chosen)
            rejected.append(one.rejected)
        order = np.argsort(np.asarray(digests), kind="stable")
        self._digests = np.asarray(digests)[order]
        self._chosen, self._rejected = np.asarray(chosen)[order], np.asarray(rejected)[order]

    def __getitem__(self, pair: PreferencePair) -> ScoredPair:
        """The pair with its scores. Raises KeyError."""
        digest = _digest(pair)
        place = int(np.searchsorted(self._digests, np.uint64(digest)))
        if place == len(self._digests) or int(self._digests[place]) != digest:
            raise KeyError(pair)
        return ScoredPair(pair, float(self._chosen[place]), float(self._rejected[place]))

    def are_of(self, pairs: Iterable[PreferencePair]) -> bool:
        """Are these the pairs, all of them and no others?"""
        wanted = np.unique(np.fromiter((_digest(pair) for pair in pairs), dtype=np.uint64))
        return np.array_equal(wanted, np.unique(self._digests))


def _digest(pair: PreferencePair) -> int:
    """64 bits of a pair's texts: of a million pairs, two meet once in forty million rounds."""
    texts = "\0".join((pair.question_id, pair.stage, pair.prompt, pair.chosen, pair.rejected))
    return int.from_bytes(hashlib.blake2b(texts.encode(), digest_size=8).digest(), "little")


Passes = Callable[[], Iterator[Sequence[PreferencePair]]]
"""The forward passes of the first pass over all pairs; every call begins them again."""


def reference_scores(file: Path, load: Callable[[], Student], passes: Passes, settings: ReflectSettings) -> Scores:
    """Every pair with its scores under the reference, computed now or read if that is already done.

    Args:
        load: loads the reference; called only if the pairs are not scored yet.

    Raises:
        DataError: the stored scores belong to other pairs.
    """
    if not ranks.on_first(file.exists):
        reference = load()
        save_memory(reference, settings)
        bf16 = wants_bf16(settings, reference)
        mine: list[list[tuple[float, float]]] = []
        total = 0
        for number, batch in enumerate(passes()):
            total += 1
            if number % ranks.count() == ranks.number():
                found = score_reference(reference, [batch], bf16=bf16)
                mine.append([(one.chosen, one.rejected) for one in found])
        every = ranks.gather(mine, total)
        ranks.on_first(lambda: _write(file, passes, every))
        del reference
    scores = Scores(iterate_records(file, PairReference))
    if not scores.are_of(pair for batch in passes() for pair in batch):
        raise DataError(
            f"{file}: found scores of other pairs than pairs.jsonl has, expected the same; delete it and run again"
        )
    return scores


def _write(file: Path, passes: Passes, scores: Sequence[Sequence[tuple[float, float]]]) -> None:
    with whole_file(file) as out:
        for batch, numbers in zip(passes(), scores, strict=True):
            for pair, (chosen, rejected) in zip(batch, numbers, strict=True):
                out.add(PairReference(pair=pair, chosen=chosen, rejected=rejected))


def check_reference(file: Path, student: Student, pairs: Sequence[ScoredPair], settings: ReflectSettings) -> None:
    """Raise DataError unless the stored scores belong to the student that the round starts from.

    Where the reference is the student itself, its scores before the first step must be the student's own. Scoring the
    first forward pass again and comparing per token finds a pair file or a student that was swapped, and lets pass
    what another machine rounds differently.

    A worked miniature: a chosen text of 4 tokens was stored with -8.00 nats. If the student gives -8.04 now, the drift
    is 0.04 / 4 = 0.01 per token, which passes; another student that gives -9 drifts by 0.25 and is refused.

    Args:
        file: where the scores are stored, for the message.
        pairs: of the first forward pass, with their stored scores.
    """
    student.model.eval()
    with torch.no_grad(), mixed_precision(student, enabled=wants_bf16(settings, student)):
        policy, tokens, _ = score_pairs(student, Scorer(student.model), [one.pair for one in pairs])
    drift = torch.stack(
        [
            (policy.chosen - policy.chosen.new_tensor([one.reference_chosen for one in pairs])).abs() / tokens.chosen,
            (policy.rejected - policy.rejected.new_tensor([one.reference_rejected for one in pairs])).abs()
            / tokens.rejected,
        ]
    )
    if not bool((drift <= MOST_DRIFT).all()):
        raise DataError(
            f"{file}: found log-probabilities that are not those of the round's first student (off by "
            f"{drift.max().item():.3g} nats per token), expected its own; delete it and run again"
        )
