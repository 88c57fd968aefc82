"""The preference loss of phase 2: pure functions of log-probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tinythinker.core.names import Registry
from tinythinker.settings.schema import LOSSES, ReflectSettings


class PairLogps(NamedTuple):
    """Log-probabilities of both sides of each pair, nats, summed over tokens unless noted; (pairs,)."""

    chosen: Tensor
    rejected: Tensor


def dpo_margin(policy: PairLogps, reference: PairLogps) -> Tensor:
    """How much more the student prefers the chosen text than the reference does, shape (pairs,), nats.

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
        label_smoothing: ε, the assumed share of pairs that are the wrong way round, in [0, 0.5).

    Returns:
        Shape (pairs,), nats; exactly log 2 wherever policy and reference agree.
    """
    scaled = beta * dpo_margin(policy, reference)
    if not label_smoothing:
        return -F.logsigmoid(scaled)
    return -(1 - label_smoothing) * F.logsigmoid(scaled) - label_smoothing * F.logsigmoid(-scaled)


def ipo_loss(policy: PairLogps, reference: PairLogps, *, beta: float) -> Tensor:
    """Loss of each preference pair: (margin - 1 / 2β)², which stops pulling once the margin is reached.

    Source: Azar et al. 2023, arXiv:2310.12036, eq. 17 (their τ is β). Log-probabilities are per token, as its
    authors ran it; otherwise the target margin would depend on the length.

    Args:
        policy: per token, under the student being trained, shape (pairs,); gradients flow.
        reference: per token, under the frozen reference, shape (pairs,).
        beta: smaller values set a larger target margin, > 0.

    Returns:
        Shape (pairs,), nats²; 1 / 4β² wherever policy and reference agree.
    """
    return (dpo_margin(policy, reference) - 1 / (2 * beta)) ** 2


def group_loss(policy: PairLogps, reference: PairLogps, *, clip: float) -> Tensor:
    """Loss of each pair: max(ρ⁻, 1 - ε) - min(ρ⁺, 1 + ε), with ρ = π / π₀ per token; π₀ is the round's start.

    Summed over every pair of a right and a wrong text of one question, this is the group-relative objective. Of k right
    and m wrong texts, a chain's reward less the mean is m / (k + m) or -k / (k + m), and each right text stands in m
    pairs, each wrong one in k: the sum is k + m times -Σ advantage · ρ, clipped.

    Source: Shao et al. 2024, arXiv:2402.03300 (GRPO), without the division by the standard deviation (Liu et al. 2025,
    arXiv:2503.20783); ρ is that of whole texts, per token (Zheng et al. 2025, arXiv:2507.18071).

    Args:
        policy: per token, under the student being trained, shape (pairs,); gradients flow.
        reference: per token, under the student at the start of the round, shape (pairs,).
        clip: ε, dimensionless, in (0, 1).

    Returns:
        Shape (pairs,), dimensionless; 0 wherever policy and reference agree.
    """
    right, wrong = (policy.chosen - reference.chosen).exp(), (policy.rejected - reference.rejected).exp()
    return wrong.clamp(min=1 - clip) - right.clamp(max=1 + clip)


class PreferenceLoss(NamedTuple):
    """A loss that `reflect.loss` can name."""

    loss: Callable[[PairLogps, PairLogps, ReflectSettings], Tensor]
    """Policy, reference and settings to the loss of each pair, shape (pairs,); both sides as `compared` gives them."""
    is_per_token: bool = False
    """Does it compare log-probabilities per token, and not those of whole texts?"""
    is_over_all: bool = False
    """Is it meant for every pair of a right and a wrong sampled text, and not for matched ones?"""

    def compared(self, logps: PairLogps, tokens: PairLogps) -> PairLogps:
        """Log-probabilities as this loss compares them.

        Args:
            logps: summed over each text, (pairs,), nats.
            tokens: lengths of the texts, (pairs,).
        """
        if self.is_per_token:
            return PairLogps(logps.chosen / tokens.chosen, logps.rejected / tokens.rejected)
        return logps


def _dpo(policy: PairLogps, reference: PairLogps, settings: ReflectSettings) -> Tensor:
    return dpo_loss(policy, reference, beta=settings.beta, label_smoothing=settings.label_smoothing)


def _ipo(policy: PairLogps, reference: PairLogps, settings: ReflectSettings) -> Tensor:
    return ipo_loss(policy, reference, beta=settings.beta)


def _grpo(policy: PairLogps, reference: PairLogps, settings: ReflectSettings) -> Tensor:
    return group_loss(policy, reference, clip=settings.clip)


def _none(policy: PairLogps, reference: PairLogps, settings: ReflectSettings) -> Tensor:
    return torch.zeros_like(policy.chosen)


PREFERENCE_LOSSES: Registry[PreferenceLoss] = Registry(
    LOSSES,
    {
        "dpo": PreferenceLoss(_dpo),
        "ipo": PreferenceLoss(_ipo, is_per_token=True),
        "dpo_norm": PreferenceLoss(_dpo, is_per_token=True),
        "grpo": PreferenceLoss(_grpo, is_per_token=True, is_over_all=True),
        "none": PreferenceLoss(_none),
    },
)
"""By the name that `reflect.loss` gives."""
