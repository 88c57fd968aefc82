"""Running the cells of a study: one run directory per cell, none run twice, a shared phase 1 trained once."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from threading import Thread
from typing import NamedTuple

import torch

from tinythinker import session
from tinythinker.acquire.curriculum import Batch, curriculum_of
from tinythinker.core.errors import StudentError, TinyThinkerError
from tinythinker.core.files import whole_folder, write_records, write_text
from tinythinker.core.progress import say
from tinythinker.core.records import Question, Rationale, Verdict
from tinythinker.core.run import RunDirectory, StudyDirectory
from tinythinker.evaluate.score import verdicts_name
from tinythinker.evaluate.untrained import answer_untrained
from tinythinker.settings.resolve import bound_of, load_settings, validate
from tinythinker.settings.schema import RunSettings
from tinythinker.student.encode import Rows, prompt_ids, target_ids
from tinythinker.student.make import make_student
from tinythinker.student.student import Student
from tinythinker.study.folders import cell_of, kept_budget
from tinythinker.study.grid import Budget, Grid, Place
from tinythinker.teacher.taught import read_questions, read_taught
from tinythinker.train.loop import count_steps


def do_cells(grid: Grid, directory: StudyDirectory, workers: int) -> None:
    """Run every cell of a grid that is not finished yet.

    Cells with the same seed and the same settings of teach and train share one training of phase 1.

    Args:
        workers: number of parallel processes; they share the cores.

    Raises:
        TinyThinkerError: a cell failed; the finished cells are kept.
    """
    groups = _groups(grid)
    count = sum(map(len, groups))
    done = 0
    say(
        f"study: {count} cells in {len(groups)} groups (a group shares phase 1, or needs none); "
        f"budget: equal {_in_words(grid.budget)}"
    )
    if workers == 1:
        for group in groups:
            _do_group(grid, directory, group)
            done += len(group)
            say(f"study: {done} of {count} cells done")
        return
    started = (workers, os.getpid())
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin_worker, initargs=started) as pool:
        futures = {pool.submit(_do_group, grid, directory, group): group for group in groups}
        try:
            for future in as_completed(futures):
                future.result()
                done += len(futures[future])
                say(f"study: {done} of {count} cells done")
        except BrokenProcessPool:
            raise StudentError(
                "study: found a worker process that ended early (out of memory?), expected it to finish; run the same "
                "command again with fewer --workers to continue; a script needs `if __name__ == '__main__':` around it"
            ) from None
        except BaseException:
            for child in active_children():
                child.terminate()
            raise


def _in_words(budget: Budget) -> str:
    return {"steps": "optimizer steps", "target_tokens": "target tokens", "flops": "floating-point operations"}[budget]


def _begin_worker(workers: int, parent: int) -> None:
    """Take a share of the cores, leave Ctrl-C to the parent, and exit when the parent ends for any reason."""
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _groups(grid: Grid) -> list[list[Place]]:
    """The cells in the order of the grid, grouped by the training of phase 1 that they share."""
    groups: dict[str, list[Place]] = {}
    for place in grid.cells():
        bound = bound_of(load_settings(grid.task, grid.overrides(place))).by_verb
        key = repr((place.value, place.seed, bound["teach"], bound["train"], grid.method(place.method).untrained))
        groups.setdefault(key, []).append(place)
    return list(groups.values())


def _do_group(grid: Grid, directory: StudyDirectory, group: Sequence[Place]) -> None:
    done: list[RunDirectory] = []
    answered: dict[str, list[Verdict]] = {}
    for place in group:
        run = cell_of(grid, place, directory)
        name = run.root.relative_to(directory.root)
        say(f"study: {name}")
        try:
            if grid.method(place.method).untrained:
                _answer_untrained(grid, place, run, answered)
            else:
                _do_cell(grid, place, run, done)
                done.append(run)
            _report(run)
        except TinyThinkerError as error:
            raise type(error)(f"{name}: {error}") from None


def _do_cell(grid: Grid, place: Place, run: RunDirectory, done: Sequence[RunDirectory]) -> None:
    session.start(grid.task, run.root, *grid.overrides(place), *kept_budget(run))
    if done and not run.phase_1.root.exists():
        _adopt(run, done)
    session.teach(run)
    session.train(run, *(kept_budget(run) or _budget(grid, place, run)))
    session.reflect(run)
    session.evaluate(run)


def _report(run: RunDirectory) -> None:
    """Write the report of a finished cell, unless it is there and newer than the verdicts."""
    answered = max(file.stat().st_mtime for file in run.verdicts_files())
    if not run.report.exists() or run.report.stat().st_mtime < answered:
        session.report(run)


def _adopt(run: RunDirectory, done: Sequence[RunDirectory]) -> None:
    """Copy phase 1 from a finished cell that shares it, and phase 2 if one has the same reflect settings.

    Their verdicts come along: a file's name says the student, the split and the way of answering.
    """

    def reflects(other: RunDirectory) -> object:
        return other.manifest().settings["reflect"]

    alike = [other for other in done if reflects(other) == reflects(run)]
    other = [*alike, *done][0]
    verbs = ("teach", "train", "reflect") if alike else ("teach", "train")
    theirs, ours = other.manifest(), run.manifest()
    folders = ("questions", "teacher", *(other.trainings()[1:] if alike else []), "phase-1")
    tested = [file for file in sorted(other.verdicts_files()) if file.name.partition(".")[0] in folders]
    update = {
        "begun": {**ours.begun, **{verb: theirs.begun[verb] for verb in verbs}},
        "seconds": {verb: theirs.seconds.get(verb, 0.0) for verb in verbs},
        "inputs": theirs.inputs,
        "files": {
            name: held
            for name, held in theirs.files.items()
            if name.split("/")[0] in folders or other.root / name in tested
        },
        "conditions": {verb: theirs.conditions[verb] for verb in verbs if verb in theirs.conditions},
        "settings": {**ours.settings, "train": theirs.settings["train"]},
    }
    for folder in folders:  # phase-1 last: it marks the copy as complete
        shutil.rmtree(run.part(folder), ignore_errors=True)
        with whole_folder(run.part(folder)) as temporary:
            shutil.copytree(other.part(folder), temporary, dirs_exist_ok=True)
        if folder == "teacher":
            for file in tested:
                write_text(run.verdicts_folder / file.name, file.read_text(encoding="utf-8"))
            run.save(ours.model_copy(update=update))


def _answer_untrained(grid: Grid, place: Place, run: RunDirectory, answered: dict[str, list[Verdict]]) -> None:
    """Write the verdicts of a method that does not train; it reads the questions and needs no teacher.

    Args:
        answered: by method, those that came beside the ones of earlier cells; receives new ones.
    """
    how = str(grid.method(place.method).untrained)
    session.start(grid.task, run.root, *grid.overrides(place))
    settings = validate(run.manifest().settings)
    file = run.verdicts(verdicts_name(place.method, settings.evaluate.model_copy(update={"votes": 1})))
    if file.exists():
        return
    session.teach(run)
    if place.method not in answered:
        questions, train = read_questions(run, settings.evaluate.split), read_questions(run, "train")
        answered |= answer_untrained(how, questions, train, settings)
    write_records(file, answered[place.method])
    run.confirm(file)


def _budget(grid: Grid, place: Place, run: RunDirectory) -> tuple[str, ...]:
    """Settings for a phase 1 as long as the budget allows: what the study's own plan spends in its steps.

    Empty for a method that sets the length of phase 1 itself.
    """
    if any(text.startswith(("train.max_steps=", "train.epochs=")) for text in grid.methods[place.method]):
        return ()
    settings = validate(run.manifest().settings)
    stages = load_settings(grid.task, grid.common(place))
    questions = read_questions(run, "train")
    data = Data(questions, read_taught(run, questions))
    steps = count_steps(stages.train, len(curriculum_of(stages, *data).epoch(0)))
    longest = steps
    if grid.budget != "steps":
        spender = Spender(make_student(settings, *data), grid.budget)
        longest = spender.steps_for(settings, data, spender.spent(stages, data, steps))
        spent = f"as many {_in_words(grid.budget)} as {steps} steps of stages.plan={stages.stages.plan}"
        say(f"study: {place}: {longest} steps use {spent}")
    every = stages.train.validate_every
    scaled = "null" if every is None else str(max(1, round(every * longest / steps)))
    return (f"train.max_steps={longest}", "train.epochs=null", f"train.validate_every={scaled}")


class Data(NamedTuple):
    """The questions and rationales that phase 1 trains on."""

    questions: Sequence[Question]
    rationales: Sequence[Rationale]


class Spender:
    """Counts what training on batches costs, in the unit of a budget."""

    def __init__(self, student: Student, budget: Budget) -> None:
        self._student = student
        self._budget = budget
        self._weights = student.weights
        self._prompts: dict[str, int] = {}
        self._targets: dict[str, int] = {}

    def cost(self, batch: Batch) -> int:
        """Cost of one optimizer step."""
        _, examples = batch
        targets = self._count(self._targets, [example.target for example in examples], target_ids)
        if self._budget == "target_tokens":
            return targets
        return self._weights.flops(
            self._count(self._prompts, [example.prompt for example in examples], prompt_ids), targets
        )

    def _count(
        self, known: dict[str, int], texts: Sequence[str], rows_of: Callable[[Student, Sequence[str]], Rows]
    ) -> int:
        """Total tokens of the texts; tokenizes each distinct text only once."""
        if new := list({text for text in texts if text not in known}):
            known.update(zip(new, map(len, rows_of(self._student, new).ids), strict=True))
        return sum(known[text] for text in texts)

    def spent(self, settings: RunSettings, data: Data, steps: int) -> int:
        """Cost of the first `steps` optimizer steps."""
        return sum(self.cost(batch) for batch in itertools.islice(_batches(settings, data), steps))

    def steps_for(self, settings: RunSettings, data: Data, wanted: int) -> int:
        """The number of steps whose cost is closest to `wanted`, the larger number in a tie; at least one."""
        totals = itertools.accumulate(self.cost(batch) for batch in _batches(settings, data))
        before = 0
        for steps, total in enumerate(totals, start=1):
            if total >= wanted:
                return steps if total - wanted <= wanted - before else max(1, steps - 1)
            before = total
        raise AssertionError("batches never end")


def _batches(settings: RunSettings, data: Data) -> Iterator[Batch]:
    """The batches of epoch after epoch, without end.

    Stages in sequence cost as much in total as stages that take turns.
    """
    curriculum = curriculum_of(settings, *data)
    for epoch in itertools.count():
        yield from curriculum.epoch(epoch)
