"""Doing the cells of a study: each a run directory of its own, none done twice, shared beginnings trained once."""

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
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import torch

from tinythinker import api
from tinythinker.core.errors import SettingsError, StudentError, TinyThinkerError
from tinythinker.core.files import read_records, whole_folder, write_records
from tinythinker.core.progress import say
from tinythinker.core.records import Question, Rationale
from tinythinker.core.run import RunDirectory
from tinythinker.evaluate.answer import verdicts_name
from tinythinker.evaluate.untrained import answer_untrained
from tinythinker.settings.schema import RunSettings, load_settings, validate
from tinythinker.stages.examples import Batch
from tinythinker.student.encode import Rows, prompt_ids, target_ids
from tinythinker.student.flops import weights_of
from tinythinker.student.make import make_student
from tinythinker.student.student import Student
from tinythinker.study.grid import Budget, Grid, Place
from tinythinker.teacher.rationales import read_rationales
from tinythinker.train.loop import count_steps


def do_cells(grid: Grid, out: Path, workers: int) -> None:
    """Do every cell of a grid that is not done yet.

    Cells that begin alike (same settings of teach and train, same seed) train phase 1 once.

    Args:
        workers: processes at work at once, each with its share of the cores.

    Raises:
        TinyThinkerError: a cell cannot be done; those that are done stay.
    """
    groups = _groups(grid)
    count = sum(map(len, groups))
    done = 0
    say(f"study: {count} cells, {len(groups)} trainings of phase 1 or none; budget: equal {_in_words(grid.budget)}")
    if workers == 1:
        for group in groups:
            _do_group(grid, out, group)
            done += len(group)
            say(f"study: {done} of {count} cells done")
        return
    started = (workers, os.getpid())
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin_worker, initargs=started) as pool:
        futures = {pool.submit(_do_group, grid, out, group): group for group in groups}
        try:
            for future in as_completed(futures):
                future.result()
                done += len(futures[future])
                say(f"study: {done} of {count} cells done")
        except BrokenProcessPool:
            raise StudentError(
                "study: found a worker process ended from outside (out of memory?), expected it to finish; run the "
                "same command again to go on, with fewer --workers"
            ) from None
        except BaseException:
            for child in active_children():
                child.terminate()
            raise


def refuse_other_settings(grid: Grid, out: Path) -> None:
    """Raise SettingsError if a cell was begun with other settings than the grid's."""
    for place in grid.cells():
        run = RunDirectory(out / place.folder)
        if run.exists:
            settings = load_settings(grid.task, (*grid.overrides(place), *_kept_budget(run)))
            try:
                run.refuse_changes(run.manifest().begun, settings.bound())
            except SettingsError as error:
                found = str(error).partition(" with other settings ")[2].partition("; use the same")[0]
                raise SettingsError(
                    f"{run.root}: found a cell of other settings {found}, expected the study's own; use the same "
                    "settings, another directory, or delete the cell"
                ) from None


def count_other_cells(grid: Grid, out: Path) -> int:
    """Cells that are there and that the grid has not."""
    own = {out / place.folder / "manifest.json" for place in grid.cells()}
    return len(set((out / "cells").rglob("seed-*/manifest.json")) - own)


def _in_words(budget: Budget) -> str:
    return {"steps": "optimizer steps", "target_tokens": "target tokens", "flops": "floating-point operations"}[budget]


def _begin_worker(workers: int, parent: int) -> None:
    """Take a share of the cores, leave Ctrl-C to the parent, and end with it whatever ends it."""
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _groups(grid: Grid) -> list[list[Place]]:
    """Cells that share a training of phase 1 together, in the order of the grid."""
    groups: dict[str, list[Place]] = {}
    for place in grid.cells():
        bound = load_settings(grid.task, grid.overrides(place)).bound().by_verb
        key = repr((place.value, place.seed, bound["teach"], bound["train"], grid.method(place.method).untrained))
        groups.setdefault(key, []).append(place)
    return list(groups.values())


def _do_group(grid: Grid, out: Path, group: Sequence[Place]) -> None:
    done: list[RunDirectory] = []
    for place in group:
        run = RunDirectory(out / place.folder)
        say(f"study: {place.folder}")
        try:
            if grid.method(place.method).untrained:
                _answer_untrained(grid, place, run)
            else:
                _do_cell(grid, place, run, done)
                done.append(run)
        except TinyThinkerError as error:
            raise type(error)(f"{place.folder}: {error}") from None


def _do_cell(grid: Grid, place: Place, run: RunDirectory, done: Sequence[RunDirectory]) -> None:
    api.start(grid.task, run.root, *grid.overrides(place), *_kept_budget(run))
    if done and not run.phase_1.exists():
        _adopt(run, done)
    api.teach(run)
    api.train(run, *(_kept_budget(run) or _budget(grid, place, run)))
    api.reflect(run)
    api.evaluate(run)


def _kept_budget(run: RunDirectory) -> tuple[str, ...]:
    """The length of phase 1 as it was worked out when it began; empty before."""
    begun = run.manifest().begun.get("train", {}) if run.exists else {}
    keys = ("train.epochs", "train.max_steps", "train.validate_every")
    return tuple(f"{key}={'null' if begun[key] is None else begun[key]}" for key in keys if key in begun)


def _adopt(run: RunDirectory, done: Sequence[RunDirectory]) -> None:
    """Begin with a copy of what a finished cell, which began alike, has made: to the end of phase 1, or of phase 2."""

    def reflects(other: RunDirectory) -> object:
        return other.manifest().settings["reflect"]

    alike = [other for other in done if reflects(other) == reflects(run)]
    other = [*alike, *done][0]
    verbs = ("teach", "train", "reflect") if alike else ("teach", "train")
    theirs, own = other.manifest(), run.manifest()
    update = {
        "begun": {**own.begun, **{verb: theirs.begun[verb] for verb in verbs}},
        "seconds": {verb: theirs.seconds.get(verb, 0.0) for verb in verbs},
        "inputs": theirs.inputs,
        "settings": {**own.settings, "train": theirs.settings["train"]},
    }
    rounds = [f"round-{number}" for number in other.rounds()] if alike else []
    for folder in ("questions", "teacher", *rounds, "phase-1"):  # last: with it all is there
        shutil.rmtree(run.root / folder, ignore_errors=True)
        with whole_folder(run.root / folder) as temporary:
            shutil.copytree(other.root / folder, temporary, dirs_exist_ok=True)
        if folder == "teacher":
            run.save(own.model_copy(update=update))


def _answer_untrained(grid: Grid, place: Place, run: RunDirectory) -> None:
    """Verdicts of a method that trains nothing; it reads questions and needs no teacher."""
    how = str(grid.method(place.method).untrained)
    api.start(grid.task, run.root, *grid.overrides(place))
    settings = validate(run.manifest().settings)
    file = run.verdicts(verdicts_name(how, settings.evaluate.model_copy(update={"votes": 1})))
    if file.exists():
        return
    api.teach(run)
    questions = read_records(run.questions(settings.evaluate.split), Question)
    train = read_records(run.questions("train"), Question)
    write_records(file, answer_untrained(how, questions, train, settings))


def _budget(grid: Grid, place: Place, run: RunDirectory) -> tuple[str, ...]:
    """The length of phase 1 that spends what the stages of the study's own plan spend in the steps it gives them.

    A method with a length of its own keeps it.
    """
    if any(own.startswith(("train.max_steps=", "train.epochs=")) for own in grid.methods[place.method]):
        return ()
    own = validate(run.manifest().settings)
    stages = load_settings(grid.task, grid.common(place))
    data = Data(read_records(run.questions("train"), Question), read_rationales(run.rationales)[1])
    steps = count_steps(stages.train, len(api.curriculum_of(stages, *data).epoch(0)))
    longest = steps
    if grid.budget != "steps":
        spender = Spender(make_student(own, *data), grid.budget)
        longest = spender.steps_for(own, data, spender.spent(stages, data, steps))
        spent = f"as many {_in_words(grid.budget)} as {steps} steps of stages.plan={stages.stages.plan}"
        say(f"study: {place.folder}: {longest} steps take {spent}")
    every = stages.train.validate_every
    scaled = "null" if every is None else str(max(1, round(every * longest / steps)))
    return (f"train.max_steps={longest}", "train.epochs=1000000", f"train.validate_every={scaled}")


class Data(NamedTuple):
    """What phase 1 is made of."""

    questions: list[Question]
    rationales: list[Rationale]


class Spender:
    """Counts what training on batches costs, in the currency of a budget."""

    def __init__(self, student: Student, budget: Budget) -> None:
        self._student = student
        self._budget = budget
        self._weights = weights_of(student)
        self._prompts: dict[str, int] = {}
        self._targets: dict[str, int] = {}

    def cost(self, batch: Batch) -> int:
        """Of one optimizer step."""
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
        """Tokens of texts, each text tokenized once."""
        if new := list({text for text in texts if text not in known}):
            known.update(zip(new, map(len, rows_of(self._student, new).ids), strict=True))
        return sum(known[text] for text in texts)

    def spent(self, settings: RunSettings, data: Data, steps: int) -> int:
        """By so many steps."""
        return sum(self.cost(batch) for batch in itertools.islice(_batches(settings, data), steps))

    def steps_for(self, settings: RunSettings, data: Data, wanted: int) -> int:
        """How many steps come nearest to spending so much; at least one."""
        totals = itertools.accumulate(self.cost(batch) for batch in _batches(settings, data))
        before = 0
        for steps, total in enumerate(totals, start=1):
            if total >= wanted:
                return steps if total - wanted <= wanted - before else max(1, steps - 1)
            before = total
        raise AssertionError("batches never end")


def _batches(settings: RunSettings, data: Data) -> Iterator[Batch]:
    """Of epoch after epoch; a sequence of stages spends in the end what taking turns does."""
    curriculum = api.curriculum_of(settings, *data)
    for epoch in itertools.count():
        yield from curriculum.epoch(epoch)
