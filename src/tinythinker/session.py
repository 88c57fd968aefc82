"""One run: opening it, resuming it, and its verbs.

Every verb can be stopped at any moment and called again: it keeps what is finished and does the rest. Modules that need
torch are imported inside the verbs, so that opening a run and teaching answer at once.
"""

from __future__ import annotations

import functools
import inspect
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from tinythinker.acquire.curriculum import curriculum_of
from tinythinker.core import ranks
from tinythinker.core.conditions import conditions_now
from tinythinker.core.errors import DataError, SettingsError, TinyThinkerError, expected
from tinythinker.core.files import resolved, write_records
from tinythinker.core.progress import say, say_once
from tinythinker.core.records import Question, Rationale, Verdict
from tinythinker.core.run import VERBS, RunDirectory, TrainingFolder, differences, last_student, run_around
from tinythinker.core.seeds import stream
from tinythinker.evaluate.answered import read_answered, read_asked
from tinythinker.evaluate.score import verdicts_name
from tinythinker.reflect.preconditions import refuse_foreign_pairs, refuse_missing_rounds, refuse_reflection_on_nothing
from tinythinker.report.trackers import refuse_missing_trackers, tracked
from tinythinker.settings.resolve import (
    bound_of,
    chosen,
    load_settings,
    override,
    preset_of_student,
    reopened,
    validate,
)
from tinythinker.settings.schema import HUB, RunSettings
from tinythinker.stages.plan import answering_plan
from tinythinker.student.present import refuse_absent_student, refuse_no_student
from tinythinker.tasks.registry import BENCHMARKS, load_facts, load_task
from tinythinker.teacher.ready import refuse_unready_teacher
from tinythinker.teacher.taught import read_questions, read_taught

if TYPE_CHECKING:
    from tinythinker.evaluate.faithfulness import Faithfulness
    from tinythinker.evaluate.score import Score
    from tinythinker.teacher.llm.rehearsal import Rehearsal
    from tinythinker.teacher.quality import Quality

P = ParamSpec("P")
T = TypeVar("T")
_held: set[tuple[Path, int]] = set()
"""Run directories that a verb of this process is working in, with the thread it runs in."""

_MOST_UNREADABLE = 0.2
"""Share of unreadable answers from which on a remedy is said."""


@contextmanager
def _alone(run: RunDirectory, verb: str) -> Iterator[None]:
    """Be the only process that writes into a run; several processes of one job count as one."""
    here = (run.root.resolve(), threading.get_ident())
    if here in _held:  # `run` calls the other verbs
        yield
        return
    with ExitStack() as stack:

        def enter() -> None:
            run.manifest()  # nothing is written into a folder that is no run
            stack.enter_context(run.locked(verb))

        ranks.on_first(enter)
        _held.add(here)
        stack.callback(_held.discard, here)
        yield


def _alone_in_its_run(verb: Callable[P, T]) -> Callable[P, T]:
    """A verb that writes into its `run`: while it works, no other process may. Raises DataError if one does.

    The settings of a verb that fails before it has made anything are forgotten.
    """
    signature = inspect.signature(verb)

    @functools.wraps(verb)
    def alone(*args: P.args, **kwargs: P.kwargs) -> T:
        run = signature.bind(*args, **kwargs).arguments["run"]
        with _alone(run, verb.__name__):
            before = run.manifest() if ranks.is_first() else None
            try:
                return verb(*args, **kwargs)
            except TinyThinkerError:
                if before is not None and verb.__name__ in VERBS:
                    run.withdraw(verb.__name__, before)
                raise

    return alone


def start(
    task: str,
    out: str | PathLike[str],
    *overrides: str,
    config: Path | None = None,
    force: bool = False,
    for_run: bool = False,
) -> RunDirectory:
    """Resolve the settings of a task and open (or reopen) a run directory for it.

    What is wrong with settings, questions or teacher is found before anything is written or deleted. A run that has
    begun keeps the settings it has; those given here must match them.

    Args:
        task: csqa, obqa, strategyqa, storeroom, a file of questions, or hub:OWNER/NAME[/CONFIG].
        out: the run directory.
        overrides: `key.path=value`, over the preset and the config file.
        config: a YAML file of settings.
        force: delete what the directory's run made, and start over.
        for_run: `run` will follow: check what the later verbs need too, and let your own questions without a teacher
            make a run that learns from labels alone.

    Raises:
        SettingsError: a setting is wrong, or the directory belongs to a run with other settings.
        DataError, TeacherError: the questions or the teacher's files are not usable.
        StudentError: the student is not there (with `for_run`).
    """
    run = RunDirectory(Path(out))
    find = _settings_for_run if for_run else load_settings

    def resolve() -> RunSettings:
        settings = find(task, overrides, config)
        is_new = force or not run.exists or not run.manifest().begun  # a rehearsal decides no setting
        return settings if is_new else _kept(run, settings, overrides, config)

    settings = ranks.on_first(resolve)

    def begin() -> None:
        if force or not run.quality.exists():
            questions = load_task(settings)
            for line in questions.about if for_run else ():
                say(line)
            if followed := preset_of_student(settings):
                say_once(f"student {settings.student.name}: a causal model, so its preset sets {' '.join(followed)}")
            refuse_unready_teacher(settings, questions, run)
        if for_run:
            refuse_unready(settings)
        run.refuse_foreign()  # nothing is written into a folder that is no run, not even a lock
        with run.locked("start"):
            run.begin("teach", settings.plain(), bound_of(settings), force=force)

    ranks.on_first(begin)
    return run


def _kept(run: RunDirectory, wanted: RunSettings, overrides: Sequence[str], config: Path | None) -> RunSettings:
    """The settings of a run that has begun, with what the user gives on top; says which of its own it keeps.

    Args:
        wanted: what a new run would have.
    """
    stored = validate(run.manifest().settings)
    if stored.task != wanted.task:
        return wanted
    settings = reopened(stored, overrides, config)
    if changed := differences(bound_of(settings).flat, bound_of(wanted).flat):
        say(f"{run.root}: goes on with its own settings, a new run would have others ({'; '.join(changed)})")
    return settings


def _settings_for_run(task: str, overrides: Sequence[str], config: Path | None) -> RunSettings:
    """The settings of a task; of your own questions without a teacher, those for labels alone."""
    settings = load_settings(task, overrides, config)
    teacher = settings.teacher
    is_without = teacher.source == "recorded" and teacher.path is None and settings.data.recall is None
    if task in BENCHMARKS or not is_without or not (task.startswith(HUB) or Path(task).is_file()):
        return settings
    if any(key == "stages.plan" or key.startswith("teacher") for key in chosen(overrides, config)):
        return settings
    words = ("teacher.source=none", "stages.plan=summarize", "reflect.rounds=0")
    say(
        f"{task} comes without rationales: the student learns from labels alone, without reflection ({' '.join(words)})"
        "; for reasoning give teacher.path=FILE, or teacher.source=openai and a model"
    )
    return load_settings(task, (*words, *overrides), config)


def refuse_unready(settings: RunSettings) -> None:
    """Raise SettingsError or StudentError if a verb after `teach` could not work with these settings."""
    refuse_reflection_on_nothing(settings)
    refuse_absent_student(settings.student)
    refuse_missing_trackers(settings.trackers)


def settings_of(run: RunDirectory) -> RunSettings:
    """The settings that a run was made with. Raises DataError, SettingsError."""
    return ranks.on_first(lambda: validate(run.manifest().settings))


def _open(
    run: RunDirectory, verb: str, overrides: Sequence[str], force: bool, check: Callable[[RunSettings], None]
) -> RunSettings:
    """The run's settings with overrides on top, registered for a verb; those of `evaluate` hold for this call only.

    Args:
        check: raises an error if the verb could not work; nothing is written or deleted then.
    """
    before = settings_of(run)

    def begin() -> RunSettings:
        settings = override(before, overrides)
        check(settings)
        kept = settings.model_copy(update={"evaluate": before.evaluate})
        run.begin(verb, kept.plain(), bound_of(settings), force=force)
        return settings

    return ranks.on_first(begin)


@contextmanager
def _at_work(run: RunDirectory, verb: str) -> Iterator[None]:
    """Record what a verb works under, and add the time spent inside to what it has taken."""
    started = time.monotonic()
    if ranks.is_first() and verb != "teach" and (changed := run.add_conditions(verb, conditions_now())):
        say(f"{verb}: goes on with {', '.join(changed)}; this may change the last bits of what it computes")
    try:
        yield
    finally:
        if ranks.is_first():
            run.add_seconds(verb, time.monotonic() - started)


@_alone_in_its_run
def teach(run: RunDirectory, *overrides: str, force: bool = False) -> Quality:
    """Read the questions, and collect the teacher's rationales for the training split.

    A language model's answers are saved as they arrive. An interrupted call is resumed by the next one, and no answer
    is requested twice, not even with `force`.

    Returns:
        Figures of what was kept and what was not; also in `teacher/quality.json`.

    Raises:
        DataError, TeacherError: the questions or the rationales cannot be loaded.
        KeyboardInterrupt: the user stopped it; what was received is kept.
    """
    from tinythinker.teacher.quality import read_quality
    from tinythinker.teacher.teach import collect, has_more_to_ask

    settings = _open(run, "teach", overrides, force, lambda settings: None)

    def work() -> Quality:
        if run.quality.exists():
            run.refuse_changed_inputs()
            made = run.final("teach")
            run.confirm(*(file for file in made if file.exists()))
            missing = [str(file) for file in made if not file.exists()]
            if missing:
                say(f"teach: {', '.join(missing)} is gone; made again")
            elif not has_more_to_ask(run, settings):
                say("teach: already finished; nothing to ask")
                return read_quality(run.quality)
        if not run.has_work_of("train"):  # else what is made again must be what the student learned from
            run.forget(*run.made_by("teach"))
        with _at_work(run, "teach"):
            quality = collect(run, settings)
        run.confirm(*run.final("teach"))
        return quality

    return ranks.on_first(work)


def try_(
    task: str, *overrides: str, out: str | PathLike[str], questions: int = 3, config: Path | None = None
) -> Rehearsal:
    """A rehearsal with a language model as teacher: one completion on each of a few questions.

    The answers are kept in the run directory, and a later `teach` there with the same settings does not ask for them
    again. A rehearsal decides no setting: the next one may have others.

    Args:
        task, overrides, config: as for `start`; `teacher.source=openai` is implied.
        out: the run directory; made if there is none.
        questions: the first so many training questions are asked about.

    Raises:
        SettingsError: a setting is wrong, no model is named, or the directory belongs to a run with other settings.
        DataError: the questions cannot be loaded, or another process is using this run.
        TeacherError: the endpoint does not answer; what was received is kept.
    """
    from tinythinker.teacher.llm.rehearsal import rehearse

    if questions < 1:
        raise SettingsError(expected("questions", questions, "1 or more"))
    before = RunDirectory(Path(out))
    is_begun = before.exists and bool(before.manifest().begun)
    run = start(task, out, "teacher.source=openai", *overrides, config=config)
    with _alone(run, "try"):
        try:
            return rehearse(run, settings_of(run), questions)
        finally:
            if not is_begun:
                run.release("teach")


@_alone_in_its_run
def train(run: RunDirectory, *overrides: str, force: bool = False) -> Path:
    """Phase 1, reasoning acquisition: supervised training on every stage of the plan.

    Returns:
        The folder of the student with the best validation accuracy.

    Raises:
        DataError: `teach` has not been run.
        TeacherError: a stage of the plan has nothing to learn from.
        StudentError: the student does not load, or its loss is no longer a number.
    """
    folder = run.phase_1

    def check(settings: RunSettings) -> None:
        questions, rationales = _taught(run)
        refuse_missing_trackers(settings.trackers)
        if force or not folder.is_finished:
            refuse_absent_student(settings.student)
            curriculum_of(settings, questions, rationales).epoch(0)
        if not force and not folder.is_finished and (run.begun_rounds() or run.verdicts_folder.exists()):
            raise DataError(
                f"{folder.student}: found no student, expected the one that rounds or verdicts were made with; restore "
                f"it, or run `tinythinker train {run.root} --force` to make all of them again"
            )

    settings = _open(run, "train", overrides, force, check)
    if ranks.on_first(lambda: _is_done(run, folder)):
        return folder.student

    from tinythinker.acquire.phase_1 import acquire
    from tinythinker.evaluate.verdicts import greedy_accuracy

    questions, valid = read_questions(run, "train"), read_questions(run, "valid")
    with _at_work(run, "train"), tracked(run, settings.trackers):
        rationales = read_taught(run, questions)
        acquire(settings, questions, rationales, lambda student: greedy_accuracy(student, valid), folder)
    ranks.on_first(lambda: run.confirm(*run.final_of(folder)))
    return folder.student


def _is_done(run: RunDirectory, folder: TrainingFolder) -> bool:
    """Is a training finished? Also checks what it made for good, and removes what a kill left."""
    final = run.final_of(folder)
    run.forget(*(path for path in folder.results if path not in final))
    run.confirm(*final)
    if folder.is_finished:
        folder.remove_leftovers()
    return folder.is_finished


def _taught(run: RunDirectory) -> tuple[Sequence[Question], Sequence[Rationale]]:
    """The training questions and their rationales, once they and the validation questions are known to be whole."""
    run.confirm(*(file for file in run.final("teach") if file not in (run.questions("test"), run.rejected)))
    read_questions(run, "valid")
    questions = read_questions(run, "train")
    return questions, read_taught(run, questions)


@_alone_in_its_run
def reflect(run: RunDirectory, *overrides: str, force: bool = False, pairs_only: bool = False) -> Path:
    """Phase 2, self-reflection: rounds of sampling, pairing and preference training.

    Args:
        pairs_only: make the pairs of the first round that has not been trained yet, and stop there.

    Returns:
        The folder of the last round's student, which is the best by validation unless `reflect.rollback` is off;
        phase 1's if there are no rounds. With `pairs_only`, the last file of pairs.

    Raises:
        StudentError: phase 1 has not been run, or a loss is no longer a number.
    """

    def check(settings: RunSettings) -> None:
        run.student(run.phase_1.name)
        run.confirm(*run.final("train"))
        refuse_reflection_on_nothing(settings)
        refuse_missing_trackers(settings.trackers)
        questions, _ = _taught(run)
        if not force:
            refuse_missing_rounds(run)
            run.confirm(*run.final("reflect"))
            refuse_foreign_pairs(run, questions if settings.reflect.pairs is None else None)

    settings = _open(run, "reflect", overrides, force, check)
    rounds = range(1, settings.reflect.rounds + 1)
    done = ranks.on_first(lambda: [_is_done(run, run.round(number)) for number in rounds])
    if not all(done):
        from tinythinker.evaluate.verdicts import greedy_accuracy
        from tinythinker.reflect.rounds import reflect_rounds

        questions, valid = read_questions(run, "train"), read_questions(run, "valid")
        with _at_work(run, "reflect"), tracked(run, settings.trackers):
            reflect_rounds(
                run,
                questions,
                read_taught(run, questions),
                lambda student: greedy_accuracy(student, valid),
                settings.reflect,
                settings.seed,
                is_pairs_only=pairs_only,
            )
        if not pairs_only:
            ranks.on_first(lambda: run.confirm(*run.final("reflect")))
    if pairs_only:
        return _last_pairs(run, rounds)
    last = [number for number in run.rounds() if number in rounds][-1:]
    return run.round(last[0]).student if last else run.phase_1.student


def _last_pairs(run: RunDirectory, rounds: range) -> Path:
    """The pairs of the last of these rounds that has any. Raises SettingsError if none has."""
    files = [run.round(number).pairs for number in rounds if run.round(number).pairs.exists()]
    if not files:
        raise SettingsError(expected("reflect.rounds", len(rounds), "1 or more, to make pairs"))
    return files[-1]


@_alone_in_its_run
def evaluate(run: RunDirectory, *overrides: str, force: bool = False) -> dict[str, Score]:
    """Let the student of phase 1 and of every round answer the test questions.

    Returns:
        Scores by student: `phase-1`, `round-1`, ...

    Raises:
        StudentError: phase 1 has not been run.
    """
    from tinythinker.evaluate.score import score

    def check(settings: RunSettings) -> None:
        run.student(run.phase_1.name)
        run.confirm(*run.final("train", "reflect"))
        how = settings.evaluate
        answering_plan(settings.stages.plan, how.plan)  # complains of stages that the student lacks
        questions = read_asked(run, how.split)
        run.confirm(run.questions(how.split))
        for name in [] if force else run.trainings():
            if (file := run.verdicts(verdicts_name(name, how))).exists():
                read_answered(run, file, questions)

    settings = _open(run, "evaluate", overrides, force, check)
    questions = read_questions(run, settings.evaluate.split)
    scores = {name: score(_verdicts(run, name, questions, settings)) for name in run.trainings()}
    for name, one in scores.items():
        if one.unreadable > _MOST_UNREADABLE:
            say(
                f"{name}: {one.unreadable:.0%} of its answers are unreadable, which count as wrong; it has not learned "
                "how to answer: train longer, or at another rate (train.epochs, train.learning_rate), or take the most "
                "likely option (generate.answer=constrained)"
            )
    return scores


def _verdicts(run: RunDirectory, name: str, questions: Sequence[Question], settings: RunSettings) -> Sequence[Verdict]:
    """A student's verdicts on all questions: those on disk, and new ones on the rest."""
    how = settings.evaluate
    file = run.verdicts(verdicts_name(name, how))

    def before() -> Sequence[Verdict]:
        answered = read_answered(run, file, questions) if file.exists() else None
        if answered is not None and answered.is_finished:
            run.confirm(file)
            return answered.verdicts
        run.forget(file)
        return ()

    if done := ranks.on_first(before):
        return done
    if (same := ranks.on_first(lambda: run.same_student(name))) is not None:  # a round that was rolled back
        verdicts = _verdicts(run, same, questions, settings)
        ranks.on_first(lambda: write_records(file, verdicts))
        ranks.on_first(lambda: run.confirm(file))
        return verdicts

    from tinythinker.evaluate.verdicts import write_verdicts
    from tinythinker.student.load import load_student

    with _at_work(run, "evaluate"):
        student = load_student(run.student(name))
        verdicts = write_verdicts(file, student, questions, how, settings.seed, load_facts(settings))
    ranks.on_first(lambda: run.confirm(file))
    return verdicts


def evaluate_untrained(student: str | PathLike[str], task: str, *overrides: str) -> dict[str, Score]:
    """Let a pretrained model answer a task's test questions without any training, as the field scores such models.

    It writes nothing. A method should do better than each of these figures.

    Args:
        student: a folder, or a Hugging Face name.
        task, overrides: as for `start`.

    Returns:
        Scores by the way of answering: `cloze` (the text of an option that is the most likely after "Question: ...
        Answer:", per character), `cloze_sum`, `cloze_token` and `letters` (see `tinythinker methods`).

    Raises:
        SettingsError, DataError: a setting is wrong, or the questions cannot be loaded.
        StudentError: there is no such model, or it does not load.
    """
    settings = load_settings(task, ("student.init=pretrained", f"student.name={student}", *overrides))
    refuse_absent_student(settings.student)
    questions = load_task(settings).splits[settings.evaluate.split]
    say(f"{student}: untrained, on {len(questions)} {settings.evaluate.split} questions of {task}")

    from tinythinker.evaluate.score import score
    from tinythinker.evaluate.untrained import answer_untrained

    verdicts = answer_untrained("pretrained", questions, [], settings)
    return {name: score(some) for name, some in verdicts.items()}


def report(run: RunDirectory, *overrides: str) -> Path:
    """Write `report.html` from the current contents of the run directory, finished or not.

    Args:
        overrides: settings that must match the run's own.

    Raises:
        SettingsError: they do not.
        DataError: the directory is not a run, or a file in it is damaged.
    """
    from tinythinker.report.page import write_page

    def work() -> None:
        manifest = run.manifest()
        run.refuse_changes(manifest.begun, bound_of(override(validate(manifest.settings), overrides)))
        write_page(run)

    ranks.on_first(work)
    return run.report


@_alone_in_its_run
def run(run: RunDirectory) -> dict[str, Score]:
    """Every verb in order on a started run: teach, train, reflect, evaluate, report.

    Returns:
        Scores by student, as `evaluate` does.

    Raises:
        SettingsError: there are rounds to do and the plan has no stage to reflect on.
        StudentError: a pretrained student does not load; found out before a paid teacher is asked.
    """
    settings = settings_of(run)
    refuse_unready(settings)
    _load_before_paying(run, settings)
    teach(run)
    train(run)
    reflect(run)
    scores = evaluate(run)
    report(run)
    return scores


def _load_before_paying(run: RunDirectory, settings: RunSettings) -> None:
    """Load a pretrained student once before a language model is paid to teach it. Raises StudentError."""
    is_paid = settings.teacher.llm is not None and not run.quality.exists()
    if is_paid and settings.student.init == "pretrained":
        from tinythinker.student.make import make_student

        make_student(settings, [], []).adapt(settings.seed, "phase-1")


def probe(
    student: str | PathLike[str],
    *,
    run: str | PathLike[str] | None = None,
    split: str = "test",
    questions: int | None = None,
) -> Faithfulness:
    """Is the reasoning used? Change it on its way to the answer, and see how the answer reacts (`evaluate.probe`).

    Writes `probes/NAME.SPLIT.json` into the run directory; the report shows it.

    Args:
        student: a run directory (its last student), a student's folder, or any pretrained model, which recalls in
            words of its own before it answers.
        run: the run whose questions to ask; needed if the student lies in no run.
        split: test or valid.
        questions: ask only this many, a seeded draw in file order; None asks all.

    Raises:
        SettingsError: there is no such split, or no run to take questions from.
        StudentError: there is no such student, or its plan has no reasoning to change.
    """
    found_at = last_student(Path(student))
    refuse_no_student(str(found_at))
    folder = resolved(found_at) if found_at.is_dir() else found_at
    home = RunDirectory(resolved(Path(run))) if run is not None else run_around(folder)
    if split not in ("test", "valid"):
        raise SettingsError(expected("split", split, "test or valid"))

    settings = settings_of(home)
    name = folder.parent.name if folder.parent.parent == home.root else folder.name
    asked = _some(read_asked(home, split), questions, settings.seed)

    from tinythinker.evaluate.probe import probe as probe_student
    from tinythinker.student.load import load_student

    found = probe_student(
        load_student(folder), asked, facts=load_facts(settings), seed=settings.seed, name=name, split=split
    )
    with _alone(home, "probe"):
        file = home.write_probe(name, split, found)
    say(f"probe: written to {file}; `tinythinker report` shows it")
    return found


def _some(questions: Sequence[Question], count: int | None, seed: int) -> Sequence[Question]:
    if count is None or count >= len(questions):
        return questions
    chosen = stream(seed, "probe", "questions").permutation(len(questions))[:count]
    return [questions[i] for i in sorted(chosen)]
