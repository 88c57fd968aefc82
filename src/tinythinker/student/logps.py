"""Log-probabilities of targets under a student."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from tinythinker.student.encode import IGNORED, Encoded


class TargetLogps(NamedTuple):
    """Log-probability of each whole target, in nats, and its number of tokens; both (targets,)."""

    total: Tensor
    tokens: Tensor


class Scorer(torch.nn.Module):
    """`target_logps` of one model as a module, so that DDP or FSDP has a single call to wrap."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, prompts: Encoded, labels: Tensor, prompt_of: Tensor | None = None) -> TargetLogps:
        """See `target_logps`."""
        return target_logps(self.model, prompts, labels, prompt_of)


def target_logps(
    model: PreTrainedModel, prompts: Encoded, labels: Tensor, prompt_of: Tensor | None = None
) -> TargetLogps:
    """Log-probability of each target; padding adds to neither sums nor token counts (FIDELITY, defect 1).

    Logits are computed for real target tokens only, and an encoder reads every prompt once.

    Args:
        prompts: shapes (prompts, prompt tokens); padded on the left for a causal model.
        labels: (targets, target tokens), padding marked `IGNORED`.
        prompt_of: the row of each target's prompt, (targets,); None: one prompt per target, in order.
    """
    is_real = labels != IGNORED
    logits_of = _seq2seq_logits if model.config.is_encoder_decoder else _causal_logits
    logits = logits_of(model, prompts, labels, is_real, prompt_of)
    losses = F.cross_entropy(logits.float(), labels[is_real], reduction="none")
    total = losses.new_zeros(labels.shape).masked_scatter(is_real, losses).sum(1)
    return TargetLogps(-total, is_real.sum(1))


def _seq2seq_logits(
    model: PreTrainedModel, prompts: Encoded, labels: Tensor, is_real: Tensor, prompt_of: Tensor | None
) -> Tensor:
    """Logits of the real target tokens, (real tokens, vocabulary)."""
    network = cast(Any, model)
    read = network.get_encoder()(input_ids=prompts.ids, attention_mask=prompts.mask).last_hidden_state
    mask = prompts.mask
    if prompt_of is not None:
        read, mask = read.index_select(0, prompt_of), mask[prompt_of]
    # Given decoder inputs instead of labels, the model computes no loss itself.
    with _vocabulary_for(model, is_real):
        logits: Tensor = network(
            encoder_outputs=BaseModelOutput(last_hidden_state=read),
            attention_mask=mask,
            decoder_input_ids=network.prepare_decoder_input_ids_from_labels(labels),
            use_cache=False,
        ).logits
    return logits


def _causal_logits(
    model: PreTrainedModel, prompts: Encoded, labels: Tensor, is_real: Tensor, prompt_of: Tensor | None
) -> Tensor:
    """The same for a causal model: prompts are padded left, so all targets begin in the same column."""
    if prompt_of is not None:
        prompts = Encoded(prompts.ids[prompt_of], prompts.mask[prompt_of])
    ids = torch.cat([prompts.ids, labels.clamp(min=0)], dim=1)
    mask = torch.cat([prompts.mask, is_real.long()], dim=1)
    # A token's logits are one position before it; those of the last column predict nothing.
    predicting = torch.cat([is_real, torch.zeros_like(is_real[:, :1])], dim=1)
    with _vocabulary_for(model, predicting):
        logits: Tensor = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions(mask),
            use_cache=False,
            logits_to_keep=labels.shape[1] + 1,
        ).logits
    return logits


@contextmanager
def _vocabulary_for(model: PreTrainedModel, chosen: Tensor) -> Iterator[None]:
    """Give the output layer only these positions of the hidden states, (targets, positions)."""
    head = cast(torch.nn.Module, model.get_output_embeddings())
    hook = head.register_forward_pre_hook(lambda _, args: (args[0][chosen],))
    try:
        yield
    finally:
        hook.remove()


def positions(mask: Tensor) -> Tensor:
    """Position of every token, from 0, not counting padding; shape and device of the mask."""
    return (mask.cumsum(dim=1) - 1).clamp(min=0)
