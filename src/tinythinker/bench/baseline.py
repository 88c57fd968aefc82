"""A plain implementation of the work of both phases: the yardstick of `tinythinker bench`.

It works as the official code does: float32; one call of the library's `generate` per sample; batches in the
order they arrive, padded to their longest text; every row decoded until the last row of its batch ends; in
phase 2, every prompt read once per side, and the reference evaluated again at every step. A causal student reads
prompt and target as one padded row and computes logits for all of it. Only the student and its token ids are shared
with the product.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from tinythinker.core.records import PreferencePair, Question, StageExample
from tinythinker.core.seeds import seed_torch
from tinythinker.stages.answer import parse_answer
from tinythinker.student.encode import pad, pad_prompts, prompt_ids, target_ids
from tinythinker.student.student import Student

T = TypeVar("T")


class PlainChain(NamedTuple):
    """One chain of reasoning."""

    recall: str
    analyses: tuple[str, ...]
    conclusion: str
    answer: str | None

    def texts(self) -> tuple[str, ...]:
        """All generated texts of the chain, in order."""
        return (self.recall, *self.analyses, self.conclusion)


class Generation(NamedTuple):
    """How the baseline decodes."""

    batch_size: int
    max_recall: int
    """Token limit of a recall; likewise for the other two."""
    max_analysis: int
    max_conclusion: int
    temperature: float | None = None
    """Sampling temperature; None: greedy."""


def chains(
    student: Student,
    questions: Sequence[Question],
    how: Generation,
    samples: int,
    seed: int,
    *,
    recalls: Sequence[str] | None = None,
    sample_analyses: bool = False,
) -> list[list[PlainChain]]:
    """`samples` chains per question: the recall is sampled as in `how`, the rest is greedy.

    Args:
        recalls: one per question, used instead of generated ones; None: generate them.
        sample_analyses: sample the analyses as in `how`, too.

    Returns:
        Chains by sample, then by question.
    """
    student.model.eval()
    template = student.recipe.template
    greedy = how._replace(temperature=None)
    made = []
    for sample in range(samples):
        seed_torch(seed, "baseline", sample)
        recalled = recalls or _generate(student, list(map(template.recall_prompt, questions)), how, how.max_recall)
        asked = [
            template.analyze_prompt(question, recall, label)
            for question, recall in zip(questions, recalled, strict=True)
            for label in question.labels
        ]
        texts = iter(_generate(student, asked, how if sample_analyses else greedy, how.max_analysis))
        analyses = [tuple(next(texts) for _ in question.labels) for question in questions]
        concluded = _generate(
            student,
            [
                template.summarize_prompt(question, recall, texts)
                for question, recall, texts in zip(questions, recalled, analyses, strict=True)
            ],
            greedy,
            how.max_conclusion,
        )
        answers = [parse_answer(text, question.options) for text, question in zip(concluded, questions, strict=True)]
        made.append([PlainChain(*parts) for parts in zip(recalled, analyses, concluded, answers, strict=True)])
    return made


def _generate(student: Student, prompts: Sequence[str], how: Generation, max_tokens: int) -> list[str]:
    texts: list[str] = []
    hot = {"do_sample": True, "temperature": how.temperature, "top_k": 0}
    sampling = {"do_sample": False} if how.temperature is None else hot
    for start in range(0, len(prompts), how.batch_size):
        read = _prompts(student, prompts[start : start + how.batch_size])
        with torch.no_grad():
            ids = cast(Any, student.model).generate(
                **read, **sampling, max_new_tokens=max_tokens, num_beams=1, pad_token_id=student.pad_id
            )
        own = ids[:, read["input_ids"].shape[1] :] if student.is_causal else ids
        texts += student.tokenizer.batch_decode(own, skip_special_tokens=True)
    return [text.strip() for text in texts]


def _prompts(student: Student, prompts: Sequence[str]) -> dict[str, Tensor]:
    """Prompts to generate from; a causal student's are padded on the left."""
    if not student.is_causal:
        return _tensors(student, prompts, student.recipe.max_prompt_tokens)
    encoded = pad_prompts(student, prompt_ids(student, prompts).ids)
    return {"input_ids": encoded.ids, "attention_mask": encoded.mask}


def _tensors(student: Student, texts: Sequence[str], most: int | None) -> dict[str, Tensor]:
    is_cut = most is not None
    read = student.tokenizer(list(texts), padding=True, truncation=is_cut, max_length=most, return_tensors="pt")
    return {name: read[name].to(student.device) for name in ("input_ids", "attention_mask")}


def _with_targets(student: Student, prompts: Sequence[str], targets: Sequence[str]) -> tuple[dict[str, Tensor], Tensor]:
    """What the model reads to learn targets, and labels with -100 where nothing is learned.

    A causal student reads prompt and target as one row, padded on the right.
    """
    if not student.is_causal:
        labels = _tensors(student, targets, student.recipe.max_target_tokens)
        padded = labels["input_ids"].masked_fill(labels["attention_mask"] == 0, -100)
        return _tensors(student, prompts, student.recipe.max_prompt_tokens), padded
    read, learned = prompt_ids(student, prompts).ids, target_ids(student, targets).ids
    rows = pad([a + b for a, b in zip(read, learned, strict=True)], student.pad_id, student.device)
    labels_of = [[-100] * len(a) + b for a, b in zip(read, learned, strict=True)]
    return {"input_ids": rows.ids, "attention_mask": rows.mask}, pad(labels_of, -100, student.device).ids


def train_phase_1(student: Student, batches: Sequence[Sequence[StageExample]], learning_rate: float) -> list[float]:
    """Take one optimizer step per batch; returns the loss of every step, in nats per target token."""
    model = cast(Any, student.model).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    losses = []
    for batch in batches:
        read, labels = _with_targets(student, [e.prompt for e in batch], [e.target for e in batch])
        loss = model(**read, labels=labels).loss
        losses.append(_step(loss, model, optimizer))
    return losses


def train_phase_2(
    student: Student, batches: Sequence[Sequence[PreferencePair]], learning_rate: float, beta: float, alpha: float
) -> list[float]:
    """Take one optimizer step per batch of pairs; returns the losses.

    Args:
        beta: of DPO.
        alpha: weight of the chosen text's likelihood, which is added to DPO.
    """
    reference = copy.deepcopy(student.model).eval()
    model = cast(Any, student.model).eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    losses = []
    for batch in batches:
        sides = []
        for targets in ([pair.chosen for pair in batch], [pair.rejected for pair in batch]):
            read, labels = _with_targets(student, [pair.prompt for pair in batch], targets)
            with torch.no_grad():
                under_reference = _logps(reference, read, labels)
            sides.append((_logps(model, read, labels), under_reference, (labels != -100).sum(1)))
        (chosen, chosen_before, length), (rejected, rejected_before, _) = sides
        margin = (chosen - rejected) - (chosen_before - rejected_before)
        loss = (-F.logsigmoid(beta * margin) - alpha * chosen / length).mean()
        losses.append(_step(loss, model, optimizer))
    return losses


def _logps(model: Any, read: dict[str, Tensor], labels: Tensor) -> Tensor:
    logps = model(**read, labels=labels).logits.log_softmax(dim=-1)
    if not model.config.is_encoder_decoder:  # a token is predicted one position before it
        logps, labels = logps[:, :-1], labels[:, 1:]
    of_labels: Tensor = logps.gather(2, labels.clamp(min=0).unsqueeze(2)).squeeze(2)
    return of_labels.masked_fill(labels == -100, 0.0).sum(1)


def _step(loss: Tensor, model: Any, optimizer: torch.optim.Optimizer) -> float:
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def in_batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Batches of `size` items (the last may be smaller), in the order the items arrive."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
