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
from contextlib import ExitStack, contextmanager, nullcontext
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from tinythinker.core import ranks
from tinythinker.core.errors import DataError, SettingsError, StudentError, expected
from tinythinker.core.files import read_records, resolved, write_record
from tinythinker.core.progress import say
from tinythinker.core.records import Question
from tinythinker.core.run import RunDirectory, last_student, run_around
from tinythinker.core.seeds import stream
from tinythinker.settings.resolve import bound_of, load_settings, override, validate
from tinythinker.settings.schema import RunSettings
from tinythinker.stages.plan import answering_plan

if TYPE_CHECKING:
    from tinythinker.evaluate.faithfulness import Faithfulness
    from tinythinker.evaluate.score import Score
    from tinythinker.teacher.quality import Quality

P = ParamSpec("P")
T = TypeVar("T")
_held: set[tuple[Path, int]] = set()
"""Run directories that a verb of this process is working in, with the thread it runs in."""


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
    """A verb that writes into its `run`: while it works, no other process may. Raises DataError if one does."""
    signature = inspect.signature(verb)

    @functools.wraps(verb)
    def alone(*args: P.args, **kwargs: P.kwargs) -> T:
        with _alone(signature.bind(*args, **kwargs).arguments["run"], verb.__name__):
            return verb(*args, **kwargs)

    return alone


def start(
    task: str, out: str | PathLike[str], *overrides: str, config: Path | None = None, force: bool = False
) -> RunDirectory:
    """Resolve the settings of a task and open (or reopen) a run directory for it.

    Args:
        task: csqa, obqa, strategyqa, storeroom, or a .jsonl or .csv file.
        out: the run directory.
        overrides: `key.path=value`, over the preset and the config file.
        config: a YAML file of settings.
        force: delete what the directory's run made, and start over.

    Raises:
        SettingsError: a setting is wrong, or the directory belongs to a run with other settings.
    """
    run = RunDirectory(Path(out))
    settings = ranks.on_first(lambda: load_settings(task, overrides, config))

    def begin() -> None:
        with run.locked("start") if run.exists else nullcontext():
            run.begin("teach", settings.plain(), bound_of(settings), force=force)

    ranks.on_first(begin)
    return run


def settings_of(run: RunDirectory) -> RunSettings:
    """The settings that a run was made with. Raises DataError, SettingsError."""
    return ranks.on_first(lambda: validate(run.manifest().settings))


def _open(run: RunDirectory, verb: str, overrides: Sequence[str], force: bool) -> RunSettings:
    """The run's settings with overrides on top, registered for a verb; those of `evaluate` hold for this call only."""
    before = settings_of(run)
    settings = ranks.on_first(lambda: override(before, overrides))
    kept = settings.model_copy(update={"evaluate": before.evaluate})
    ranks.on_first(lambda: run.begin(verb, kept.plain(), bound_of(settings), force=force))
    return settings


@contextmanager
def _timed(run: RunDirectory, verb: str) -> Iterator[None]:
    """Add the time spent inside to what a verb has taken."""
    started = time.monotonic()
    try:
        yield
    finally:
        if ranks.is_first():
            run.add_seconds(verb, time.monotonic() - started)


def _questions(run: RunDirectory, split: str) -> list[Question]:
    if not run.quality.exists():
        raise DataError(f"{run.root}: found no finished `teach`, expected one; run `tinythinker teach` first")
    return read_records(run.questions(split), Question)


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

    settings = _open(run, "teach", overrides, force)

    def work() -> Quality:
        if run.quality.exists():
            run.refuse_changed_inputs()
            if not has_more_to_ask(run, settings):
                say("teach: already finished; nothing to ask")
                return read_quality(run.quality)
        with _timed(run, "teach"):
            return collect(run, settings)

    return ranks.on_first(work)


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
    settings = _open(run, "train", overrides, force)
    questions, valid = _questions(run, "train"), _questions(run, "valid")
    if ranks.on_first(lambda: run.phase_1.is_finished):
        ranks.on_first(run.phase_1.remove_leftovers)
        return run.phase_1.student

    from tinythinker.acquire.phase_1 import acquire
    from tinythinker.evaluate.verdicts import greedy_accuracy
    from tinythinker.teacher.rationales import read_rationales

    with _timed(run, "train"):
        rationales = read_rationales(run.rationales)[1]
        acquire(settings, questions, rationales, lambda student: greedy_accuracy(student, valid), run.phase_1)
    return run.phase_1.student


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
    from tinythinker.reflect.preconditions import refuse_reflection_on_nothing

    settings = _open(run, "reflect", overrides, force)
    run.student(run.phase_1.name)
    refuse_reflection_on_nothing(settings)
    rounds = range(1, settings.reflect.rounds + 1)
    if not ranks.on_first(lambda: all(run.round(number).is_finished for number in rounds)):
        from tinythinker.evaluate.verdicts import greedy_accuracy
        from tinythinker.reflect.rounds import reflect_rounds
        from tinythinker.teacher.rationales import read_rationales

        with _timed(run, "reflect"):
            valid = _questions(run, "valid")
            reflect_rounds(
                run,
                _questions(run, "train"),
                read_rationales(run.rationales)[1],
                lambda student: greedy_accuracy(student, valid),
                settings.reflect,
                settings.seed,
                is_pairs_only=pairs_only,
            )
    else:
        for number in rounds:
            ranks.on_first(run.round(number).remove_leftovers)
    if pairs_only:
        return _last_pairs(run, rounds)
    done = [number for number in run.rounds() if number in rounds]
    return run.round(done[-1]).student if done else run.phase_1.student


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
    from tinythinker.evaluate.score import score, verdicts_name
    from tinythinker.evaluate.verdicts import write_verdicts
    from tinythinker.student.load import load_student
    from tinythinker.tasks.registry import load_facts

    settings = _open(run, "evaluate", overrides, force)
    how = settings.evaluate
    run.student(run.phase_1.name)
    answering_plan(settings.stages.plan, how.plan)  # complains of stages that the student lacks
    questions = _questions(run, how.split)
    facts = load_facts(settings)
    scores = {}
    with _timed(run, "evaluate"):
        for name in run.trainings():
            file = run.verdicts(verdicts_name(name, how))
            student = load_student(run.student(name))
            scores[name] = score(write_verdicts(file, student, questions, how, settings.seed, facts))
    return scores


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
    from tinythinker.reflect.preconditions import refuse_reflection_on_nothing

    settings = settings_of(run)
    refuse_reflection_on_nothing(settings)
    _refuse_absent_student(run, settings)
    teach(run)
    train(run)
    reflect(run)
    scores = evaluate(run)
    report(run)
    return scores


def _refuse_absent_student(run: RunDirectory, settings: RunSettings) -> None:
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
        student: a run directory (its last student), or a student's folder.
        run: the run whose questions to ask; needed if the folder lies in no run.
        split: test or valid.
        questions: ask only this many, a seeded draw in file order; None asks all.

    Raises:
        SettingsError: there is no such split, or no run to take questions from.
        StudentError: there is no such student, or its plan has no reasoning to change.
    """
    folder = resolved(last_student(Path(student)))
    if not folder.exists():
        raise StudentError(f"{student}: found nothing there, expected a run directory or a student's folder")
    home = RunDirectory(resolved(Path(run))) if run is not None else run_around(folder)
    if split not in ("test", "valid"):
        raise SettingsError(expected("split", split, "test or valid"))

    from tinythinker.evaluate.probe import probe as probe_student
    from tinythinker.student.load import load_student
    from tinythinker.tasks.registry import load_facts

    settings = settings_of(home)
    name = folder.parent.name if folder.parent.parent == home.root else folder.name
    asked = _some(_questions(home, split), questions, settings.seed)
    found = probe_student(
        load_student(folder), asked, facts=load_facts(settings), seed=settings.seed, name=name, split=split
    )
    file = home.probe(name, split)
    with _alone(home, "probe"):
        write_record(file, found)
    say(f"probe: written to {file}; `tinythinker report` shows it")
    return found


def _some(questions: list[Question], count: int | None, seed: int) -> list[Question]:
    if count is None or count >= len(questions):
        return questions
    chosen = stream(seed, "probe", "questions").permutation(len(questions))[:count]
    return [questions[i] for i in sorted(chosen)]
