"""Questions that come together are thought about together: a bounded queue, a window, one thread that thinks."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from tinythinker.core.errors import TinyThinkerError, first_line
from tinythinker.core.progress import say
from tinythinker.serve.limits import Limits, ResponseError
from tinythinker.use.prediction import Prediction
from tinythinker.use.questions import Posed, SoFar

Event = SoFar | Prediction | ResponseError
"""What happens to a question on its way: it is written on, answered, or not answered."""
Answer = Callable[[str, Sequence[Posed], Callable[[int, SoFar], None]], list[Prediction]]
"""Answers questions with the student of a name, and tells by place what has been written; called in a thread."""
Note = Callable[[str, Sequence[Prediction], float], None]
"""Hears of every batch: the student, its answers, and the seconds that it took."""


@dataclass
class Ticket:
    """A question on its way to its answer."""

    student: str
    posed: Posed
    since: float
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    is_dropped: bool = False
    """Nobody waits for it any more."""


class Thinker:
    """Answers questions in batches, in the order in which they came.

    Args:
        answer: does the work.
        note: hears of every batch.
    """

    def __init__(self, answer: Answer, limits: Limits, note: Note) -> None:
        self._answer, self._limits, self._note = answer, limits, note
        self._waiting: list[Ticket] = []
        self._arrived, self._is_full = asyncio.Event(), asyncio.Event()
        self._pool = ThreadPoolExecutor(1, "thinker")
        self._worker: asyncio.Task[None] | None = None
        self._batch_seconds = 0.0

    @property
    def count_waiting(self) -> int:
        """Questions that wait; those being thought about are not among them."""
        return len(self._waiting)

    @property
    def is_working(self) -> bool:
        """Are questions being answered?"""
        return self._worker is not None and not self._worker.done()

    def start(self) -> None:
        """Begin to answer."""
        self._worker = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Stop answering; what is being thought about is thought to its end."""
        if self._worker is not None:
            self._worker.cancel()
            with suppress(asyncio.CancelledError):
                await self._worker
        self._pool.shutdown(wait=True)

    def submit(self, student: str, posed: Posed) -> Ticket:
        """Let a question wait for its turn. Raises ResponseError if too many are waiting."""
        if len(self._waiting) >= self._limits.queue:
            batches = math.ceil(len(self._waiting) / self._limits.together)
            found = f"queue: found {len(self._waiting)} questions waiting, expected fewer; try again later"
            raise ResponseError(429, found, retry_seconds=max(1, round(batches * self._batch_seconds)))
        ticket = Ticket(student, posed, time.monotonic())
        self._waiting.append(ticket)
        self._arrived.set()
        if len(self._waiting) >= self._limits.together:
            self._is_full.set()
        return ticket

    async def events(self, ticket: Ticket) -> AsyncIterator[SoFar | Prediction]:
        """What happens to a question, to its answer. Raises ResponseError if there is none, or none in time."""
        event: Event | None = None
        try:
            while not isinstance(event, Prediction):
                async with asyncio.timeout(ticket.since + self._limits.timeout_seconds - time.monotonic()):
                    event = await ticket.events.get()
                if isinstance(event, ResponseError):
                    raise event
                yield event
        except TimeoutError:
            wanted = f"an answer within {self._limits.timeout_seconds:g} seconds"
            raise ResponseError(504, f"time: found no answer yet, expected {wanted}") from None
        finally:
            ticket.is_dropped = True

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            left = self._waiting[0].since + self._limits.window_seconds - time.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, left)):
                    await self._is_full.wait()
            if some := self._next():
                await self._think(some)

    def _next(self) -> list[Ticket]:
        """The next questions, all for the student of the first one; those that nobody waits for are left out."""
        self._waiting = [ticket for ticket in self._waiting if not ticket.is_dropped]
        same = [ticket for ticket in self._waiting if ticket.student == self._waiting[0].student][
            : self._limits.together
        ]
        chosen = set(map(id, same))
        self._waiting = [ticket for ticket in self._waiting if id(ticket) not in chosen]
        if not self._waiting:
            self._arrived.clear()
        if len(self._waiting) < self._limits.together:
            self._is_full.clear()
        return same

    async def _think(self, tickets: Sequence[Ticket]) -> None:
        """Answer some questions together; if that fails, each alone, so that none spoils the others."""
        loop = asyncio.get_running_loop()

        def tell(place: int, so_far: SoFar) -> None:
            loop.call_soon_threadsafe(tickets[place].events.put_nowait, so_far)

        posed = [ticket.posed for ticket in tickets]
        began = time.monotonic()
        thinking = loop.run_in_executor(self._pool, self._answer, tickets[0].student, posed, tell)
        await asyncio.wait([thinking])
        error = thinking.exception()
        if error is None:
            self._batch_seconds = time.monotonic() - began
            self._note(tickets[0].student, thinking.result(), self._batch_seconds)
            for ticket, made in zip(tickets, thinking.result(), strict=True):
                ticket.events.put_nowait(made)
        elif len(tickets) > 1:
            for ticket in tickets:
                await self._think([ticket])
        else:
            tickets[0].events.put_nowait(_refusal_of(error))


def _refusal_of(error: BaseException) -> ResponseError:
    """What is said of a question that could not be thought about."""
    if isinstance(error, ResponseError):
        return error
    said = str(error) if isinstance(error, TinyThinkerError) else f"{type(error).__name__}: {first_line(error)}"
    say(f"serve: a question was not answered: {said}")
    return ResponseError(500, f"student: found that it could not answer ({said})")
