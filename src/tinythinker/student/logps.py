"""Log-probabilities of targets under a student."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from tinythinker.student.encode import IGNORED, Encoded


class TargetLogps(NamedTuple):
    """Log-probability of each whole target, in nats, and its number of tokens; both (targets,)."""

    total: Tensor
    tokens: Tensor


def target_logps(model: PreTrainedModel, prompts: Encoded, labels: Tensor) -> TargetLogps:
    """Score targets token by token; padding counts nothing, neither in sums nor in counts (FIDELITY, defect 1).

    Args:
        prompts: shapes (targets, prompt tokens); for a causal model padded on the left.
        labels: (targets, target tokens), padding marked `IGNORED`.
    """
    logits = (_seq2seq_logits if model.config.is_encoder_decoder else _causal_logits)(model, prompts, labels)
    losses = F.cross_entropy(logits.float().flatten(0, 1), labels.reshape(-1), ignore_index=IGNORED, reduction="none")
    return TargetLogps(-losses.view(labels.shape).sum(1), (labels != IGNORED).sum(1))


def _seq2seq_logits(model: PreTrainedModel, prompts: Encoded, labels: Tensor) -> Tensor:
    # Fed decoder inputs and not labels, the model computes no loss of its own.
    shifted = cast(Any, model).prepare_decoder_input_ids_from_labels(labels)
    logits: Tensor = model(input_ids=prompts.ids, attention_mask=prompts.mask, decoder_input_ids=shifted).logits
    return logits


def _causal_logits(model: PreTrainedModel, prompts: Encoded, labels: Tensor) -> Tensor:
    """Logits of the target tokens alone: with prompts padded left, all targets begin in the same column."""
    ids = torch.cat([prompts.ids, labels.clamp(min=0)], dim=1)
    mask = torch.cat([prompts.mask, (labels != IGNORED).long()], dim=1)
    width = labels.shape[1] + 1
    logits: Tensor = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions(mask),
        use_cache=False,
        logits_to_keep=width,
    ).logits
    return logits[:, -width:-1]


def positions(mask: Tensor) -> Tensor:
    """Position of every token among those that count, from 0; shape and device of the mask."""
    return (mask.cumsum(dim=1) - 1).clamp(min=0)
