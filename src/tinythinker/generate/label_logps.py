"""How likely each option is as the answer, without writing it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch

from tinythinker.core.records import Option, Question
from tinythinker.generate.decode import Decoded, Watched
from tinythinker.generate.endings import ending_logps, normalized
from tinythinker.generate.memory import Memory
from tinythinker.generate.state import begin
from tinythinker.stages.answer import conclusion
from tinythinker.student.encode import encode_targets, pad_prompts, prompt_ids, whole_target_ids
from tinythinker.student.logps import target_logps
from tinythinker.student.student import Student


class LabelLogps(NamedTuple):
    """How likely each label of a question is as the answer."""

    logps: dict[str, float]
    """Log-probabilities by label, nats, normalised over the question's labels."""
    is_cut: bool
    """Was the prompt too long for the student, and therefore cut?"""


@torch.inference_mode()
def label_logps(
    student: Student,
    prompts: Sequence[str],
    questions: Sequence[Question],
    *,
    batch_size: int,
    memory: Memory | None = None,
) -> list[LabelLogps]:
    """Score every option as the answer to a summarize prompt; equal prompts are scored once.

    The only difference from free decoding is that the answer is always readable.

    Args:
        questions: one per prompt.
        memory: of earlier stages; beginnings of prompts that it knows are not read again.

    Returns:
        One per prompt, in order.
    """
    recipe = student.recipe
    if recipe.template.form == "letter":
        return _by_letter(student, prompts, [one.labels for one in questions], batch_size=batch_size, memory=memory)
    texts = [[recipe.template.conclusion(one, label) for label in one.labels] for one in questions]
    is_cut = prompt_ids(student, prompts).is_cut
    scored = ending_logps(student, prompts, texts, batch_size=batch_size)
    found = []
    for question, endings, cut in zip(questions, scored, is_cut, strict=True):
        values = torch.tensor(normalized(endings, recipe.normalize), dtype=torch.float64).log_softmax(dim=0).tolist()
        found.append(LabelLogps(dict(zip(question.labels, values, strict=True)), cut))
    return found


def _by_letter(
    student: Student,
    prompts: Sequence[str],
    labels: Sequence[Sequence[str]],
    *,
    batch_size: int,
    memory: Memory | None,
) -> list[LabelLogps]:
    """Scores where conclusions are equal but for their letter.

    The student reads the conclusion up to its letter, so one forward pass scores all of them. If two letters start with
    the same token, whole conclusions are scored instead.
    """
    letters = _Letters.of(student, labels)
    distinct = dict.fromkeys((prompt, tuple(some)) for prompt, some in zip(prompts, labels, strict=True))
    asked = sorted(distinct, key=lambda one: len(one[0]))
    found: dict[tuple[str, tuple[str, ...]], LabelLogps] = {}
    for start in range(0, len(asked), batch_size):
        some = asked[start : start + batch_size]
        rows = prompt_ids(student, [prompt for prompt, _ in some])
        if letters.is_one_pass:
            scores = begin(student, rows.ids, letters.opening, memory).logits.float()
            by_label = {label: scores[:, token] for label, token in letters.token_of.items()}
        else:
            targets = {label: encode_targets(student, [_lettered(label)] * len(some)) for label in letters.token_of}
            encoded, model = pad_prompts(student, rows.ids), student.model.eval()
            by_label = {label: target_logps(model, encoded, target).total for label, target in targets.items()}
        for i, key in enumerate(some):
            found[key] = _normalized(key[1], torch.stack([by_label[label][i] for label in key[1]]), rows.is_cut[i])
    return [found[prompt, tuple(some)] for prompt, some in zip(prompts, labels, strict=True)]


class _Letters(NamedTuple):
    """Where conclusions that are equal but for their letter part."""

    opening: list[int]
    """Tokens of a conclusion up to its letter."""
    token_of: dict[str, int]
    """The token after them, by label."""

    @classmethod
    def of(cls, student: Student, labels: Iterable[Sequence[str]]) -> _Letters:
        """For all labels of some questions; a question has at least two."""
        every = _labels(labels)
        sentences = whole_target_ids(student, [_lettered(label) for label in every])
        width = next(i for i, column in enumerate(zip(*sentences, strict=False)) if len(set(column)) > 1)
        return cls(sentences[0][:width], {label: row[width] for label, row in zip(every, sentences, strict=True)})

    @property
    def is_one_pass(self) -> bool:
        """Does one token tell all labels apart?"""
        return len(set(self.token_of.values())) == len(self.token_of)


def _normalized(labels: Sequence[str], scores: torch.Tensor, is_cut: bool) -> LabelLogps:
    """Scores of the labels, shape (labels,), nats up to a constant."""
    return LabelLogps(dict(zip(labels, torch.log_softmax(scores, dim=0).tolist(), strict=True)), is_cut)


def watched_of(student: Student, questions: Sequence[Question]) -> Watched | None:
    """The logits that score the labels while an answer is written; None: whole answers must be scored."""
    if student.recipe.template.form != "letter":
        return None
    letters = _Letters.of(student, [one.labels for one in questions])
    return Watched(letters.opening, list(letters.token_of.values())) if letters.is_one_pass else None


def read_logps(texts: Sequence[Decoded], questions: Sequence[Question]) -> list[LabelLogps | None]:
    """Scores of the labels from texts written with `watched_of`; None where a text begins in another way."""
    every = _labels(one.labels for one in questions)
    found: list[LabelLogps | None] = []
    for text, question in zip(texts, questions, strict=True):
        if text.logits is None:
            found.append(None)
            continue
        by_label = dict(zip(every, text.logits, strict=True))
        scores = torch.tensor([by_label[label] for label in question.labels])
        found.append(_normalized(question.labels, scores, text.is_cut))
    return found


def _labels(given: Iterable[Sequence[str]]) -> list[str]:
    """Every label once, in the order of `_Letters.token_of` and of the logits read with it."""
    return sorted({label for some in given for label in some})


def _lettered(label: str) -> str:
    return conclusion(Option(label=label, text=label), "letter")
