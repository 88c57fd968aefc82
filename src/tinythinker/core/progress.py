"""Progress messages on stderr: a bar in a terminal, an occasional line elsewhere; both with rate and time left."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from functools import cache
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from tinythinker.core import ranks
from tinythinker.core.masking import without_secrets

_SECONDS_BETWEEN_LINES = 15.0


def say(text: str) -> None:
    """Tell the user something on stderr, once for all processes; secrets in addresses are masked."""
    if ranks.is_first():
        print(without_secrets(text), file=sys.stderr, flush=True)


@cache
def say_once(text: str) -> None:
    """`say`, the first time that a process has this to say: a study would repeat it for every cell."""
    say(text)


class Progress:
    """A progress bar with figures and time left, for work of known length."""

    def __init__(self, name: str, total: int, done: int = 0) -> None:
        self._name, self._total, self._done, self._first = name, total, done, done
        self._console = Console(stderr=True)
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal or not ranks.is_first(),
        )
        self._task = self._bar.add_task(name, total=total, completed=done, note="", rate="")
        self._began = self._spoke = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, steps: int = 1, **figures: float) -> None:
        """Count more steps as done and show the current figures, except negative ones (not known yet)."""
        self._done += steps
        note = "  ".join(f"{name} {value:.3f}" for name, value in figures.items() if value >= 0)
        now = time.monotonic()
        per_second = (self._done - self._first) / max(now - self._began, 1e-6)
        self._bar.update(self._task, completed=self._done, note=note, rate=f"{per_second:.3g}/s")
        if not self._console.is_terminal and (now - self._spoke > _SECONDS_BETWEEN_LINES or self._done == self._total):
            self._spoke = now
            left = self._total - self._done
            pace = (
                f"  {per_second:.3g}/s, {timedelta(seconds=round(left / per_second))} left"
                if left and per_second
                else ""
            )
            say(f"{self._name}: {self._done}/{self._total}{pace}  {note}".rstrip())
