"""Prompts -> texts, in batches; greedy, or sampled with one named random stream per text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from tinythinker.core.seeds import stream
from tinythinker.stages.template import conclusion
from tinythinker.student.encode import encode_prompts, pad, prompt_ids
from tinythinker.student.student import Student


@dataclass(frozen=True)
class Decoded:
    """A generated text."""

    text: str
    count_tokens: int
    """Tokens it took, its end included."""
    is_cut: bool = False
    """Was its prompt longer than the student reads?"""


@dataclass(frozen=True)
class Sampling:
    """Draw at a temperature, from the full distribution (top_k = 0)."""

    temperature: float
    seeds: Sequence[int]
    """One per prompt. A text depends on its own seed and prompt, not on its neighbours in the batch."""


class _Draw(LogitsProcessor):
    """Leaves one token per row: that on which the row's own uniform number falls in the cumulated distribution.

    Greedy search over what is left is then exact sampling, with randomness that belongs to rows and not to batches.
    """

    def __init__(self, uniforms: Tensor, temperature: float, width: int) -> None:
        self._uniforms = uniforms  # (rows, steps), float64 in [0, 1)
        self._temperature = temperature
        self._width = width  # tokens that stood before the first drawn one

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        step = input_ids.shape[1] - self._width
        cumulated = torch.softmax(scores.double() / self._temperature, dim=-1).cumsum(dim=-1)
        target = self._uniforms[:, step : step + 1] * cumulated[:, -1:]
        token = torch.searchsorted(cumulated, target, right=True).clamp_(max=scores.shape[1] - 1)
        drawn = torch.full_like(scores, -torch.inf)
        drawn.scatter_(1, token, 0.0)
        return drawn  # type: ignore[return-value]


def decode(
    student: Student, prompts: Sequence[str], *, max_tokens: int, batch_size: int, sampling: Sampling | None = None
) -> list[Decoded]:
    """Write on from every prompt; equal prompts are decoded once if greedy.

    Args:
        max_tokens: a text stops there if it has not ended by itself.
        sampling: None for greedy decoding.

    Returns:
        One text per prompt, in order.
    """
    if not prompts:
        return []
    if sampling is None:
        distinct = list(dict.fromkeys(prompts))
        texts = dict(zip(distinct, _decode(student, distinct, max_tokens, batch_size, None), strict=True))
        return [texts[prompt] for prompt in prompts]
    return _decode(student, prompts, max_tokens, batch_size, sampling)


def _decode(
    student: Student, prompts: Sequence[str], max_tokens: int, batch_size: int, sampling: Sampling | None
) -> list[Decoded]:
    rows, is_cut = prompt_ids(student, prompts)
    # Neighbours of one length need no padding; longest first, so that memory runs out at once or never.
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]), reverse=True)
    done: dict[int, Decoded] = {}
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        own = None if sampling is None else replace(sampling, seeds=[sampling.seeds[i] for i in chosen])
        done.update(zip(chosen, _batch(student, [rows[i] for i in chosen], max_tokens, own), strict=True))
    return [replace(done[i], is_cut=is_cut[i]) for i in range(len(prompts))]


@torch.inference_mode()
def _batch(
    student: Student, rows: Sequence[Sequence[int]], max_tokens: int, sampling: Sampling | None
) -> list[Decoded]:
    model, tokenizer = student.model, student.tokenizer
    encoded = pad(rows, int(tokenizer.pad_token_id or 0), student.device)
    processors = LogitsProcessorList()
    if sampling is not None:
        draws = [torch.from_numpy(stream(seed, "tokens").random(max_tokens)) for seed in sampling.seeds]
        processors.append(_Draw(torch.stack(draws).to(student.device), sampling.temperature, width=1))
    config = model.config
    settings = GenerationConfig(
        max_new_tokens=max_tokens,
        do_sample=False,
        num_beams=1,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=config.decoder_start_token_id,
    )
    model.eval()
    output: Tensor = cast(Any, model).generate(
        input_ids=encoded.ids, attention_mask=encoded.mask, generation_config=settings, logits_processor=processors
    )
    written = output[:, 1:].tolist()
    texts = tokenizer.batch_decode(written, skip_special_tokens=True)
    eos = tokenizer.eos_token_id
    counts = [row.index(eos) + 1 if eos in row else len(row) for row in written]
    return [Decoded(text.strip(), count) for text, count in zip(texts, counts, strict=True)]


@torch.inference_mode()
def label_logps(
    student: Student, prompts: Sequence[str], labels: Sequence[Sequence[str]], *, batch_size: int
) -> list[dict[str, float]]:
    """Log-probability of every option label as the answer, one forward pass per batch.

    The conclusion is fed up to its label; the distribution over the next token is normalised over the question's
    labels. Differs from free decoding only in that the answer is always readable.

    Returns:
        For each prompt its labels' log-probabilities, nats, in label order.
    """
    every = sorted({label for own in labels for label in own})
    sentences: list[list[int]] = student.tokenizer([conclusion(label) for label in every])["input_ids"]
    # The conclusions are the same up to their label; a question has at least two.
    width = next(i for i, column in enumerate(zip(*sentences, strict=False)) if len(set(column)) > 1)
    token_of = {label: sentence[width] for label, sentence in zip(every, sentences, strict=True)}
    model = student.model.eval()
    opening = [model.config.decoder_start_token_id, *sentences[0][:width]]
    asked = sorted({(prompt, tuple(own)) for prompt, own in zip(prompts, labels, strict=True)}, key=lambda a: len(a[0]))
    found: dict[tuple[str, tuple[str, ...]], dict[str, float]] = {}
    for start in range(0, len(asked), batch_size):
        some = asked[start : start + batch_size]
        encoded = encode_prompts(student, [prompt for prompt, _ in some])
        fed = torch.tensor([opening] * len(some), device=student.device)
        logits = model(input_ids=encoded.ids, attention_mask=encoded.mask, decoder_input_ids=fed).logits[:, -1].float()
        for key, row in zip(some, logits, strict=True):
            values = torch.log_softmax(row[[token_of[label] for label in key[1]]], dim=0).tolist()
            found[key] = dict(zip(key[1], values, strict=True))
    return [found[prompt, tuple(own)] for prompt, own in zip(prompts, labels, strict=True)]
