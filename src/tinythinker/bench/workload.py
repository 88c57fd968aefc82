"""What baseline and product both do: questions, batches and pairs of one run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tinythinker import api
from tinythinker.bench.baseline import Generation, in_batches
from tinythinker.core.errors import StudentError
from tinythinker.core.files import read_records
from tinythinker.core.records import PreferencePair, Question, Rationale, Record, Stage
from tinythinker.core.run import RunDirectory
from tinythinker.generate.think import MAX_CONCLUSION_TOKENS
from tinythinker.settings.schema import ReflectSettings, RunSettings, validate
from tinythinker.stages.examples import Batch
from tinythinker.student.student import Student, load_student
from tinythinker.teacher.rationales import read_rationales

PASSES = 2
"""Over the pairs of phase 2: the product asks its reference once, whatever they are."""


class Size(Record):
    """How much work."""

    questions: int = 100
    """To sample on, and to answer."""
    samples: int = 10
    """Chains per question; votes of self-consistency."""
    steps: int = 6
    """Optimizer steps of each training; phase 2 goes over its pairs twice, at least once per stage."""


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
        if student.is_causal or student.recipe.lora is not None or plan != "full":
            kind = "a causal student" if student.is_causal else f"stages.plan={plan}"
            found = kind if student.recipe.lora is None else "adapters"
            raise StudentError(f"{folder}: found {found}, expected a whole encoder-decoder of stages.plan=full")
        return work

    def student(self) -> Student:
        """A fresh copy, which writes its answers as the baseline has it do."""
        student = load_student(self.folder)
        free = student.recipe.generate.model_copy(update={"answer": "free"})
        return Student(student.model, student.tokenizer, student.recipe.model_copy(update={"generate": free}))

    @cached_property
    def settings(self) -> RunSettings:
        """The run's, in float32 and cut to size."""
        own = validate(self.run.manifest().settings)
        short = {"bf16": "never", "patience": None, "validate_every": None, "max_steps": self.size.steps}
        return own.model_copy(
            update={
                "train": own.train.model_copy(update=short),
                "reflect": own.reflect.model_copy(update=short),
            }
        )

    @property
    def temperature(self) -> float:
        """To sample at."""
        return self.settings.reflect.temperature[0]

    def plain(self, *, hot: bool) -> Generation:
        """How the baseline decodes: as many rows at once and as many tokens at most as the product."""
        own = self.settings.generate
        return Generation(
            own.batch_size,
            own.max_recall_tokens,
            own.max_analysis_tokens,
            MAX_CONCLUSION_TOKENS,
            self.temperature if hot else None,
        )

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
    def recalled(self) -> list[tuple[Question, str]]:
        """Questions to sample on with a recall of the teacher's each, those that have one: to draw analyses from."""
        first = {rationale.question_id: rationale.recall for rationale in reversed(self.rationales)}
        return [(question, first[question.id]) for question in self.train if question.id in first]

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
    def pair_batches(self) -> list[list[PreferencePair]]:
        """Of phase 2, whole ones of a stage each: real prompts and targets; what is rejected is another example's
        target of that stage."""
        own = self.settings.reflect
        each = max(1, self.size.steps // PASSES // len(own.stages)) * own.batch_size
        return [
            list(batch) for stage in own.stages for batch in in_batches(self._pairs(Stage(stage), each), own.batch_size)
        ]

    @property
    def pairs(self) -> list[PreferencePair]:
        """All of them."""
        return [pair for batch in self.pair_batches for pair in batch]

    def _pairs(self, stage: Stage, wanted: int) -> list[PreferencePair]:
        examples = [
            example
            for example in api.curriculum_of(self.settings, self._every_question, self.rationales).examples(0)
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
        return found[:: max(1, len(found) // wanted)][:wanted]

    @property
    def reflect(self) -> ReflectSettings:
        """Phase 2's settings: as many steps as the batches and passes come to."""
        steps = PASSES * len(self.pair_batches)
        return self.settings.reflect.model_copy(update={"max_steps": steps, "epochs": PASSES})
