"""A round's pairs scored by the frozen reference: once, before the first step, with the scores kept on disk.

So there is no second model in memory while the student trains, with or without adapters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from tinythinker.core import ranks
from tinythinker.core.errors import DataError
from tinythinker.core.files import read_records, write_records
from tinythinker.core.records import PreferencePair, Record
from tinythinker.reflect.objective import ScoredPair, score_pairs
from tinythinker.settings.schema import ReflectSettings
from tinythinker.student.logps import Scorer
from tinythinker.student.student import Student
from tinythinker.train.loop import save_memory, set_mode, wants_bf16

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
        with torch.autocast(student.device.type, torch.bfloat16, enabled=bf16):
            logps = score_pairs(student, Scorer(student.model), batch).logps
        for pair, chosen, rejected in zip(
            batch, logps.chosen.detach().tolist(), logps.rejected.detach().tolist(), strict=True
        ):
            scored.append(PairReference(pair=pair, chosen=chosen, rejected=rejected))
    return scored


def reference_scores(
    file: Path, load: Callable[[], Student], batches: Sequence[Sequence[PreferencePair]], settings: ReflectSettings
) -> dict[PreferencePair, ScoredPair]:
    """Every pair with its scores under the reference, computed now or read if that is already done.

    Args:
        load: loads the reference; called only if the pairs are not scored yet.

    Raises:
        DataError: the stored scores belong to other pairs.
    """
    pairs = [pair for batch in batches for pair in batch]
    if not ranks.on_first(file.exists):
        reference = load()
        save_memory(reference, settings)
        bf16 = wants_bf16(settings, reference)
        share = [score_reference(reference, [batch], bf16=bf16) for batch in ranks.share(batches)]
        scored = [one for batch in ranks.gather(share, len(batches)) for one in batch]
        ranks.on_first(lambda: write_records(file, scored))
        del reference
    stored = read_records(file, PairReference)
    if {one.pair for one in stored} != set(pairs):
        raise DataError(
            f"{file}: found scores of other pairs than pairs.jsonl has, expected the same; delete it and run again"
        )
    return {one.pair: ScoredPair(one.pair, one.chosen, one.rejected) for one in stored}


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
    with torch.no_grad(), torch.autocast(student.device.type, torch.bfloat16, enabled=wants_bf16(settings, student)):
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
