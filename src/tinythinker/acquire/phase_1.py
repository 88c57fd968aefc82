"""Phase 1, reasoning acquisition: a curriculum, a student and one training (METHOD section 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinythinker.acquire.curriculum import Batch, Curriculum, curriculum_of
from tinythinker.acquire.sft import sft_objective, sft_pieces
from tinythinker.core import ranks
from tinythinker.core.files import write_record
from tinythinker.core.metrics import TrainingData
from tinythinker.core.progress import say
from tinythinker.core.records import Question, Rationale, StageExample
from tinythinker.core.run import TrainingFolder
from tinythinker.settings.schema import OptimSettings, RunSettings
from tinythinker.stages.examples import count_by_stage
from tinythinker.student.encode import whole_prompt_ids, whole_target_ids
from tinythinker.student.make import make_student
from tinythinker.student.student import Student
from tinythinker.train.loop import Training, count_steps, fit
from tinythinker.train.mixed_precision import wants_bf16

Validate = Callable[[Student], float]
"""Accuracy of a student on the validation questions, in [0, 1]."""


def acquire(
    settings: RunSettings,
    questions: Sequence[Question],
    rationales: Sequence[Rationale],
    validate: Validate,
    folder: TrainingFolder,
) -> None:
    """Train a student on every stage of the plan, and leave the one that validates best in the folder.

    Args:
        folder: also receives `data.json`.

    Raises:
        TeacherError: a stage of the plan has nothing to learn from.
        StudentError: the student does not load, or its loss is no longer finite.
    """
    curriculum = curriculum_of(settings, questions, rationales)
    first = curriculum.epoch(0)  # complains of missing data before the student is loaded
    student = make_student(settings, questions, rationales)
    ranks.on_first(lambda: _describe_data(folder, curriculum, student, questions))
    precision = "bfloat16" if wants_bf16(settings.train, student) else "float32"
    say(f"phase-1: {student.count_parameters():,} weights, trained in {precision}")
    optim: OptimSettings = settings.train
    epoch: Callable[[int], Sequence[Batch]] = curriculum.epoch
    if settings.stages.order == "sequential":
        whole = curriculum.sequence(count_steps(optim, len(first)))
        optim, epoch = optim.model_copy(update={"epochs": 1}), lambda number: whole
    training = phase_1_training(
        student, settings, epoch, cycle=sum(curriculum.turn().values()), validate=lambda: validate(student)
    )
    fit(student, training, optim, seed=settings.seed, folder=folder)


def phase_1_training(
    student: Student,
    settings: RunSettings,
    epoch: Callable[[int], Sequence[Batch]],
    *,
    cycle: int,
    validate: Callable[[], float],
    name: str = "phase-1",
    keep_start: bool = False,
) -> Training[StageExample]:
    """The training of phase 1 on any batches.

    Args:
        epoch: batches of an epoch, by its number.
        cycle: optimizer steps between validations, unless the settings give another number.
        validate: accuracy of the student as it is.
        name: in the progress bar and in random streams.
        keep_start: may the student before the first step count as the best?
    """
    return Training(
        name=name,
        epoch=epoch,
        objective=sft_objective(student, settings.stages.rationale_weight),
        pieces=sft_pieces(student, settings.train.micro_batch_size),
        cycle=cycle,
        validate=validate,
        dropout=True,
        keep_start=keep_start,
    )


def _describe_data(
    folder: TrainingFolder, curriculum: Curriculum, student: Student, questions: Sequence[Question]
) -> None:
    """Write and say what phase 1 trains on, and which texts are too long for the student or unknown to it."""
    examples = curriculum.examples(0)
    rows = whole_prompt_ids(student, [example.prompt for example in examples])
    read = [len(row) for row in rows]
    unknown = [row.count(student.tokenizer.unk_token_id) for row in rows]
    equal = [one.id for one in questions if len({option.text for option in one.options}) < len(one.options)]
    learned = [len(row) for row in whole_target_ids(student, [example.target for example in examples])]
    most_read, most_learned = student.most_prompt_tokens, student.recipe.max_target_tokens
    data = TrainingData(
        examples=dict(count_by_stage(examples)),
        cut_prompts=0 if most_read is None else sum(tokens > most_read for tokens in read),
        cut_targets=sum(tokens > most_learned for tokens in learned),
        unknown_tokens=sum(unknown),
        first_unknown=next((one.question_id for one, count in zip(examples, unknown, strict=True) if count), None),
        equal_options=len(equal),
        first_equal_options=equal[0] if equal else None,
        max_prompt_tokens=most_read,
        max_target_tokens=most_learned,
        longest_prompt=max(read),
        longest_target=max(learned),
        vocabulary=len(student.tokenizer),
        parameters=student.count_parameters(),
        weights=student.weights,
    )
    write_record(folder.data, data)
    counts = ", ".join(f"{count} {stage}" for stage, count in data.examples.items())
    say(f"phase-1: {counts} examples")
    if data.unknown_tokens:
        say(
            f"phase-1: {data.unknown_tokens:,} tokens of the prompts are unknown to the student and look the same to "
            f"it (first in question {data.first_unknown})"
        )
    if data.cut_prompts or data.cut_targets:
        say(
            f"phase-1: of {len(examples)} examples, {data.cut_prompts} have a prompt of more than {most_read} tokens, "
            f"which loses part of its reasoning (student.max_prompt_tokens), and {data.cut_targets} a target of more "
            f"than {most_learned}, which loses its end (student.max_target_tokens)"
        )
