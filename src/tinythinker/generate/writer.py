"""Prompts -> texts: the seam between reasoning and the model that writes it.

Reasoning (`generate.think`) knows a model only as a `Writer`. Tests pass one that returns scripted texts; another
inference engine would be one more class here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tinythinker.core.records import Question
from tinythinker.generate.decode import Decoded, Recollection, Sampling, decode
from tinythinker.generate.label_logps import LabelLogps, label_logps, read_logps, watched_of
from tinythinker.generate.memory import Memory
from tinythinker.student.precision import decoding
from tinythinker.student.student import Student


class Writer(Protocol):
    """Something that continues prompts."""

    def write(
        self,
        prompts: Sequence[str],
        max_tokens: int,
        sampling: Sampling | None = None,
        is_continued: Sequence[bool] | None = None,
    ) -> list[Decoded]:
        """Continue every prompt.

        Args:
            max_tokens: a text stops here if it has not ended before.
            sampling: None decodes greedily.
            is_continued: for each prompt, whether a later one will begin with it and its text, which may save reading
                them again; None: none will.

        Returns:
            One text per prompt, in order.
        """

    def score_labels(self, prompts: Sequence[str], questions: Sequence[Question]) -> list[LabelLogps]:
        """How likely each option of its question is as the answer to a prompt, one per prompt, in order."""

    def write_and_score(
        self, prompts: Sequence[str], questions: Sequence[Question], max_tokens: int
    ) -> list[tuple[Decoded, LabelLogps]]:
        """Both the greedy text of `write` and the scores of `score_labels`, one per prompt, in order."""


class StudentWriter:
    """A student as a writer, in the precision that `generate.bf16` asks for.

    Args:
        is_sampled: are texts drawn, or all greedy?
    """

    def __init__(self, student: Student, *, is_sampled: bool) -> None:
        self._student = decoding(student, is_sampled=is_sampled)
        self._batch_size = student.recipe.generate.batch_size
        self._memory = Memory() if student.is_causal else None

    def forget(self) -> None:
        """Drop what earlier stages have read and written."""
        if self._memory is not None:
            self._memory = Memory()

    def write(
        self,
        prompts: Sequence[str],
        max_tokens: int,
        sampling: Sampling | None = None,
        is_continued: Sequence[bool] | None = None,
    ) -> list[Decoded]:
        """See `Writer.write`."""
        recollection = None
        if self._memory is not None:
            recollection = Recollection(self._memory, is_continued or [False] * len(prompts))
        return decode(
            self._student,
            prompts,
            max_tokens=max_tokens,
            batch_size=self._batch_size,
            sampling=sampling,
            recollection=recollection,
        )

    def score_labels(self, prompts: Sequence[str], questions: Sequence[Question]) -> list[LabelLogps]:
        """See `Writer.score_labels`."""
        return label_logps(self._student, prompts, questions, batch_size=self._batch_size, memory=self._memory)

    def write_and_score(
        self, prompts: Sequence[str], questions: Sequence[Question], max_tokens: int
    ) -> list[tuple[Decoded, LabelLogps]]:
        """See `Writer.write_and_score`. A text that begins as an answer does is scored while it is written."""
        recollection = None if self._memory is None else Recollection(self._memory, [False] * len(prompts))
        texts = decode(
            self._student,
            prompts,
            max_tokens=max_tokens,
            batch_size=self._batch_size,
            recollection=recollection,
            watched=watched_of(self._student, questions),
        )
        scores = read_logps(texts, questions)
        rest = [i for i, one in enumerate(scores) if one is None]
        left = iter(self.score_labels([prompts[i] for i in rest], [questions[i] for i in rest]) if rest else ())
        return [(text, next(left) if one is None else one) for text, one in zip(texts, scores, strict=True)]
