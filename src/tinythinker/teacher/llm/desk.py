"""The desk: everything that asking a language model needs, in one place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tinythinker.core.run import BatchFolder
from tinythinker.settings.schema import LlmSettings
from tinythinker.teacher.llm.ledger import Job, Ledger
from tinythinker.teacher.llm.prompt import Prompt
from tinythinker.teacher.llm.purse import Purse


@dataclass
class Outcome:
    """How the requests of a wave went, apart from the replies in the ledger."""

    failures: Counter[str] = field(default_factory=Counter)
    """Failed tries by kind; each was retried or, after the last try, given up."""
    passed_over: dict[str, str] = field(default_factory=dict)
    """Why requests were given up after all tries, by question id."""
    refused: dict[str, str] = field(default_factory=dict)
    """Why the endpoint refused requests, by question id."""
    stopped_by: str | None = None
    """Why asking stopped early: `budget`, `interrupt` or `error`; None if it did not."""


@dataclass(frozen=True)
class Desk:
    """What one wave of asking works with."""

    llm: LlmSettings
    prompt: Prompt
    ledger: Ledger
    purse: Purse
    batches: BatchFolder
    wave: int
    """From 1."""
    outcome: Outcome = field(default_factory=Outcome)
    """Filled in as asking goes on, so that it is known even after an exception."""
    said: set[str] = field(default_factory=set)
    """What has been said to the user in this call and is not said again; the desks of all waves share it."""


class Asker(Protocol):
    """A way to send requests: one by one (`crowd.Direct`) or as batch jobs (`batch.Batch`)."""

    def ask(self, desk: Desk, jobs: Sequence[Job]) -> None:
        """Do all jobs of the desk's wave; every reply is in the ledger before the next one is counted.

        Raises:
            SettingsError: there is no API key, or a budget in dollars and no price.
            TeacherError: the endpoint cannot be reached, refuses us, or has stopped answering.
            KeyboardInterrupt: the user stopped it.
        """
