"""What a student's training computes, by the usual count."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from transformers import PreTrainedModel

from tinythinker.student.student import Student

TRAINING = 6
"""Floating-point operations per weight and token: two forward, four backward (Kaplan et al. 2020, section 2.1)."""


class Weights(NamedTuple):
    """Weights in matrices that a token is multiplied with; embeddings are looked up and count nothing."""

    per_prompt_token: int
    per_target_token: int

    def flops(self, prompt_tokens: int, target_tokens: int) -> int:
        """Of training on so many tokens; attention between tokens is left out, which short texts make small."""
        return TRAINING * (self.per_prompt_token * prompt_tokens + self.per_target_token * target_tokens)


def weights_of(student: Student) -> Weights:
    """`weights_by_side` of a student's model."""
    return weights_by_side(student.model)


def weights_by_side(model: PreTrainedModel) -> Weights:
    """Count a model's weights by where its tokens meet them.

    A causal model reads prompt and target alike, but computes the vocabulary for targets alone. In an encoder-decoder,
    prompts meet the encoder and the keys and values of the decoder's cross-attention, targets all else of the decoder.
    """
    output = cast(Any, model.get_output_embeddings())
    head = output.weight.numel()
    apart = {id(own.weight) for own in model.modules() if isinstance(own, torch.nn.Embedding)} | {id(output.weight)}
    prompt = target = 0
    for name, weight in model.named_parameters():
        if weight.ndim < 2 or id(weight) in apart:
            continue
        is_cross_source = any(part in name for part in ("EncDecAttention.k", "EncDecAttention.v")) or (
            "encoder_attn" in name and any(part in name for part in (".k_proj", ".v_proj"))
        )
        if not model.config.is_encoder_decoder:
            prompt += weight.numel()
            target += weight.numel()
        elif is_cross_source or ".encoder." in f".{name}":
            prompt += weight.numel()
        else:
            target += weight.numel()
    return Weights(prompt, target + head)
