"""Log-probabilities of targets under a student."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

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
        prompts: shapes (targets, prompt tokens).
        labels: (targets, target tokens), padding marked `IGNORED`.
    """
    # Fed decoder inputs and not labels, the model computes no loss of its own.
    shifted = cast(Any, model).prepare_decoder_input_ids_from_labels(labels)
    logits = model(input_ids=prompts.ids, attention_mask=prompts.mask, decoder_input_ids=shifted).logits
    losses = F.cross_entropy(logits.float().flatten(0, 1), labels.reshape(-1), ignore_index=IGNORED, reduction="none")
    return TargetLogps(-losses.view(labels.shape).sum(1), (labels != IGNORED).sum(1))
