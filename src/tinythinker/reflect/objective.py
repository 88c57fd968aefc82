"""The objective of phase 2: a preference loss on pairs, plus the likelihood of the chosen text (METHOD section 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tinythinker.core.records import PreferencePair
from tinythinker.reflect.losses import PREFERENCE_LOSSES, PairLogps, dpo_margin
from tinythinker.settings.schema import ReflectSettings
from tinythinker.student.logps import Scorer
from tinythinker.student.reading import plan_passes, read, reads_trees
from tinythinker.student.student import Student
from tinythinker.train.loop import Loss, Tokens


@dataclass(frozen=True)
class ScoredPair:
    """A pair with its log-probabilities under the frozen reference, in nats."""

    pair: PreferencePair
    reference_chosen: float
    reference_rejected: float
    nll_tokens: float | None = None
    """What the chosen text's negative log-likelihood is divided by; None: its own tokens (`reflect.nll`)."""


class PairScores(NamedTuple):
    """What one forward pass computes about pairs."""

    logps: PairLogps
    tokens: PairLogps
    """Lengths of both sides, (pairs,)."""
    prompt_tokens: int
    """Prompt tokens that were read, without padding; a prompt is read once for both sides."""


def score_pairs(student: Student, score: Scorer, pairs: Sequence[PreferencePair]) -> PairScores:
    """Log-probabilities of both sides of each pair."""
    texts = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    reading = read(student, [pair.prompt for pair in pairs] * 2, texts)
    logps = score(reading)
    n = len(pairs)
    return PairScores(
        PairLogps(logps.total[:n], logps.total[n:]),
        PairLogps(logps.tokens[:n], logps.tokens[n:]),
        reading.count_read(),
    )


def preference_objective(student: Student, settings: ReflectSettings) -> Callable[[Scorer, Sequence[ScoredPair]], Loss]:
    """Preference loss + α · mean negative log-likelihood of the chosen (METHOD section 4), mean over pairs, nats."""
    preference = PREFERENCE_LOSSES[settings.loss]
    reads_trees(student)  # tried out before the engine takes the weights

    def objective(score: Scorer, items: Sequence[ScoredPair]) -> Loss:
        policy, tokens, prompt_tokens = score_pairs(student, score, [item.pair for item in items])
        reference = PairLogps(
            policy.chosen.new_tensor([item.reference_chosen for item in items]),
            policy.rejected.new_tensor([item.reference_rejected for item in items]),
        )
        ours, theirs = (preference.compared(logps, tokens) for logps in (policy, reference))
        losses = preference.loss(ours, theirs, settings)
        if settings.alpha:
            shared = [item.nll_tokens for item in items if item.nll_tokens is not None]
            over = policy.chosen.new_tensor(shared) if shared else tokens.chosen
            losses = losses - settings.alpha * policy.chosen / over
        margin = dpo_margin(ours, theirs).detach()
        figures = {
            "margin": margin.sum().item(),
            "reward_accuracy": (margin > 0).sum().item(),
            "chosen_logp": policy.chosen.sum().item(),
            "rejected_logp": policy.rejected.sum().item(),
        }
        read = Tokens(prompt_tokens, int(tokens.chosen.sum() + tokens.rejected.sum()))
        return Loss(total=losses.sum(), weight=len(items), figures=figures, tokens=read)

    return objective


def over_batch(items: Sequence[ScoredPair], tokens: Sequence[int]) -> list[ScoredPair]:
    """The pairs of a batch, their NLL to be taken as a mean over all chosen tokens of the batch (`reflect.nll=batch`).

    The loss is a mean over pairs, so each text's NLL is divided by the mean number of tokens of a chosen text: for
    texts of 2 and 6 tokens with an NLL of 3 and 5 nats, (3 / 4 + 5 / 4) / 2 = (3 + 5) / (2 + 6).

    Args:
        tokens: length of each item's chosen text.
    """
    mean = sum(tokens) / len(items)
    return [replace(item, nll_tokens=mean) for item in items]


def pair_pieces(student: Student, most: int | None) -> Callable[[Sequence[PreferencePair]], list[list[PreferencePair]]]:
    """Cuts a batch of pairs into pieces (see `reading.plan_passes`).

    Args:
        most: largest number of pairs in a piece; None: no limit.
    """

    def pieces(pairs: Sequence[PreferencePair]) -> list[list[PreferencePair]]:
        sides = [[pair.chosen for pair in pairs], [pair.rejected for pair in pairs]]
        return [
            [pairs[i] for i in piece] for piece in plan_passes(student, [pair.prompt for pair in pairs], sides, most)
        ]

    return pieces
