"""Tasks of lm-evaluation-harness (extra `lm-eval`), answered by a student; torch is loaded last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from tinythinker.core.errors import DataError, SettingsError, expected, first_line
from tinythinker.core.records import Record

if TYPE_CHECKING:
    from tinythinker.student.student import Student


class TaskScore(Record):
    """One metric of one task, as the harness computes it."""

    task: str
    metric: str
    """Its name and filter, such as `acc` or `exact_match,strict-match`."""
    value: float
    stderr: float | None
    """Standard error; None where the harness gives none."""
    n: int
    """Questions."""


class TaskScores(Record):
    """What a student reached on tasks of the harness."""

    scores: tuple[TaskScore, ...]

    def lines(self) -> Iterator[str]:
        """The scores as a table to print."""
        yield f"{'task':<32}{'metric':<28}{'value':>8}{'± stderr':>10}{'n':>8}"
        for one in self.scores:
            error = "" if one.stderr is None else f"{one.stderr:.4f}"
            yield f"{one.task:<32}{one.metric:<28}{one.value:>8.4f}{error:>10}{one.n:>8}"


def score_tasks(
    student: str | PathLike[str] | Student,
    tasks: Sequence[str],
    *,
    limit: int | None = None,
    include_path: Path | None = None,
) -> TaskScores:
    """Let a student answer tasks of lm-evaluation-harness: see `tinythinker.api.lm_eval`."""
    if find_spec("lm_eval") is None:
        raise SettingsError(
            "lm-eval: found no package lm_eval, expected it; install it with `pip install 'tinythinker[lm-eval]'`"
        )
    if include_path is not None and not include_path.is_dir():
        raise DataError(f"{include_path}: found no such folder, expected one with task files (YAML)")
    from tinythinker.use.ask import load

    loaded = load(student) if isinstance(student, str | PathLike) else student
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from tinythinker.use.student_model import harness_model

    manager = TaskManager(include_path=None if include_path is None else str(include_path))
    if unknown := [task for task in tasks if not manager.match_tasks([task])]:
        raise SettingsError(
            expected("task", unknown[0], "a task of lm-evaluation-harness (`lm_eval ls tasks`) or of --include-path")
        )
    try:
        found = simple_evaluate(
            harness_model(loaded), tasks=list(tasks), limit=limit, task_manager=manager, log_samples=False
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:  # data that cannot be loaded, a faulty task file
        raise DataError(
            f"lm-eval, {', '.join(tasks)}: found {first_line(error)!r}, expected a task that loads"
        ) from None
    return TaskScores(scores=tuple(_scores(found["results"], found["n-samples"])))


def _scores(
    results: Mapping[str, Mapping[str, float | str]], counts: Mapping[str, Mapping[str, int]]
) -> Iterator[TaskScore]:
    """The metrics of every task that has questions of its own; groups of tasks have none."""
    for task, metrics in results.items():
        for name, value in metrics.items():
            metric, _, how = name.partition(",")
            if not how or metric.endswith("_stderr") or isinstance(value, str) or task not in counts:
                continue
            error = metrics.get(f"{metric}_stderr,{how}")
            yield TaskScore(
                task=task,
                metric=metric if how == "none" else name,
                value=value,
                stderr=None if isinstance(error, str) else error,
                n=counts[task]["effective"],
            )
