"""When a failed request is tried again: how often, and after how long a wait."""

from __future__ import annotations

import time

from tenacity import RetryCallState
from tenacity.wait import wait_random_exponential

from tinythinker.core.progress import say
from tinythinker.settings.schema import LlmSettings
from tinythinker.teacher.llm.endpoint import TransientError

_LONGEST_BACKOFF_SECONDS = 60.0
_TRIES_TO_CONNECT = 3
"""Tries to connect before the first answer; after it the server is known to exist and may come back."""
_LONG_SECONDS = 2.0
_SECONDS_BETWEEN_WORDS = 10.0


class Retries:
    """The tries of all workers together: a pause that the server asks for holds for everyone."""

    def __init__(self, llm: LlmSettings) -> None:
        self._attempts = llm.attempts
        self._backoff = wait_random_exponential(multiplier=llm.backoff_seconds, max=_LONGEST_BACKOFF_SECONDS)
        self._spoke = 0.0
        self._pause_until = 0.0
        self.is_answered = False
        """Has the server answered any request?"""

    def is_enough(self, state: RetryCallState) -> bool:
        """Has a request had all its tries? A server that has never answered gets fewer tries to connect."""
        is_nobody_there = _failure(state).kind == "connection" and not self.is_answered
        most = min(self._attempts, _TRIES_TO_CONNECT) if is_nobody_there else self._attempts
        return state.attempt_number >= most

    def wait(self, state: RetryCallState) -> float:
        """Seconds before the next try: what the server asks for, else a random wait that grows."""
        error = _failure(state)
        seconds = self._backoff(state)
        if error.wait_seconds is not None:
            self._pause_until = max(self._pause_until, time.monotonic() + error.wait_seconds)
            seconds = error.wait_seconds + min(seconds, 1.0)
        if seconds > _LONG_SECONDS and time.monotonic() - self._spoke > _SECONDS_BETWEEN_WORDS:
            self._spoke = time.monotonic()
            say(f"teach: {error.kind} ({error}); trying again in {seconds:.0f} seconds")
        return seconds

    def pause_seconds(self) -> float:
        """What is left of the pause that the server asked for; 0 or less if nothing is."""
        return self._pause_until - time.monotonic()


def _failure(state: RetryCallState) -> TransientError:
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, TransientError):
        raise AssertionError("only transient failures are tried again")
    return error
