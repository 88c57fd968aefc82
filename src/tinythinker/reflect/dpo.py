"""The preference loss of phase 2: pure functions of log-probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from tinythinker.core.records import PreferencePair
from tinythinker.student.encode import encode_prompts, encode_targets
from tinythinker.student.logps import target_logps
from tinythinker.student.student import Student
from tinythinker.train.loop import Loss


class PairLogps(NamedTuple):
    """Summed token log-probabilities of both sides of each pair, in nats; fields (pairs,)."""

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


def dpo_loss(policy: PairLogps, reference: PairLogps, *, beta: float) -> Tensor:
    """Loss of each preference pair: -log σ(β margin).

    Source: Rafailov et al. 2023, arXiv:2305.18290, eq. 7; π is the policy, π₀ the reference.

    Args:
        policy: under the student being trained, shape (pairs,); gradients flow.
        reference: under the frozen reference, shape (pairs,).
        beta: how hard the student is held to the reference, dimensionless, > 0.

    Returns:
        Shape (pairs,), nats; exactly log 2 wherever policy and reference agree.
    """
    return -F.logsigmoid(beta * dpo_margin(policy, reference))


class PairScores(NamedTuple):
    """What one forward pass says about pairs."""

    logps: PairLogps
    chosen_nll: Tensor
    """Mean negative log-likelihood per token of the chosen texts, (pairs,), nats; padding counts nothing."""


def score_pairs(student: Student, model: PreTrainedModel, pairs: Sequence[PreferencePair]) -> PairScores:
    """Log-probabilities of both sides of each pair under a model."""
    prompts = encode_prompts(student, [pair.prompt for pair in pairs] * 2)
    labels = encode_targets(student, [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs])
    logps = target_logps(model, prompts, labels)
    n = len(pairs)
    return PairScores(PairLogps(logps.total[:n], logps.total[n:]), -logps.total[:n] / logps.tokens[:n])


def score_reference(
    student: Student, batches: Sequence[Sequence[PreferencePair]], *, bf16: bool = False
) -> dict[PreferencePair, ScoredPair]:
    """Reference log-probabilities of every pair, dropout off.

    Scored in the very batches the first epoch trains on, in the same precision and with gradients on, although none is
    taken: the same kernels then add up the same shapes, and the margin before the first step is exactly 0.
    """
    student.model.eval()
    scored = {}
    for batch in batches:
        with torch.autocast(student.device.type, torch.bfloat16, enabled=bf16):
            logps = score_pairs(student, student.model, batch).logps
        for pair, chosen, rejected in zip(
            batch, logps.chosen.detach().tolist(), logps.rejected.detach().tolist(), strict=True
        ):
            scored[pair] = ScoredPair(pair, chosen, rejected)
    return scored


def preference_objective(
    student: Student, *, beta: float, alpha: float
) -> Callable[[PreTrainedModel, Sequence[ScoredPair]], Loss]:
    """DPO + alpha * NLL of the chosen (METHOD section 4): `-log σ(β margin) + α NLL(chosen)`, mean over pairs."""

    def objective(model: PreTrainedModel, items: Sequence[ScoredPair]) -> Loss:
        scores = score_pairs(student, model, [item.pair for item in items])
        policy = scores.logps
        reference = PairLogps(
            policy.chosen.new_tensor([item.reference_chosen for item in items]),
            policy.rejected.new_tensor([item.reference_rejected for item in items]),
        )
        losses = dpo_loss(policy, reference, beta=beta)
        if alpha:
            losses = losses + alpha * scores.chosen_nll
        margin = dpo_margin(policy, reference).detach()
        figures = {
            "margin": margin.sum().item(),
            "reward_accuracy": (margin > 0).sum().item(),
            "chosen_logp": policy.chosen.sum().item(),
            "rejected_logp": policy.rejected.sum().item(),
        }
        return Loss(total=losses.sum(), weight=len(items), figures=figures)

    return objective
