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


class Separate(NamedTuple):
    """Prompts and targets to be read in rows of their own."""

    prompts: Encoded
    labels: Tensor
    """(targets, target tokens), padding marked `IGNORED`."""
    prompt_of: Tensor | None = None
    """The row of each target's prompt, (targets,); None: one prompt per target, in order."""

    def count_read(self) -> int:
        """Prompt tokens that are read, without padding."""
        return int(self.prompts.mask.sum())


class Forest(NamedTuple):
    """Prompts and targets to be read as trees (`trees`), a tree in each row; causal models only."""

    ids: Tensor
    """(trees, tokens)."""
    depths: Tensor
    """Tokens before each on its branch, (trees, tokens)."""
    ends: Tensor
    """Place after the last token that may attend to each, (trees, tokens); padding attends to itself alone."""
    tree_of: Tensor
    """The tree of each target, (targets,)."""
    places: Tensor
    """Places of the tokens that predict each target's tokens, (targets, target tokens), padded with 0."""
    labels: Tensor
    """(targets, target tokens), padding marked `IGNORED`."""
    size: int
    """Tokens of all trees, without padding."""

    def count_read(self) -> int:
        """Tokens that are read besides the targets'."""
        return max(0, self.size - int((self.labels != IGNORED).sum()))


class Scorer(torch.nn.Module):
    """`logps_of` one model as a module, so that DDP or FSDP has a single call to wrap."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, reading: Separate | Forest) -> TargetLogps:
        """See `logps_of`."""
        return logps_of(self.model, reading)


def logps_of(model: PreTrainedModel, reading: Separate | Forest) -> TargetLogps:
    """Log-probability of each target, read separately or as trees; both ways give the same."""
    if isinstance(reading, Forest):
        return _forest_logps(model, reading)
    return target_logps(model, *reading)


def _forest_logps(model: PreTrainedModel, forest: Forest) -> TargetLogps:
    is_real = forest.labels != IGNORED
    rows = forest.tree_of.unsqueeze(1).expand_as(forest.places)[is_real]
    places = forest.places[is_real]
    predicting = torch.zeros_like(forest.ids, dtype=torch.bool)
    predicting[rows, places] = True
    with _vocabulary_for(model, predicting):
        logits = model(
            input_ids=forest.ids,
            attention_mask=tree_masks(model, forest),
            position_ids=forest.depths,
            use_cache=False,
        ).logits.float()
    # A token that predicts for several targets is in `logits` once.
    numbers = (predicting.flatten().cumsum(0) - 1).view_as(predicting)[rows, places]
    logps = logits[numbers, forest.labels[is_real]] - logits.logsumexp(1)[numbers]
    total = logps.new_zeros(forest.labels.shape).masked_scatter(is_real, logps).sum(1)
    return TargetLogps(total, is_real.sum(1))


def tree_masks(model: PreTrainedModel, forest: Forest) -> Tensor | dict[str, Tensor]:
    """Which tokens may attend to which, (trees, 1, tokens, tokens), in the form that the model's attention takes.

    One mask, or one by kind of layer where some layers attend only to the last tokens (sliding windows).
    """
    config = model.config.get_text_config()
    place = torch.arange(forest.ids.shape[1], device=forest.ids.device)
    is_before = place.unsqueeze(0) <= place.unsqueeze(1)
    full = (is_before & (place.view(1, -1, 1) < forest.ends.unsqueeze(1))).unsqueeze(1)
    kinds = set(getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None)
    if window is None or kinds == {"full_attention"}:
        return _as_taken(model, full)
    near = forest.depths.unsqueeze(2) - forest.depths.unsqueeze(1) < window
    sliding = full & near.unsqueeze(1)
    if not kinds:
        return _as_taken(model, sliding)
    return {"full_attention": _as_taken(model, full), "sliding_attention": _as_taken(model, sliding)}


def _as_taken(model: PreTrainedModel, allowed: Tensor) -> Tensor:
    """A mask of booleans, or of numbers to add to the scores, as the model's attention takes it."""
    if model.config._attn_implementation == "sdpa":
        return allowed
    dtype = next(model.parameters()).dtype
    return torch.zeros_like(allowed, dtype=dtype).masked_fill_(~allowed, torch.finfo(dtype).min)


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
