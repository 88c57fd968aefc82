"""Every benchmark by name, and the questions of a task as the settings want them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinythinker.core.errors import DataError, SettingsError, expected
from tinythinker.core.names import Registry
from tinythinker.core.records import SPLITS, Question
from tinythinker.settings.schema import TASKS, DataSettings, RunSettings
from tinythinker.tasks.benchmark import Benchmark, Facts
from tinythinker.tasks.csqa import CommonsenseQA
from tinythinker.tasks.obqa import OpenBookQA
from tinythinker.tasks.split import draw
from tinythinker.tasks.storeroom import StoreroomBenchmark
from tinythinker.tasks.strategyqa import StrategyQA
from tinythinker.tasks.tables.own import OwnQuestions

BENCHMARKS: Registry[Benchmark] = Registry(
    TASKS,
    {"csqa": CommonsenseQA(), "obqa": OpenBookQA(), "storeroom": StoreroomBenchmark(), "strategyqa": StrategyQA()},
)
"""By the name that a command gives. A task that is none of these is a file of your own questions."""


@dataclass(frozen=True)
class Task:
    """A task's questions by split, and what else is known about them."""

    splits: Mapping[str, Sequence[Question]]
    knowledge: Mapping[str, str]
    """The sentence of knowledge a question was made from, by question id, where the benchmark has one."""
    analyses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """One analysis per option, by question id, where the questions' file has them."""
    inputs: tuple[Path, ...] = ()
    """Files that were read."""
    revisions: Mapping[str, str] = field(default_factory=dict)
    """Of data sets from elsewhere, by name."""
    about: tuple[str, ...] = ()
    """What was recognised and found in files of your own, for people."""
    facts: Facts | None = None
    """What chains are judged by; None where truth cannot be checked."""


def benchmark_of(task: str) -> Benchmark:
    """The benchmark of a task: a registered one, or a file of your own questions."""
    return BENCHMARKS[task] if task in BENCHMARKS else OwnQuestions()


def load_facts(settings: RunSettings) -> Facts | None:
    """The facts behind a task, where they are known. The same for the same settings."""
    return benchmark_of(settings.task).facts(settings)


def load_task(settings: RunSettings) -> Task:
    """Read or make the questions of a task, divide them, and draw as many as `limit` keeps.

    Raises:
        DataError: a file is missing or wrong; the message names it, and the line.
        SettingsError: the settings ask for what the task cannot give.
    """
    if settings.task in BENCHMARKS and settings.data != DataSettings():
        named = ", ".join(f"data.{name}" for name in settings.data.model_dump(exclude_defaults=True))
        found = f"{settings.task}, which knows its own files"
        raise SettingsError(f"{named}: found {found}, expected questions of your own")
    benchmark = benchmark_of(settings.task)
    entries = benchmark.read(settings)
    splits = benchmark.split(entries.parts, settings)
    _check(splits)
    limit = settings.limit
    limits = {"train": limit.train, "valid": limit.valid or limit.train, "test": limit.test}
    every = [entry for part in entries.parts.values() for entry in part]
    return Task(
        {name: draw(splits[name], limits[name], settings.seed, name) for name in SPLITS},
        {entry.question.id: entry.knowledge for entry in every if entry.knowledge is not None},
        {entry.question.id: entry.analyses for entry in every if entry.analyses},
        entries.inputs,
        entries.revisions,
        entries.about,
        benchmark.facts(settings),
    )


def _check(splits: Mapping[str, Sequence[Question]]) -> None:
    """Refuse ids that occur twice in any splits, and questions without an answer."""
    counts = Counter(question.id for questions in splits.values() for question in questions)
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        more = f" and {len(repeated) - 1} more" if len(repeated) > 1 else ""
        raise DataError(
            f"questions: found id {repeated[0]!r} {counts[repeated[0]]} times{more}, expected every id once"
        )
    for questions in splits.values():
        for question in questions:
            if question.gold is None:
                raise DataError(expected(f"question {question.id}, gold", None, f"one of {question.labels}"))
