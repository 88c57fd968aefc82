"""Where a run stands: what is done, what is under way, and how long it will still take. Needs no torch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from tinythinker.core.metrics import GrowingMetrics, StepMetrics, Validation
from tinythinker.core.run import VERBS, Manifest, RoundFolder, RunDirectory, Worker
from tinythinker.evaluate.answered import read_results
from tinythinker.report.cards import interval, percent
from tinythinker.report.tested import Results, Round, Tested, in_plain, read_rounds, read_tested
from tinythinker.settings.resolve import validate
from tinythinker.settings.schema import RunSettings
from tinythinker.teacher.usage import read_usage

_RECENT = 50
"""Optimizer steps whose mean duration tells how long the rest will take."""
_CURVE = 40
"""Points of a curve in the terminal."""


def progress_of(run: RunDirectory, manifest: Manifest, results: Results) -> list[tuple[str, str]]:
    """The state of every verb (`done`, `begun` or `not yet`) and its seconds."""
    wanted = validate(manifest.settings).reflect.rounds
    tested = [answered for name, answered in results.items() if ".test." in name]
    done = {
        "teach": run.quality.exists(),
        "train": run.phase_1.is_finished,
        "reflect": "reflect" in manifest.begun and len(run.rounds()) >= wanted,
        "evaluate": bool(tested) and all(answered.is_finished for answered in tested),
    }
    lines = []
    for verb in VERBS:
        state = "done" if done[verb] else "begun" if verb in manifest.begun else "not yet"
        if verb == "reflect" and wanted:
            state += f", {min(len(run.rounds()), wanted)} of {wanted} rounds"
        lines.append((verb, f"{state}, {manifest.seconds[verb]:.0f} s" if verb in manifest.seconds else state))
    return lines


@dataclass(frozen=True)
class Underway:
    """A training that has begun and is not finished."""

    name: str
    steps: Sequence[StepMetrics]
    validations: Sequence[Validation]

    @property
    def total_steps(self) -> int | None:
        """Optimizer steps of the whole training; None if nothing says so."""
        return self.steps[-1].total_steps if self.steps else None

    @property
    def seconds_per_step(self) -> float | None:
        """Mean of the last steps, without validations; None before the first."""
        known = [line.seconds for line in self.steps[-_RECENT:] if line.seconds is not None]
        return fmean(known) if known else None

    @property
    def seconds_left(self) -> float | None:
        """For the optimizer steps that are left, without validations; None if that is not known."""
        if self.total_steps is None or self.seconds_per_step is None:
            return None
        return (self.total_steps - self.steps[-1].step) * self.seconds_per_step

    def lines(self) -> Iterator[str]:
        """The training to print."""
        done = f"step {self.steps[-1].step}" if self.steps else "not one step yet"
        of = f" of {self.total_steps}" if self.total_steps is not None else ""
        pace = f", {self.seconds_per_step:.2f} s per step" if self.seconds_per_step is not None else ""
        left = f", about {in_time(self.seconds_left)} left" if self.seconds_left is not None else ""
        yield f"{in_plain(self.name)}: {done}{of}{pace}{left}"
        for stage in dict.fromkeys(line.stage for line in self.steps):
            losses = [line.loss for line in self.steps if line.stage == stage]
            yield f"  {stage + ' loss':<16}{losses[-1]:>8.3f}  {curve(losses)}"
        margins = [line.margin for line in self.steps if line.margin is not None]
        if margins:
            yield f"  {'margin':<16}{margins[-1]:>8.3f}  {curve(margins)}"
        if self.validations:
            shares = [line.valid_accuracy for line in self.validations]
            best = max(self.validations, key=lambda line: line.valid_accuracy)
            found = f"{percent(shares[-1]):>8}  {curve(shares)}"
            yield f"  {'validation':<16}{found}  best {percent(best.valid_accuracy)} at step {best.step}"


@dataclass(frozen=True)
class Standing:
    """Where a run stands at one moment."""

    name: str
    task: str
    worker: Worker | None
    """Who is at work in it; None if nobody is."""
    verbs: Sequence[tuple[str, str]]
    """The state of every verb in words."""
    now: str | None
    """What is under way besides a training: asking a teacher, sampling, answering; None if nothing is."""
    training: Underway | None
    rounds: Sequence[Round]
    tested: Sequence[Tested]

    @property
    def is_over(self) -> bool:
        """Is every verb done, and nobody at work?"""
        return self.worker is None and all(state.startswith("done") for _, state in self.verbs)

    def lines(self) -> Iterator[str]:
        """Everything to print."""
        yield f"{self.name} ({self.task}): " + (f"at work: {self.worker}" if self.worker else "nobody is at work in it")
        yield " | ".join(f"{verb} {state}" for verb, state in self.verbs)
        if self.now is not None:
            yield ""
            yield self.now
        if self.training is not None:
            yield ""
            yield from self.training.lines()
        if self.rounds:
            yield ""
        for own in self.rounds:
            c = own.counts
            yield f"round {own.number}: {own.outcome}; {c.questions_with_pairs:,} questions with pairs, {c.in_words()}"
        if self.tested:
            yield ""
        for one in self.tested:
            s = one.score
            same = f", the same as {one.same_as}" if one.same_as else ""
            yield f"{one.name}: {percent(s.accuracy)} ({interval(s.low, s.high)}) of {s.n:,} questions{same}"


class _Watcher:
    """Looks at a run again and again; reads only what is new of a training."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._metrics: dict[str, GrowingMetrics] = {}
        self._steps: dict[int, StepMetrics] = {}
        self._validations: dict[int, Validation] = {}

    def look(self) -> Standing:
        """Where the run stands now. Raises DataError if a file is damaged."""
        run, manifest = self._run, self._run.manifest()
        results = read_results(run) if run.quality.exists() else {}
        worker = run.worker()
        return Standing(
            name=run.root.resolve().name,
            task=str(manifest.settings["task"]),
            worker=worker,
            verbs=progress_of(run, manifest, results),
            now=_now(run, validate(manifest.settings), results),
            training=self._training(),
            rounds=read_rounds(run),
            tested=read_tested(run, {inner.root.name: {} for inner in run.inner_runs()}, results),
        )

    def _training(self) -> Underway | None:
        """The last training that has begun, unless it is finished."""
        folders = [self._run.phase_1, *(self._run.round(number) for number in self._run.begun_rounds())]
        begun = [folder for folder in folders if folder.metrics.exists()]
        if not begun or begun[-1].is_finished:
            return None
        name = begun[-1].name
        if name not in self._metrics:
            self._metrics, self._steps, self._validations = {name: GrowingMetrics(begun[-1].metrics)}, {}, {}
        more = self._metrics[name].more()
        # A resumed training repeats the steps after its checkpoint.
        self._steps |= {line.step: line for line in more.steps}
        self._validations |= {line.step: line for line in more.validations}
        return Underway(name, list(self._steps.values()), list(self._validations.values()))


def _now(run: RunDirectory, settings: RunSettings, results: Results) -> str | None:
    if not run.quality.exists():
        usage = read_usage(run.usage)
        return f"teach: {usage.completions:,} completions received" if usage and usage.completions else None
    folders = [run.round(number) for number in run.begun_rounds()]
    if folders and not folders[-1].pairs.exists():
        return f"{in_plain(folders[-1].name)}: {_count_chains(folders[-1]):,} chains sampled"
    for name, answered in results.items():
        if not answered.is_finished:
            return f"evaluate: {len(answered.verdicts):,} of {answered.count_questions:,} questions ({name})"
    return None


def _count_chains(folder: RoundFolder) -> int:
    """Chains that a round has on disk."""
    count = 0
    for file in (folder.chains, folder.more_chains, folder.analyze_chains):
        if file.exists():
            with file.open("rb") as lines:
                count += sum(1 for _ in lines)
    return count


def watch(run: RunDirectory, *, every: float = 2.0) -> Iterator[Standing]:
    """Where a run stands, again and again, until every verb is done and nobody is at work.

    Args:
        every: seconds between two looks.

    Raises:
        DataError: it is no run, or a file in it is damaged.
    """
    watcher = _Watcher(run)
    while True:
        seen = watcher.look()
        yield seen
        if seen.is_over:
            return
        time.sleep(every)


def in_time(seconds: float) -> str:
    """A duration for people.

    >>> in_time(42.4), in_time(3725)
    ('42 s', '1 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


_BLOCKS = "▁▂▃▄▅▆▇█"


def curve(values: Sequence[float]) -> str:
    """Values as a row of blocks, the lowest value as the lowest block; at most 40, each a mean of neighbours.

    >>> curve([4.0, 2.0, 1.0, 0.5])
    '█▄▂▁'
    """
    size = -(-len(values) // _CURVE)
    means = [fmean(values[i : i + size]) for i in range(0, len(values), size)]
    low, high = min(means), max(means)
    return "".join(_BLOCKS[round((mean - low) / ((high - low) or 1) * (len(_BLOCKS) - 1))] for mean in means)
