"""Everything the command line does, in the same words::

    from tinythinker import api
    run = api.start("storeroom", "runs/first", "seed=1")
    api.teach(run); api.train(run); api.reflect(run); api.evaluate(run); api.report(run)

`api.run(run)` does these five in order. Every verb can be stopped at any moment and called again: it keeps what is
finished and does the rest. Importing this module loads no torch; the verbs that need it do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tinythinker.session import evaluate, probe, reflect, report, run, start, teach, train, try_

if TYPE_CHECKING:
    from tinythinker.bench.bench import Bench
    from tinythinker.core.files import Json
    from tinythinker.core.records import Chain
    from tinythinker.core.run import RunDirectory
    from tinythinker.quickstart import Summary
    from tinythinker.settings.describe import FieldLine
    from tinythinker.student.student import Student
    from tinythinker.study.methods import Method
    from tinythinker.study.results import Results
    from tinythinker.tasks.tables.findings import Findings
    from tinythinker.teacher.llm.batch import Taken
    from tinythinker.teacher.llm.cost import Estimate
    from tinythinker.teacher.llm.interview import Exported

__all__ = [
    "ask",
    "batch_export",
    "batch_import",
    "bench",
    "check",
    "cost",
    "evaluate",
    "load",
    "methods",
    "probe",
    "quickstart",
    "reflect",
    "report",
    "run",
    "settings",
    "show_request",
    "start",
    "study",
    "teach",
    "train",
    "try_",
]


def quickstart(
    out: str | PathLike[str] = "quickstart",
    seed: int = 0,
    *,
    student: Literal["seq2seq", "causal"] = "seq2seq",
    force: bool = False,
) -> Summary:
    """The method in minutes on the built-in benchmark (see `tinythinker.quickstart`)."""
    from tinythinker.quickstart import quickstart as start_quickly

    return start_quickly(Path(out), seed, student=student, force=force)


def check(file: str | PathLike[str], *overrides: str, config: Path | None = None) -> Findings:
    """What is recognised in a file of questions, how every question is read, and what is odd or wrong in it.

    Args:
        file: the file, or `hub:OWNER/NAME[/CONFIG]` for the training split of a data set.
        overrides: settings such as `data.answer=column`; those of the student say whose tokens to count.
        config: a YAML file of settings.

    Raises:
        SettingsError: a setting is wrong, or does not suit the file.
        DataError: the file cannot be read at all. Rows that cannot be read are `problems` of what is returned.
    """
    from tinythinker.use.check import check as check_file

    return check_file(str(file), overrides, config)


def cost(task: str, *overrides: str, config: Path | None = None, run: str | PathLike[str] | None = None) -> Estimate:
    """What asking a language model would cost, before anything is sent.

    Args:
        task, overrides, config: as for `start`; `teacher.source=openai` is implied.
        run: a run directory whose answers count as received.

    Raises:
        SettingsError: no model is named.
        DataError: the questions cannot be loaded.
    """
    from tinythinker.teacher.llm.interview import estimate_cost

    return estimate_cost(task, overrides, config, Path(run) if run is not None else None)


def show_request(task: str, *overrides: str, config: Path | None = None) -> Json:
    """The body of the first request that would be sent. Raises as `cost` does."""
    from tinythinker.teacher.llm.interview import show_request as first_request

    return first_request(task, overrides, config)


def batch_export(run: RunDirectory) -> Exported | None:
    """Write the remaining requests to a batch file that you submit yourself; None if there are none.

    Raises:
        SettingsError: the teacher is not a language model.
        DataError: the questions cannot be loaded, the file cannot be written, or another process uses this run.
    """
    from tinythinker.teacher.llm.interview import batch_export as export

    return export(run)


def batch_import(run: RunDirectory, file: str | PathLike[str]) -> Taken:
    """Import the output file of a batch; answers that were imported before are skipped.

    Raises:
        SettingsError: the teacher is not a language model.
        DataError: the file cannot be read or answers requests of another run, or another process uses this run.
    """
    from tinythinker.teacher.llm.interview import batch_import as take_in

    return take_in(run, Path(file))


def load(student: str | PathLike[str]) -> Student:
    """Load a student to ask it many questions: its folder, or a run directory (its last student).

    Raises:
        StudentError: there is no such student.
    """
    from tinythinker.use.ask import load as load_one

    return load_one(student)


def ask(student: str | PathLike[str] | Student, question: str, options: Sequence[str]) -> Chain:
    """A student's answer to one question, with its whole reasoning.

    Args:
        student: a loaded student, its folder, or a run directory (its last student answers).
        options: 2 to 26 texts; they get the labels A, B, C ... in this order.

    Raises:
        StudentError: there is no such student.
        DataError: a text is empty, or there are too few or too many options.
    """
    from tinythinker.use.ask import ask as ask_one

    return ask_one(student, question, options)


def study(
    source: str,
    *overrides: str,
    out: str | PathLike[str],
    methods: Sequence[str] = (),
    seeds: int | None = None,
    budget: Literal["steps", "target_tokens", "flops"] | None = None,
    vary: str | None = None,
    reference: str | None = None,
    workers: int = 1,
) -> Results:
    """Compare methods over seeds, on the same questions and with equal budgets.

    Writes tables, `study.html` and a run directory per cell into `out`. You can stop, resume and extend it.

    Args:
        source: a YAML study file, or a task.
        overrides: settings of all cells, over the file's.
        methods: their names (`methods` lists them); none takes the file's, or the usual five.
        seeds: number of seeds, counted from 0; None takes the file's, or 3.
        budget: unit of phase 1's budget, equal for every method; None takes the file's, or steps.
        vary: `key.path=value,value`, to run the grid for each value.
        reference: the method to compare the others with; None takes tinythinker or phase_1.
        workers: parallel processes; they share the cores.

    Raises:
        SettingsError, DataError: the study cannot be done, or `out` holds something else.
        TinyThinkerError: a cell cannot be done; those that are done stay.
    """
    from tinythinker.study.grid import read_grid
    from tinythinker.study.study import study as do_study

    grid = read_grid(source, overrides, methods=methods, seeds=seeds, budget=budget, vary=vary, reference=reference)
    return do_study(grid, Path(out), workers=workers)


def methods() -> Mapping[str, Method]:
    """The methods that a study can compare, by name."""
    from tinythinker.study.methods import METHODS

    return METHODS


def bench(
    *overrides: str,
    student: str | PathLike[str] | None = None,
    task: str = "storeroom",
    out: str | PathLike[str] = "bench.json",
    parts: Sequence[str] = (),
    questions: int = 100,
    samples: int = 10,
    steps: int = 6,
    batch_size: int | None = None,
    turns: int = 3,
) -> Bench:
    """Measure the speedup over a plain implementation: same work, same weights, in turns, in one process.

    Args:
        overrides: settings to train a student with; only without `student`.
        student: a run directory or a student's folder in one; None trains one on `task`, next to `out`.
        out: file for the measurements.
        parts: kinds of work, such as `sampling`; none does all.
        questions: questions to sample on and to answer.
        samples: chains per question.
        steps: optimizer steps per training.
        batch_size: examples or pairs per step; None: as in the run.
        turns: timed turns of baseline and product.

    Raises:
        SettingsError: the arguments contradict each other.
        StudentError: the student is not one that the baseline can handle.
    """
    from tinythinker.bench.arguments import refuse_unready_bench

    where = None if student is None else Path(student)
    refuse_unready_bench(overrides, student=where, task=task, out=Path(out), parts=parts)

    from tinythinker.bench.bench import bench as measure
    from tinythinker.bench.workload import Size

    size = Size(questions=questions, samples=samples, steps=steps, batch_size=batch_size)
    return measure(overrides, student=where, task=task, out=Path(out), parts=parts, size=size, turns=turns)


def settings(name: str | None = None, *, task: str | None = None) -> list[FieldLine]:
    """Every setting with its value, allowed values and meaning.

    Args:
        name: a verb or a group of settings; None lists all.
        task: show this task's values instead of the defaults.

    Raises:
        SettingsError: no such verb, group or task.
    """
    from tinythinker.settings.listing import list_settings

    return list_settings(name, task)
