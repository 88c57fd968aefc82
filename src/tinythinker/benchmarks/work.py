"""What baseline and product both do: questions, batches and pairs of one run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tinythinker import api
from tinythinker.benchmarks.baseline import Generation
from tinythinker.config import RunSettings, validate
from tinythinker.core.errors import StudentError
from tinythinker.core.jsonl import read_records
from tinythinker.core.records import PreferencePair, Question, Rationale, Record, Stage
from tinythinker.core.run import RunDirectory
from tinythinker.stages.examples import Batch
from tinythinker.student.student import Student, load_student
from tinythinker.teacher.rationales import read_rationales


class Size(Record):
    """How much work."""

    questions: int = 100
    """To sample on, and to answer."""
    samples: int = 10
    """Chains per question; votes of self-consistency."""
    steps: int = 6
    """Optimizer steps of each training; phase 2 goes over its pairs twice."""


@dataclass
class Work:
    """The student, and what it is given to do."""

    folder: Path
    """The student's."""
    run: RunDirectory
    size: Size

    @classmethod
    def of(cls, folder: Path, run: Path, size: Size) -> Work:
        """For a student in a run's questions.

        Raises:
            StudentError: no encoder-decoder, or one that was not taught to recall and analyze.
        """
        work = cls(folder, RunDirectory(run), size)
        student = work.student()
        plan = student.recipe.stages.plan
        if student.is_causal or plan != "full":
            found = "a causal student" if student.is_causal else f"stages.plan={plan}"
            raise StudentError(f"{folder}: found {found}, expected an encoder-decoder of stages.plan=full")
        return work

    def student(self) -> Student:
        """A fresh copy."""
        return load_student(self.folder)

    @cached_property
    def settings(self) -> RunSettings:
        """The run's, in float32 and cut to size."""
        own = validate(self.run.manifest().settings)
        short = {"bf16": "never", "patience": None, "validate_every": None, "max_steps": self.size.steps}
        return own.model_copy(
            update={
                "train": own.train.model_copy(update=short),
                "reflect": own.reflect.model_copy(update={**short, "epochs": 2}),
            }
        )

    @property
    def temperature(self) -> float:
        """To sample at."""
        return self.settings.reflect.temperature[0]

    def plain(self, *, hot: bool) -> Generation:
        """How the baseline decodes: as many rows at once and as many tokens at most as the product."""
        own = self.settings.generate
        most = max(own.max_recall_tokens, own.max_analysis_tokens)
        return Generation(own.batch_size, most, self.temperature if hot else None)

    @cached_property
    def _every_question(self) -> list[Question]:
        return read_records(self.run.questions("train"), Question)

    @cached_property
    def rationales(self) -> list[Rationale]:
        """The teacher's."""
        return read_rationales(self.run.rationales)[1]

    @cached_property
    def train(self) -> list[Question]:
        """Questions to sample on."""
        return self._every_question[: self.size.questions]

    @cached_property
    def test(self) -> list[Question]:
        """Questions to answer."""
        return read_records(self.run.questions("test"), Question)[: self.size.questions]

    @cached_property
    def batches(self) -> list[Batch]:
        """Of phase 1: an even pick of an epoch's, in order, so that every stage has its share."""
        whole = api.curriculum_of(self.settings, self._every_question, self.rationales).epoch(0)
        steps = min(self.size.steps, len(whole))
        return [whole[i * len(whole) // steps] for i in range(steps)]

    @cached_property
    def pairs(self) -> list[PreferencePair]:
        """Of phase 2: real prompts and targets; what is rejected is the next example's target of that stage."""
        wanted = max(1, self.size.steps // 2) * self.settings.reflect.batch_size
        kinds = {"recall": Stage.RECALL, "analyze": Stage.ANALYZE}
        stages = {kinds[stage] for stage in self.settings.reflect.stages}
        examples = [
            example
            for example in api.curriculum_of(self.settings, self._every_question, self.rationales).examples(0)
            if example.stage in stages
        ]
        found = [
            PreferencePair(
                question_id=one.question_id,
                stage=one.stage,
                prompt=one.prompt,
                chosen=one.target,
                rejected=other.target,
            )
            for one, other in zip(examples, [*examples[7:], *examples[:7]], strict=True)
            if one.stage is other.stage and one.target != other.target
        ]
        return found[:: max(1, len(found) // wanted)][:wanted]
