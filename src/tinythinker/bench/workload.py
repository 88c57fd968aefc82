"""The work that baseline and product both do: questions, batches and pairs of one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tinythinker.acquire.curriculum import Batch, curriculum_of
from tinythinker.bench.baseline import Generation, in_batches
from tinythinker.core.errors import StudentError
from tinythinker.core.records import PreferencePair, Question, Rationale, Record, Stage
from tinythinker.core.run import RunDirectory
from tinythinker.settings.resolve import validate
from tinythinker.settings.schema import ReflectSettings, RunSettings
from tinythinker.student.load import load_student
from tinythinker.student.student import Student
from tinythinker.teacher.taught import read_questions, read_taught

PASSES = 2
"""Passes over the pairs of phase 2. The product evaluates its reference once, for any number of passes."""


class Size(Record):
    """Amount of work."""

    questions: int = 100
    """Questions to sample on, and questions to answer."""
    samples: int = 10
    """Chains per question; also the number of votes for self-consistency."""
    steps: int = 6
    """Optimizer steps per training. Phase 2 passes over its pairs twice, at least one batch per stage."""
    batch_size: int | None = None
    """Examples or pairs per optimizer step; None: as many as in the run."""


@dataclass
class Work:
    """A student and the work to do with it."""

    folder: Path
    """Folder of the student."""
    run: RunDirectory
    size: Size

    @classmethod
    def of(cls, folder: Path, run: Path, size: Size) -> Work:
        """The work for a student, with the questions of a run.

        Raises:
            StudentError: the student has adapters, or did not learn to recall and analyze.
        """
        work = cls(folder, RunDirectory(run), size)
        student = work.student()
        plan = student.recipe.stages.plan
        if student.recipe.lora is not None or plan != "full":
            found = f"stages.plan={plan}" if student.recipe.lora is None else "adapters"
            raise StudentError(f"{folder}: found {found}, expected whole weights and stages.plan=full")
        return work

    def student(self) -> Student:
        """A fresh copy of the student that writes its answers freely, as the baseline does."""
        student = load_student(self.folder)
        free = student.recipe.generate.model_copy(update={"answer": "free"})
        return Student(student.model, student.tokenizer, student.recipe.model_copy(update={"generate": free}))

    @cached_property
    def settings(self) -> RunSettings:
        """The run's settings, in float32 and cut to `size`."""
        stored = validate(self.run.manifest().settings)
        short: dict[str, object] = {
            "bf16": "never",
            "patience": None,
            "validate_every": None,
            "max_steps": self.size.steps,
        }
        if self.size.batch_size is not None:
            short["batch_size"] = self.size.batch_size
        return stored.model_copy(
            update={
                "train": stored.train.model_copy(update=short),
                "reflect": stored.reflect.model_copy(update=short),
            }
        )

    @property
    def temperature(self) -> float:
        """Sampling temperature."""
        return self.settings.reflect.temperature[0]

    def plain(self, *, hot: bool) -> Generation:
        """How the baseline decodes: with the batch size and token limits of the product; `hot`: sampled."""
        how = self.settings.generate
        return Generation(
            how.batch_size,
            how.max_recall_tokens,
            how.max_analysis_tokens,
            how.max_conclusion_tokens,
            self.temperature if hot else None,
        )

    @cached_property
    def _every_question(self) -> Sequence[Question]:
        return read_questions(self.run, "train")

    @cached_property
    def rationales(self) -> Sequence[Rationale]:
        """The teacher's rationales."""
        return read_taught(self.run, self._every_question)

    @cached_property
    def train(self) -> Sequence[Question]:
        """Questions to sample on."""
        return self._every_question[: self.size.questions]

    @cached_property
    def recalled(self) -> list[tuple[Question, str]]:
        """The questions of `train` that have a rationale, each with a recall to sample analyses for."""
        first = {rationale.question_id: rationale.recall for rationale in reversed(self.rationales)}
        return [(question, first[question.id]) for question in self.train if question.id in first]

    @cached_property
    def test(self) -> Sequence[Question]:
        """Questions to answer."""
        return read_questions(self.run, "test")[: self.size.questions]

    @cached_property
    def batches(self) -> list[Batch]:
        """Batches of phase 1: evenly spaced ones of an epoch, in order, so that every stage has its share."""
        whole = curriculum_of(self.settings, self._every_question, self.rationales).epoch(0)
        steps = min(self.size.steps, len(whole))
        return [whole[i * len(whole) // steps] for i in range(steps)]

    @cached_property
    def pair_batches(self) -> list[list[PreferencePair]]:
        """Full batches of phase 2, each of one stage: real prompts and targets; the rejected text is another
        example's target of that stage."""
        reflect = self.settings.reflect
        each = max(1, self.size.steps // PASSES // len(reflect.stages)) * reflect.batch_size
        return [
            list(batch)
            for stage in reflect.stages
            for batch in in_batches(self._pairs(Stage(stage), each), reflect.batch_size)
        ]

    @property
    def pairs(self) -> list[PreferencePair]:
        """The pairs of all batches."""
        return [pair for batch in self.pair_batches for pair in batch]

    def _pairs(self, stage: Stage, wanted: int) -> list[PreferencePair]:
        examples = [
            example
            for example in curriculum_of(self.settings, self._every_question, self.rationales).examples(0)
            if example.stage is stage
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
            if one.target != other.target
        ]
        if self.settings.reflect.batches == "questions":  # pairs of one question stand together
            return found[:wanted]
        return found[:: max(1, len(found) // wanted)][:wanted]

    @property
    def reflect(self) -> ReflectSettings:
        """Settings of phase 2, with exactly as many steps as the batches take in all passes."""
        steps = PASSES * len(self.pair_batches)
        return self.settings.reflect.model_copy(update={"max_steps": steps, "epochs": PASSES})
