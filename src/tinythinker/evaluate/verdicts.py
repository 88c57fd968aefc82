"""Questions -> verdicts, in batches; each batch is saved as soon as it is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tinythinker.core import ranks
from tinythinker.core.records import Chain, Question, Stage, Verdict
from tinythinker.core.seeds import derive_seed
from tinythinker.core.stored import Stored, complete
from tinythinker.evaluate.answered import fits
from tinythinker.evaluate.score import judge
from tinythinker.generate.think import Draws, Thought, think
from tinythinker.settings.schema import EvaluateSettings
from tinythinker.student.student import Student
from tinythinker.tasks.benchmark import Facts

CHUNK = 256
"""Chains between two writes to disk."""
_SAMPLED = frozenset({Stage.RECALL, Stage.ANALYZE, Stage.REASON})
"""Stages that self-consistency samples; a separate summarize stage is greedy."""


def answer_all(
    student: Student, questions: Sequence[Question], settings: EvaluateSettings, seed: int, facts: Facts | None
) -> list[Verdict]:
    """A verdict on every question, answered together (see `chains_on`)."""
    chains = chains_on(student, questions, settings, seed)
    return [judge(question, own, facts) for question, own in zip(questions, chains, strict=True)]


def chains_on(
    student: Student, questions: Sequence[Question], settings: EvaluateSettings, seed: int, *, score: bool = False
) -> list[list[Chain]]:
    """The chains that answer each question: a greedy one, or those that vote (self-consistency, METHOD section 5).

    Args:
        score: also compute how likely each label was; chains that vote always have it.
    """
    student = student.answering_with(settings.plan)
    if settings.votes == 1:
        return [[chain] for chain in think(student, [Thought(question) for question in questions], score=score)]
    draws = Draws(settings.temperature, derive_seed(seed, "vote"), _SAMPLED)
    thoughts = [Thought(question, i) for question in questions for i in range(settings.votes)]
    chains = think(student, thoughts, draws=draws, score=True)
    return [chains[i : i + settings.votes] for i in range(0, len(chains), settings.votes)]


def write_verdicts(
    file: Path,
    student: Student,
    questions: Sequence[Question],
    settings: EvaluateSettings,
    seed: int,
    facts: Facts | None,
) -> Stored[Verdict]:
    """All verdicts of a file, which stay there; questions without a verdict in it are answered and added first.

    Raises:
        DataError: the file holds other verdicts, which are left as they are.
    """

    def work(some: Sequence[Question]) -> list[Verdict]:
        return answer_all(student, some, settings, seed, facts)

    chunk = max(1, CHUNK // settings.votes)
    return complete(file, Verdict, questions, work, fits=fits, chunk=chunk, name=f"evaluate {file.stem}")


def greedy_accuracy(student: Student, questions: Sequence[Question]) -> float:
    """Share of the questions that a student answers right with greedy chains; several processes share the work."""
    verdicts = answer_all(student, ranks.share(questions), EvaluateSettings(), 0, None)
    right = ranks.gather([verdict.is_correct for verdict in verdicts], len(questions))
    return sum(right) / len(right)
