"""The preference loss of phase 2: pure functions of log-probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tinythinker.core.records import PreferencePair
from tinythinker.settings.schema import ReflectSettings
from tinythinker.student.encode import encode_targets, encode_unique_prompts
from tinythinker.student.logps import Scorer
from tinythinker.student.pieces import costs_of, cut, lengths_of
from tinythinker.student.student import Student
from tinythinker.train.loop import Loss, Tokens


class PairLogps(NamedTuple):
    """Log-probabilities of both sides of each pair, in nats, summed over tokens unless said otherwise; (pairs,)."""

    chosen: Tensor
    rejected: Tensor


@dataclass(frozen=True)
class ScoredPair:
    """A pair with its log-probabilities under the frozen reference, in nats."""

    pair: PreferencePair
    reference_chosen: float
    reference_rejected: float


def dpo_margin(policy: PairLogps, reference: PairLogps) -> Tensor:
    """How much more the student prefers the chosen than its reference does, shape (pairs,), nats.

    [ log π(y⁺|x) - log π(y⁻|x) ] - [ log π₀(y⁺|x) - log π₀(y⁻|x) ]
    """
    return (policy.chosen - policy.rejected) - (reference.chosen - reference.rejected)


def dpo_loss(policy: PairLogps, reference: PairLogps, *, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """Loss of each preference pair: -(1 - ε) log σ(β margin) - ε log σ(-β margin).

    Source: Rafailov et al. 2023, arXiv:2305.18290, eq. 7; with ε, conservative DPO (Mitchell 2023, "A note on DPO with
    noisy preferences"); π is the policy, π₀ the reference.

    Args:
        policy: under the student being trained, shape (pairs,); gradients flow.
        reference: under the frozen reference, shape (pairs,).
        beta: sharpness, dimensionless, > 0.
        label_smoothing: ε, the share of pairs taken to be the wrong way round, in [0, 0.5).

    Returns:
        Shape (pairs,), nats; exactly log 2 wherever policy and reference agree.
    """
    scaled = beta * dpo_margin(policy, reference)
    if not label_smoothing:
        return -F.logsigmoid(scaled)
    return -(1 - label_smoothing) * F.logsigmoid(scaled) - label_smoothing * F.logsigmoid(-scaled)


def ipo_loss(policy: PairLogps, reference: PairLogps, *, beta: float) -> Tensor:
    """Loss of each preference pair: (margin - 1 / 2β)², which stops pulling once the margin is there.

    Source: Azar et al. 2023, arXiv:2310.12036, eq. 17 (their τ is β); on log-probabilities per token, as its authors
    ran it, or the wanted margin would depend on the length.

    Args:
        policy: per token, under the student being trained, shape (pairs,); gradients flow.
        reference: per token, under the frozen reference, shape (pairs,).
        beta: the smaller, the larger the wanted margin, > 0.

    Returns:
        Shape (pairs,), nats²; 1 / 4β² wherever policy and reference agree.
    """
    return (dpo_margin(policy, reference) - 1 / (2 * beta)) ** 2


def preference_loss(policy: PairLogps, reference: PairLogps, settings: ReflectSettings) -> Tensor:
    """Loss of each pair as `reflect.loss` has it, shape (pairs,).

    Args:
        policy: as `as_compared` has it.
        reference: as `as_compared` has it.
    """
    if settings.loss == "none":
        return torch.zeros_like(policy.chosen)
    if settings.loss == "ipo":
        return ipo_loss(policy, reference, beta=settings.beta)
    return dpo_loss(policy, reference, beta=settings.beta, label_smoothing=settings.label_smoothing)


def as_compared(logps: PairLogps, tokens: PairLogps, settings: ReflectSettings) -> PairLogps:
    """Log-probabilities as `reflect.loss` compares them: of whole texts, or per token (ipo, dpo_norm)."""
    if settings.loss in ("ipo", "dpo_norm"):
        return PairLogps(logps.chosen / tokens.chosen, logps.rejected / tokens.rejected)
    return logps


class PairScores(NamedTuple):
    """What one forward pass says about pairs."""

    logps: PairLogps
    tokens: PairLogps
    """Lengths of both sides, (pairs,)."""
    prompt_tokens: int
    """Prompt tokens that were read for it, padding left out; a prompt is read once for both sides."""


def score_pairs(student: Student, score: Scorer, pairs: Sequence[PreferencePair]) -> PairScores:
    """Log-probabilities of both sides of each pair."""
    prompts, prompt_of = encode_unique_prompts(student, [pair.prompt for pair in pairs] * 2)
    labels = encode_targets(student, [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs])
    logps = score(prompts, labels, prompt_of)
    n = len(pairs)
    return PairScores(
        PairLogps(logps.total[:n], logps.total[n:]),
        PairLogps(logps.tokens[:n], logps.tokens[n:]),
        int(prompts.mask.sum()),
    )


def preference_objective(student: Student, settings: ReflectSettings) -> Callable[[Scorer, Sequence[ScoredPair]], Loss]:
    """Preference loss + α · negative log-likelihood of the chosen per token (METHOD section 4), mean over pairs."""

    def objective(score: Scorer, items: Sequence[ScoredPair]) -> Loss:
        policy, tokens, prompt_tokens = score_pairs(student, score, [item.pair for item in items])
        reference = PairLogps(
            policy.chosen.new_tensor([item.reference_chosen for item in items]),
            policy.rejected.new_tensor([item.reference_rejected for item in items]),
        )
        ours, theirs = (as_compared(logps, tokens, settings) for logps in (policy, reference))
        losses = preference_loss(ours, theirs, settings)
        if settings.alpha:
            losses = losses - settings.alpha * policy.chosen / tokens.chosen
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


def pair_pieces(student: Student, most: int | None) -> Callable[[Sequence[PreferencePair]], list[list[PreferencePair]]]:
    """How a batch of pairs is cut (see `train.pieces`).

    Args:
        most: pairs in a piece.
    """
    costs = costs_of(student, targets=2)

    def pieces(pairs: Sequence[PreferencePair]) -> list[list[PreferencePair]]:
        lengths = lengths_of(student, [p.prompt for p in pairs], [p.chosen for p in pairs], [p.rejected for p in pairs])
        return [[pairs[i] for i in piece] for piece in cut(lengths, costs, most)]

    return pieces
