"""The arithmetic that a kind of work needs: every token read once where texts begin alike, and nothing padded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tinythinker.core.metrics import FLOPS_PER_WEIGHT
from tinythinker.core.records import Question
from tinythinker.student.encode import prompt_ids, target_ids
from tinythinker.student.student import Student

READING = 2
"""Operations per weight and token of a forward pass; with gradients, `FLOPS_PER_WEIGHT`."""


class Text(NamedTuple):
    """A prompt and what is written or learned after it."""

    prompt: str
    target: str


def flops_needed(student: Student, texts: Iterable[Text], per_weight: int = READING) -> float:
    """Floating-point operations of the matrix products with a student's weights, each token once.

    A causal student reads each beginning of texts once and computes logits where a target token follows; an encoder
    reads each prompt once. Products within attention, the optimizer and the reading of embeddings are left out.

    A worked miniature, for a causal student with b weights and h in its output layer: "1 2 | 7 9" and "1 2 | 8 9" need
    the nodes 1, 12, 127, 128 (the last token of a text is not read), and logits at 12, 127 and 128. Forward, these
    are 2 (4 b + 3 h) operations.

    Args:
        texts: all that is read together.
        per_weight: operations per weight and token.
    """
    every = list(texts)
    if not every:
        return 0.0
    read = prompt_ids(student, [text.prompt for text in every]).ids
    written = target_ids(student, [text.target for text in every]).ids
    weights = student.weights
    beginnings: dict[tuple[int, int], int] = {}
    prompts: dict[tuple[int, ...], int] = {}
    predicting: set[int] = set()
    for prompt, target in zip(read, written, strict=True):
        own = prompts.setdefault(tuple(prompt), -len(prompts) - 1)
        row = [*prompt, *target[:-1]] if student.is_causal else [student.pad_id, *target[:-1]]
        node = 0 if student.is_causal else own
        for place, token in enumerate(row):
            node = beginnings.setdefault((node, token), len(beginnings) + 1)
            if place >= len(row) - len(target):
                predicting.add(node)
    if student.is_causal:
        head = weights.per_target_token - weights.per_prompt_token
        return per_weight * (len(beginnings) * weights.per_prompt_token + len(predicting) * head)
    tokens = sum(map(len, prompts))
    return per_weight * (tokens * weights.per_prompt_token + len(beginnings) * weights.per_target_token)


def training_needs(student: Student, batches: Iterable[Sequence[Text]]) -> float:
    """Operations of training on batches, one optimizer step each: forward and backward."""
    return sum(flops_needed(student, batch, FLOPS_PER_WEIGHT) for batch in batches)


def texts_of_chain(
    student: Student, question: Question, recall: str, analyses: Sequence[str], conclusion: str, *, is_given: bool
) -> list[Text]:
    """What a student reads and writes in one chain.

    Args:
        is_given: was the recall given, and not written?
    """
    template = student.recipe.template
    first = [] if is_given else [Text(template.recall_prompt(question), recall)]
    return [
        *first,
        *(
            Text(template.analyze_prompt(question, recall, label), analysis)
            for label, analysis in zip(question.labels, analyses, strict=True)
        ),
        Text(template.summarize_prompt(question, recall, analyses), conclusion),
    ]
