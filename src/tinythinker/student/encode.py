"""Texts -> tensors. Texts are cut nowhere else, and the result says which ones were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tinythinker.stages.template import parts_of
from tinythinker.student.student import Student

IGNORED = -100
"""Label of a position that every loss ignores."""
NEEDS_BEGINNING = ("gemma",)
"""Families of models that write nonsense without a beginning-of-sequence token."""


class Encoded(NamedTuple):
    """Padded token ids and their mask (1 for a token, 0 for padding), both (texts, tokens)."""

    ids: Tensor
    mask: Tensor


class Rows(NamedTuple):
    """Token ids of texts, and whether each text was cut."""

    ids: list[list[int]]
    is_cut: list[bool]


def prompt_ids(student: Student, prompts: Sequence[str]) -> Rows:
    """Token ids of prompts, none longer than the student can read (`Student.most_prompt_tokens`).

    In a prompt that is too long the reasoning gives way, from its beginning, and only then the question's stem. The
    options stay, and so does the end, which names the stage. A causal student continues its prompt, so the prompt has
    no end-of-sequence token.
    """
    rows = whole_prompt_ids(student, prompts)
    limit = student.most_prompt_tokens
    if limit is None:
        return Rows(rows, [False] * len(rows))
    kept = [
        row if len(row) <= limit else _cut(student, prompt, limit) for row, prompt in zip(rows, prompts, strict=True)
    ]
    return Rows(kept, [len(row) > limit for row in rows])


def whole_prompt_ids(student: Student, prompts: Sequence[str]) -> list[list[int]]:
    """Token ids of prompts of any length."""
    return _causal_prompts(student, prompts) if student.is_causal else _tokens(student, prompts)


def _cut(student: Student, prompt: str, limit: int) -> list[int]:
    """Token ids of a prompt that lost as few words as possible.

    If its options alone are too long, its last tokens stay, and a beginning-of-sequence token.
    """
    parts = parts_of(prompt)

    def without(count: int) -> list[int]:
        return whole_prompt_ids(student, [parts.shortened(count)])[0]

    few, enough = 0, parts.count_words()
    fitting = without(enough)
    while enough - few > 1 and len(fitting) <= limit:
        middle = (few + enough) // 2
        row = without(middle)
        few, enough, fitting = (few, middle, row) if len(row) <= limit else (middle, enough, fitting)
    begins = student.is_causal and fitting[0] == student.tokenizer.bos_token_id
    return fitting if len(fitting) <= limit else [*fitting[:begins], *fitting[begins - limit :]]


def _tokens(student: Student, texts: Sequence[str], *, special: bool = True) -> list[list[int]]:
    rows: list[list[int]] = student.tokenizer(list(texts), add_special_tokens=special)["input_ids"]
    return rows


def _causal_prompts(student: Student, prompts: Sequence[str]) -> list[list[int]]:
    if not student.recipe.chat_template:
        end = student.tokenizer.eos_token_id
        rows = _tokens(student, prompts)
        return _begun(student, [row[:-1] if len(row) > 1 and row[-1] == end else row for row in rows])
    texts = [
        student.tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        for prompt in prompts
    ]
    return _begun(student, _tokens(student, [str(text) for text in texts], special=False))


def _begun(student: Student, rows: list[list[int]]) -> list[list[int]]:
    """Rows that begin with a beginning-of-sequence token where the model needs one and the tokenizer adds none."""
    begin = student.tokenizer.bos_token_id
    if begin is None or not student.model.config.get_text_config().model_type.startswith(NEEDS_BEGINNING):
        return rows
    return [row if row[:1] == [begin] else [begin, *row] for row in rows]


def whole_target_ids(student: Student, targets: Sequence[str]) -> list[list[int]]:
    """Token ids of targets of any length, end-of-sequence last.

    A causal student's text begins with a space that separates it from the prompt, except in a chat template.
    """
    if not student.is_causal:
        return _tokens(student, targets)
    space = "" if student.recipe.chat_template else " "
    end = int(student.tokenizer.eos_token_id)
    return [[*row, end] for row in _tokens(student, [space + target for target in targets], special=False)]


def target_ids(student: Student, targets: Sequence[str], *, is_ended: bool = True) -> Rows:
    """Token ids of targets. One that is too long loses its end, but keeps its end-of-sequence token.

    Args:
        is_ended: do the rows have an end-of-sequence token at all?
    """
    limit = student.recipe.max_target_tokens
    rows = whole_target_ids(student, targets)
    kept = [row if len(row) <= limit else [*row[: limit - 1], row[-1]] for row in rows]
    if not is_ended:
        kept = [row[:-1] if len(row) > 1 else row for row in kept]
    return Rows(kept, [len(row) > limit for row in rows])


def pad(rows: Sequence[Sequence[int]], value: int, device: torch.device, *, left: bool = False) -> Encoded:
    """Pad rows of token ids to the longest row, on the right unless `left`."""
    width = max(len(row) for row in rows)

    def filled(row: Sequence[int], filler: int) -> list[int]:
        padding = [filler] * (width - len(row))
        return [*padding, *row] if left else [*row, *padding]

    ids = torch.tensor([filled(row, value) for row in rows], device=device)
    mask = torch.tensor([filled([1] * len(row), 0) for row in rows], device=device)
    return Encoded(ids, mask)


def pad_prompts(student: Student, rows: Sequence[Sequence[int]]) -> Encoded:
    """Prompts as the student reads them, (prompts, tokens): padded left if causal, else right."""
    return pad(rows, student.pad_id, student.device, left=student.is_causal)


def encode_prompts(student: Student, prompts: Sequence[str]) -> Encoded:
    """Prompts as the student reads them, shapes (prompts, tokens)."""
    return pad_prompts(student, prompt_ids(student, prompts).ids)


class Unique(NamedTuple):
    """Prompts without repeats."""

    prompts: Encoded
    prompt_of: Tensor | None
    """Row of each given prompt in `prompts`, (given,); None if no prompt was repeated."""


def encode_unique_prompts(student: Student, prompts: Sequence[str]) -> Unique:
    """Prompts as the student reads them, without repeats."""
    distinct = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompts))}
    encoded = encode_prompts(student, list(distinct))
    if len(distinct) == len(prompts):
        return Unique(encoded, None)
    return Unique(encoded, torch.tensor([distinct[prompt] for prompt in prompts], device=student.device))


def encode_targets(student: Student, targets: Sequence[str], *, is_ended: bool = True) -> Tensor:
    """Targets as labels, shape (targets, tokens), padding marked `IGNORED`; `is_ended` as in `target_ids`."""
    return pad(target_ids(student, targets, is_ended=is_ended).ids, IGNORED, student.device).ids
