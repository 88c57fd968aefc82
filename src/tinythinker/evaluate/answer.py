"""Questions -> verdicts, in batches, onto disk as they come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tinythinker.core.files import complete
from tinythinker.core.records import Question, Stage, Verdict
from tinythinker.core.seeds import derive_seed
from tinythinker.evaluate.score import judge
from tinythinker.generate.think import Draws, Thought, think
from tinythinker.settings.schema import EvaluateSettings
from tinythinker.student.student import Student
from tinythinker.tasks.storeroom import Storeroom

CHUNK = 256
"""Chains between two writes to disk."""
_SAMPLED = frozenset({Stage.RECALL, Stage.ANALYZE, Stage.REASON})
"""What self-consistency samples; a summarize stage of its own is greedy."""


def verdicts_name(student: str, settings: EvaluateSettings) -> str:
    """What a file of verdicts is called: who answered what how, such as `round-1.test.greedy`."""
    how = "greedy" if settings.votes == 1 else f"vote-{settings.votes}-at-{settings.temperature:g}"
    return f"{student}.{settings.split}.{how}"


def answer_all(
    student: Student, questions: Sequence[Question], settings: EvaluateSettings, seed: int, world: Storeroom | None
) -> list[Verdict]:
    """A verdict on every question, all at once: greedy, or by self-consistency (METHOD section 5)."""
    if settings.votes == 1:
        chains = think(student, [Thought(question) for question in questions])
        return [judge(question, [chain], world) for question, chain in zip(questions, chains, strict=True)]
    draws = Draws(
        settings.temperature, derive_seed(seed, "vote"), frozenset({Stage.RECALL, Stage.ANALYZE, Stage.REASON})
    )
    thoughts = [Thought(question, i) for question in questions for i in range(settings.votes)]
    chains = think(student, thoughts, draws=draws, score=True)
    return [
        judge(question, chains[i * settings.votes : (i + 1) * settings.votes], world)
        for i, question in enumerate(questions)
    ]


def write_verdicts(
    file: Path,
    student: Student,
    questions: Sequence[Question],
    settings: EvaluateSettings,
    seed: int,
    world: Storeroom | None,
) -> list[Verdict]:
    """The verdicts of a file, as far as they are missing worked out and added."""

    def work(some: Sequence[Question]) -> list[Verdict]:
        return answer_all(student, some, settings, seed, world)

    return complete(file, Verdict, questions, work, chunk=max(1, CHUNK // settings.votes), name=f"evaluate {file.stem}")
