"""Settings and questions -> rationales, from whichever teacher the settings name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinythinker.config import RunSettings
from tinythinker.core.errors import SettingsError, TeacherError, expected
from tinythinker.core.records import Question, Rationale, Rejected
from tinythinker.tasks.load import Task
from tinythinker.teacher.annotations import ecqa_files, ecqa_rationales, fact_rationales
from tinythinker.teacher.recorded import recorded_rationales
from tinythinker.teacher.scripted import scripted_rationales


@dataclass(frozen=True)
class Collected:
    """What a teacher gave."""

    rationales: tuple[Rationale, ...]
    rejected: tuple[Rejected, ...]
    inputs: tuple[Path, ...]
    """Files that were read."""

    def counts(self, questions: Sequence[Question]) -> dict[str, int]:
        """How many of everything, for people: rationales kept, rejected by flaw, questions without a rationale."""
        have = {rationale.question_id for rationale in self.rationales}
        flaws = Counter(f"rejected_{rejected.flaw}" for rejected in self.rejected)
        return {
            "rationales": len(self.rationales),
            "rationales_without_analyses": sum(not rationale.analyses for rationale in self.rationales),
            "questions": len(questions),
            "questions_without_rationale": sum(question.id not in have for question in questions),
            **dict(sorted(flaws.items())),
        }


def collect_rationales(settings: RunSettings, task: Task) -> Collected:
    """Ask the teacher about the training questions, and about no others.

    Raises:
        SettingsError: this source does not go with this task, or needs a `teacher.path`.
        TeacherError: nothing came of it.
    """
    train = list(task.splits["train"])
    source, path = settings.teacher.source, settings.teacher.path
    inputs: tuple[Path, ...] = ()
    answers: Iterable[Rationale | Rejected]
    if source == "scripted":
        if task.world is None:
            raise SettingsError(
                expected("teacher.source", source, f"another source: only storeroom has a script, not {settings.task}")
            )
        answers = scripted_rationales(task.world, train, settings.teacher, settings.seed)
    elif source == "facts":
        if not task.facts:
            raise TeacherError(
                f"teacher.source=facts: found no facts with the questions of {settings.task}, expected OpenBookQA's "
                "*_complete.jsonl or StrategyQA's official file in data_dir"
            )
        answers = fact_rationales(task.facts, train)
    elif path is None:
        wanted = "the folder with ecqa_*.jsonl" if source == "ecqa" else "a rationales file"
        raise SettingsError(expected(f"teacher.path for teacher.source={source}", None, wanted))
    elif source == "ecqa":
        inputs = tuple(ecqa_files(path))
        answers = ecqa_rationales(inputs, train)
    else:
        inputs = (path,)
        answers = recorded_rationales(path, train)
    listed = list(answers)
    rationales = tuple(answer for answer in listed if isinstance(answer, Rationale))
    if not rationales and settings.stages.plan != "summarize":
        raise TeacherError(
            f"teacher.source={source}: found no usable rationale for {len(train)} training questions, expected some; "
            "stages.plan=summarize learns from labels alone"
        )
    return Collected(rationales, tuple(answer for answer in listed if isinstance(answer, Rejected)), inputs)
