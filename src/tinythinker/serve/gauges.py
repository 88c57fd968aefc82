"""What a service counts, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tinythinker.serve.gate import Application, Message, Receive, Scope, Send
from tinythinker.use.prediction import Prediction

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Gauges:
    """The figures of one service.

    Args:
        paths: those that are counted by name; all others are `other`.
        count_waiting: how many questions wait now.
    """

    def __init__(self, paths: Sequence[str], count_waiting: Callable[[], int]) -> None:
        self._paths = frozenset(paths)
        own = self._registry = CollectorRegistry()
        self._requests = Counter(
            "tinythinker_requests", "Responses by path and status.", ["path", "status"], registry=own
        )
        self._seconds = Histogram(
            "tinythinker_request_seconds", "From request to last byte.", ["path"], buckets=_SECONDS, registry=own
        )
        self._answers = Counter("tinythinker_answers", "Questions answered.", ["student"], registry=own)
        self._unreadable = Counter("tinythinker_unreadable", "Answers that are unreadable.", ["student"], registry=own)
        self._tokens = Counter("tinythinker_tokens", "Tokens written.", ["student"], registry=own)
        self._batches = Histogram("tinythinker_batch_size", "Questions per batch.", buckets=_SIZES, registry=own)
        self._thinking = Histogram("tinythinker_batch_seconds", "Per batch.", buckets=_SECONDS, registry=own)
        Gauge("tinythinker_waiting", "Questions that wait.", registry=own).set_function(count_waiting)

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)

    def note(self, student: str, made: Sequence[Prediction], seconds: float) -> None:
        """Count a batch."""
        self._answers.labels(student).inc(len(made))
        self._unreadable.labels(student).inc(sum(not one.is_readable for one in made))
        self._tokens.labels(student).inc(sum(one.count_tokens for one in made))
        self._batches.observe(len(made))
        self._thinking.observe(seconds)

    def counting(self, application: Application) -> Application:
        """The same application, with its responses counted."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await application(scope, receive, send)
                return
            path = scope["path"] if scope["path"] in self._paths else "other"
            began = time.monotonic()

            async def sending(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self._requests.labels(path, str(message["status"])).inc()
                await send(message)

            await application(scope, receive, sending)
            self._seconds.labels(path).observe(time.monotonic() - began)

        return counted
