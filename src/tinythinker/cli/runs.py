"""Commands that make, continue or watch a run: run, teach, train, reflect, evaluate, report, watch, quickstart."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tinythinker.cli.shared import (
    Config,
    Force,
    OutOption,
    Overrides,
    RunArgument,
    RunOutOption,
    TaskArgument,
    default_run,
    friendly_errors,
    tell,
)
from tinythinker.core import ranks

if TYPE_CHECKING:
    from tinythinker.core.run import RunDirectory
    from tinythinker.evaluate.score import Score


_SECONDS_BETWEEN_LOOKS = 15.0
"""At least, where `watch` adds to a log instead of drawing over what it drew."""


def quickstart(
    out: Annotated[Path, typer.Option(help="directory for the run, summary.json and report.html")] = Path("quickstart"),
    seed: Annotated[int, typer.Option(help="seed of the invented world and of all draws", min=0)] = 0,
    student: Annotated[
        Literal["seq2seq", "causal"], typer.Option(help="a small T5, or a small decoder-only model")
    ] = "seq2seq",
    force: Force = False,
) -> None:
    """Try the method in minutes: label-only student, phase 1 and phase 2, on the built-in benchmark."""
    with friendly_errors():
        from tinythinker import api

        summary = api.quickstart(out, seed, student=student, force=force)
        for line in summary.lines():
            tell(line, err=True)
    tell(out / "report.html")


def run(
    task: TaskArgument,
    overrides: Overrides = None,
    out: RunOutOption = None,
    config: Config = None,
    force: Force = False,
) -> None:
    """Run everything, from questions to report: teach, train, reflect, evaluate, report."""
    with friendly_errors():
        from tinythinker import api

        where = out or default_run(task)
        started = api.start(task, where, *overrides or (), config=config, force=force, for_run=True)
        _show(api.run(started))
    tell(started.report)


def teach(
    task: TaskArgument,
    out: OutOption,
    overrides: Overrides = None,
    config: Config = None,
    force: Force = False,
) -> None:
    """Read a task's questions and collect the teacher's rationales for the training split."""
    with friendly_errors():
        from tinythinker import api

        started = api.start(task, out, *overrides or (), config=config, force=force)
        api.teach(started)
    tell(started.rationales)


def train(run: RunArgument, overrides: Overrides = None, force: Force = False) -> None:
    """Phase 1, reasoning acquisition: supervised training on every stage."""
    with friendly_errors():
        from tinythinker import api

        folder = api.train(open_run(run), *overrides or (), force=force)
    tell(folder)


def reflect(
    run: RunArgument,
    overrides: Overrides = None,
    force: Force = False,
    pairs_only: Annotated[bool, typer.Option("--pairs-only", help="make the next round's pairs, and stop")] = False,
) -> None:
    """Phase 2, self-reflection: let the student learn from its own right and wrong reasoning."""
    with friendly_errors():
        from tinythinker import api

        made = api.reflect(open_run(run), *overrides or (), force=force, pairs_only=pairs_only)
    tell(made)


def evaluate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="run directory; with --task any pretrained model")],
    overrides: Overrides = None,
    task: Annotated[
        str | None,
        typer.Option(help="let an untrained model, by folder or name, answer the questions of this task"),
    ] = None,
    force: Force = False,
) -> None:
    """Answer the test questions with the student of phase 1 and of every round."""
    with friendly_errors():
        from tinythinker import api

        if task is not None:
            _show(api.evaluate_untrained(run, task, *overrides or ()))
            return
        started = open_run(Path(run))
        _show(api.evaluate(started, *overrides or (), force=force))
    tell(started.verdicts_folder)


def report(run: RunArgument, overrides: Overrides = None) -> None:
    """Write report.html from what the run directory holds so far. Settings given here must match the run."""
    with friendly_errors():
        from tinythinker import api

        page = api.report(open_run(run), *overrides or ())
    tell(page)


def watch(
    run: RunArgument,
    every: Annotated[float, typer.Option(metavar="SECONDS", help="seconds between two looks", min=0.1)] = 2.0,
    page: Annotated[
        bool, typer.Option("--page", help="keep report.html up to date, too; a browser loads it again")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="look once")] = False,
) -> None:
    """Watch a run under way: stage, loss, validation, pairs, time left. Ends with the run; Ctrl-C leaves it alone."""
    with friendly_errors():
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        from tinythinker import api

        console = Console()
        is_log = once or not console.is_terminal
        seen = api.watch(open_run(run), every=max(every, _SECONDS_BETWEEN_LOOKS) if is_log else every, page=page)
        if is_log:
            for standing in itertools.islice(seen, 1) if once else seen:
                tell("\n".join(standing.lines()))
            return
        with Live(console=console, auto_refresh=False) as live, suppress(KeyboardInterrupt):
            for standing in seen:
                live.update(Text("\n".join(standing.lines())), refresh=True)


def open_run(path: Path) -> RunDirectory:
    """The run directory of this path. Raises DataError if there is no run."""
    from tinythinker.core.run import RunDirectory

    found = RunDirectory(path)
    ranks.on_first(found.manifest)
    return found


def _show(scores: Mapping[str, Score]) -> None:
    for name, score in scores.items():
        tell(
            f"{name}: accuracy {score.accuracy:.3f} (95% interval {score.low:.3f} to {score.high:.3f}, "
            f"n = {score.n}), unreadable {score.unreadable:.3f}, {score.tokens_per_answer:.0f} tokens per answer",
            err=True,
        )
        if score.votes:
            shares = ", ".join(f"{k}: {vote.share:.3f}" for k, vote in enumerate(score.votes, start=1))
            tell(f"    by number of votes, from the same chains: {shares}", err=True)
