"""Floating-point operations of training a student, by the usual estimate."""

from __future__ import annotations

from typing import Any, cast

import torch
from transformers import PreTrainedModel

from tinythinker.core.metrics import Weights


def weights_by_side(model: PreTrainedModel) -> Weights:
    """Weights of a model, counted by the tokens that pass through them.

    A causal model treats prompts and targets alike, but computes logits for targets only. In an
    encoder-decoder, prompts pass through the encoder and the keys and values of the decoder's
    cross-attention; targets pass through the rest of the decoder.
    """
    output = cast(Any, model.get_output_embeddings())
    head = output.weight.numel()
    apart = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)} | {
        id(output.weight)
    }
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
    return Weights(per_prompt_token=prompt, per_target_token=target + head)
