"""What a service takes, and what it refuses."""

from __future__ import annotations

import ipaddress

from tinythinker.core.records import Record

LONGEST_QUESTION = 10_000
"""Characters of a question, a recall or an analysis."""
LONGEST_OPTION = 2_000
"""Characters of an option."""
MOST_BYTES = 256 * 1024
"""Of a request's body."""
BODY_SECONDS = 10.0
"""For a body to arrive."""


def is_loopback(host: str) -> bool:
    """Is this an address that only programs on this machine reach?"""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Limits(Record):
    """How requests are gathered, and how many may wait how long."""

    window_seconds: float = 0.01
    """How long the first of several questions waits for others to be thought about together."""
    together: int = 64
    """Questions that are thought about together."""
    queue: int = 256
    """Questions that may wait; beyond, a request is refused with 429."""
    timeout_seconds: float = 60.0
    """From a question's arrival to its answer."""


class ResponseError(Exception):
    """A request that is not answered; becomes a response in the shape of OpenAI's errors.

    Args:
        message: one line.
        retry_seconds: when it may be tried again; None says nothing.
    """

    def __init__(self, status: int, message: str, *, retry_seconds: int | None = None) -> None:
        super().__init__(message)
        self.status, self._retry_seconds = status, retry_seconds

    @property
    def body(self) -> dict[str, dict[str, str]]:
        """What is sent."""
        kind = "server_error" if self.status >= 500 else _KINDS.get(self.status, "invalid_request_error")
        return {"error": {"message": str(self), "type": kind}}

    @property
    def headers(self) -> dict[str, str]:
        """Those of the response."""
        return {} if self._retry_seconds is None else {"retry-after": str(self._retry_seconds)}


_KINDS = {401: "authentication_error", 404: "not_found", 405: "not_found", 429: "rate_limit"}
"""What OpenAI calls an error with this status."""
