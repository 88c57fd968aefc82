"""The verbs. Anything the command line does is one call here, in the same words.

    from tinythinker import api
    run = api.start("storeroom", "runs/first", "seed=1")
    api.teach(run); api.train(run); api.reflect(run); api.evaluate(run); api.report(run)

Every verb can be stopped at any moment and called again: it keeps what is finished and does the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tinythinker.acquire.objective import sft_objective, sft_pieces
from tinythinker.core import ranks
from tinythinker.core.errors import DataError, SettingsError, StudentError, expected
from tinythinker.core.files import read_records, write_json, write_text
from tinythinker.core.progress import say
from tinythinker.core.records import Question, Rationale, Stage
from tinythinker.core.run import RunDirectory
from tinythinker.core.seeds import stream
from tinythinker.evaluate.answer import answer_all, verdicts_name, write_verdicts
from tinythinker.evaluate.faithfulness import Faithfulness
from tinythinker.evaluate.probe import probe as probe_student
from tinythinker.evaluate.score import Score, score
from tinythinker.reflect.rounds import reflect_rounds
from tinythinker.report.page import write_page
from tinythinker.settings.schema import EvaluateSettings, RunSettings, validate
from tinythinker.stages.examples import Curriculum, count_by_stage
from tinythinker.stages.plan import PLANS
from tinythinker.student.encode import prompt_ids, target_ids
from tinythinker.student.flops import weights_of
from tinythinker.student.make import make_student
from tinythinker.student.student import Student, load_student
from tinythinker.tasks.registry import load_world
from tinythinker.teacher.llm.cost import Estimate
from tinythinker.teacher.llm.interview import batch_export, batch_import, estimate_cost, show_request
from tinythinker.teacher.rationales import read_rationales
from tinythinker.teacher.teach import settings_of, start, teach, timed
from tinythinker.train.loop import Job, count_steps, fit, is_finished
from tinythinker.use.ask import last_student, student_of, think

__all__ = [
    "batch_export",
    "batch_import",
    "cost",
    "evaluate",
    "last_student",
    "probe",
    "reflect",
    "report",
    "run_all",
    "show_request",
    "start",
    "teach",
    "think",
    "train",
]


def cost(task: str, *overrides: str, config: Path | None = None, run: str | Path | None = None) -> Estimate:
    """What asking a language model would take, before anything is sent (see `teacher.llm.estimate_cost`)."""
    return estimate_cost(task, overrides, config, Path(run) if run is not None else None)


def _rationales(run: RunDirectory) -> list[Rationale]:
    return read_rationales(run.rationales)[1]


def _questions(run: RunDirectory, split: str) -> list[Question]:
    if not run.quality.exists():
        raise DataError(f"{run.root}: found no finished `teach`, expected one; run `tinythinker teach` first")
    return read_records(run.questions(split), Question)


def train(run: RunDirectory, *overrides: str, force: bool = False) -> Path:
    """Phase 1, reasoning acquisition: supervised training on every stage of the plan.

    Returns:
        The folder of the student with the best validation accuracy.

    Raises:
        DataError: `teach` has not been run.
        TeacherError: a stage of the plan has nothing to learn from.
        StudentError: the student does not load, or its loss is no longer a number.
    """
    settings = settings_of(run, "train", overrides, force)
    questions, rationales = _questions(run, "train"), _rationales(run)
    folder = run.phase_1 / "student"
    if ranks.on_first(lambda: is_finished(run.phase_1)):
        return folder
    with timed(run, "train"):
        curriculum = curriculum_of(settings, questions, rationales)
        first = curriculum.epoch(0)  # complains of missing data before the student is loaded
        student = make_student(settings, questions, rationales)
        ranks.on_first(lambda: _describe_data(run, curriculum, student))
        valid = _questions(run, "valid")
        optim, epoch = settings.train, curriculum.epoch
        if settings.stages.order == "sequential":
            whole = curriculum.sequence(count_steps(optim, len(first)))
            optim, epoch = optim.model_copy(update={"epochs": 1}), lambda number: whole
        job = Job(
            name="phase-1",
            epoch=epoch,
            objective=sft_objective(student, settings.stages.rationale_weight),
            pieces=sft_pieces(student, optim.micro_batch_size),
            cycle=sum(curriculum.turn().values()),
            validate=lambda: greedy_accuracy(student, valid),
            dropout=True,
            keep_start=False,
        )
        fit(student, job, optim, seed=settings.seed, folder=run.phase_1)
    return folder


def curriculum_of(settings: RunSettings, questions: Sequence[Question], rationales: Sequence[Rationale]) -> Curriculum:
    """What phase 1 of a run with these settings trains on."""
    return Curriculum(
        settings=settings.stages,
        questions=tuple(questions),
        rationales=tuple(rationales),
        batch_size=settings.train.batch_size,
        seed=settings.seed,
    )


def _describe_data(run: RunDirectory, curriculum: Curriculum, student: Student) -> None:
    """Write and say what phase 1 trains on, and which texts are too long for the student."""
    examples = curriculum.examples(0)
    cut_prompts = sum(prompt_ids(student, [example.prompt for example in examples]).is_cut)
    cut_targets = sum(target_ids(student, [example.target for example in examples]).is_cut)
    facts: dict[str, object] = {
        "examples": {str(stage): count for stage, count in count_by_stage(examples).items()},
        "cut_prompts": cut_prompts,
        "cut_targets": cut_targets,
        "max_prompt_tokens": student.recipe.max_prompt_tokens,
        "max_target_tokens": student.recipe.max_target_tokens,
        "vocabulary": len(student.tokenizer),
        "parameters": student.count_parameters(),
        "weights": weights_of(student)._asdict(),
    }
    write_json(run.phase_1 / "data.json", facts)
    counts = ", ".join(f"{count} {stage}" for stage, count in count_by_stage(examples).items())
    say(f"phase-1: {counts} examples; {student.count_parameters():,} weights")
    if cut_prompts or cut_targets:
        say(
            f"phase-1: {cut_prompts} prompts lose their front (student.max_prompt_tokens) and {cut_targets} targets "
            f"their end (student.max_target_tokens), of {len(examples)} each"
        )


def greedy_accuracy(student: Student, questions: Sequence[Question]) -> float:
    """Share of the questions that a student answers right with greedy chains."""
    own = answer_all(student, ranks.share(questions), EvaluateSettings(), 0, None)
    right = ranks.gather([verdict.is_correct for verdict in own], len(questions))
    return sum(right) / len(right)


def reflect(run: RunDirectory, *overrides: str, force: bool = False) -> Path:
    """Phase 2, self-reflection: rounds of sampling, pairing and preference training.

    Returns:
        The folder of the last round's student, which is the best by validation unless `reflect.rollback` is off;
        phase 1's if there are no rounds.

    Raises:
        StudentError: phase 1 has not been run, or a loss is no longer a number.
    """
    settings = settings_of(run, "reflect", overrides, force)
    student_of(run, "phase-1")
    _refuse_reflection_on_nothing(settings)
    rounds = range(1, settings.reflect.rounds + 1)
    if not ranks.on_first(lambda: all(is_finished(run.round(number)) for number in rounds)):
        with timed(run, "reflect"):
            valid = _questions(run, "valid")
            reflect_rounds(
                run,
                _questions(run, "train"),
                _rationales(run),
                lambda student: greedy_accuracy(student, valid),
                settings.reflect,
                settings.seed,
            )
    done = [number for number in run.rounds() if number in rounds]
    return run.round(done[-1]) / "student" if done else run.phase_1 / "student"


def _refuse_reflection_on_nothing(settings: RunSettings) -> None:
    stages = {str(stage) for stage in PLANS[settings.stages.plan]} & set(settings.reflect.stages)
    if settings.reflect.rounds and not stages:
        wanted = f"a stage that stages.plan={settings.stages.plan} has, or reflect.rounds=0"
        raise SettingsError(expected("reflect.stages", list(settings.reflect.stages), wanted))
    if settings.reflect.rounds and Stage.RECALL not in PLANS[settings.stages.plan]:
        for key, value, wanted in (("sampling", "uncertain", "even"), ("on_policy", None, "1")):
            found = getattr(settings.reflect, key)
            if found == value or (key == "on_policy" and found < 1):
                where = f"setting reflect.{key} with stages.plan={settings.stages.plan}"
                raise SettingsError(expected(where, found, f"{wanted}: it is about recalls"))


def evaluate(run: RunDirectory, *overrides: str, force: bool = False) -> dict[str, Score]:
    """Let the student of phase 1 and of every round answer the test questions.

    Returns:
        Scores by student: `phase-1`, `round-1`, ...

    Raises:
        StudentError: phase 1 has not been run.
    """
    settings = settings_of(run, "evaluate", overrides, force)
    how = settings.evaluate
    student_of(run, "phase-1")
    questions = _questions(run, how.split)
    world = load_world(settings)
    scores = {}
    with timed(run, "evaluate"):
        for name in ["phase-1", *(f"round-{number}" for number in run.rounds())]:
            file = run.verdicts(verdicts_name(name, how))
            student = load_student(student_of(run, name))
            verdicts = write_verdicts(file, student, questions, how, settings.seed, world)
            scores[name] = score(verdicts)
    return scores


def probe(
    student: str | Path, *, run: str | Path | None = None, split: str = "test", questions: int | None = None
) -> Faithfulness:
    """Is the reasoning used? Change it on its way to the answer, and see what the answer does (`evaluate.probe`).

    Writes `probes/NAME.SPLIT.json` into the run directory; the report shows it.

    Args:
        student: a run directory (its last student), or a student's folder.
        run: the run whose questions to ask; needed if the folder lies in no run.
        split: test or valid.
        questions: ask a seeded draw of so many, in file order; None: all.

    Raises:
        SettingsError: there is no such split, or no run to take questions from.
        StudentError: there is no such student, or its plan has no reasoning to change.
    """
    folder = last_student(Path(student)).resolve()
    if not folder.exists():
        raise StudentError(f"{student}: found nothing there, expected a run directory or a student's folder")
    home = RunDirectory(Path(run).resolve()) if run is not None else run_around(folder)
    if split not in ("test", "valid"):
        raise SettingsError(expected("split", split, "test or valid"))
    settings = validate(home.manifest().settings)
    name = folder.parent.name if folder.parent.parent == home.root else folder.name
    asked = _some(_questions(home, split), questions, settings.seed)
    found = probe_student(
        load_student(folder), asked, world=load_world(settings), seed=settings.seed, name=name, split=split
    )
    file = home.probes / f"{name}.{split}.json"
    write_text(file, found.model_dump_json(indent=2) + "\n")
    say(f"probe: written to {file}; `tinythinker report` shows it")
    return found


def run_around(folder: Path) -> RunDirectory:
    """The run directory that a student's folder lies in. Raises SettingsError."""
    for parent in folder.parents:
        if RunDirectory(parent).exists:
            return RunDirectory(parent)
    raise SettingsError(
        f"{folder}: found no run directory around it, expected one; name one whose questions to ask (--run)"
    )


def _some(questions: list[Question], count: int | None, seed: int) -> list[Question]:
    if count is None or count >= len(questions):
        return questions
    chosen = stream(seed, "probe", "questions").permutation(len(questions))[:count]
    return [questions[i] for i in sorted(chosen)]


def report(run: RunDirectory) -> Path:
    """Write `report.html` from whatever the run directory holds so far."""
    ranks.on_first(lambda: write_page(run))
    return run.report


def run_all(run: RunDirectory) -> dict[str, Score]:
    """Every verb in order on a started run; returns the scores by student.

    Raises:
        SettingsError: there are rounds to do and the plan has no stage to reflect on.
        StudentError: a pretrained student does not load; found out before a paid teacher is asked.
    """
    settings = validate(run.manifest().settings)
    _refuse_reflection_on_nothing(settings)
    _refuse_absent_student(run, settings)
    teach(run)
    train(run)
    reflect(run)
    scores = evaluate(run)
    report(run)
    return scores


def _refuse_absent_student(run: RunDirectory, settings: RunSettings) -> None:
    """Load a pretrained student once before a language model is paid to teach it. Raises StudentError."""
    is_paid = settings.teacher.source == "openai" and not run.quality.exists()
    if is_paid and settings.student.init == "pretrained":
        make_student(settings, [], []).adapt(settings.seed, "phase-1")
