"""Many requests at once: workers that share the jobs, the limits, the budget, and any pause the server asks for."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar

from aiolimiter import AsyncLimiter
from tenacity import AsyncRetrying, retry_if_exception_type

from tinythinker.core.errors import TeacherError, TinyThinkerError
from tinythinker.core.progress import Progress, say
from tinythinker.teacher.llm.desk import Desk
from tinythinker.teacher.llm.endpoint import SHORTER_PROMPT, Endpoint, RefusedError, TransientError
from tinythinker.teacher.llm.ledger import Job, Ledger, Reply
from tinythinker.teacher.llm.retry import Retries
from tinythinker.teacher.llm.tokens import is_cut, prompt_tokens
from tinythinker.teacher.select import advice

T = TypeVar("T")
_SECONDS_BETWEEN_SYNCS = 1.0
_FIRST_FAILURES = 3
"""A run that has had no answer yet stops after this many failed requests."""
_MOST_FAILURES_IN_A_ROW = 16
"""Any run stops after giving up this many requests in a row (or as many as run at once, if that is fewer)."""


class _StoppedError(Exception):
    """The run is ending; this request is not sent, or not sent again."""


def unreadable(ledger: Ledger) -> str:
    """The error message for a teacher none of whose completions could be read."""
    first = ledger.first_rejected
    shown = f"; the first was rejected as {advice(first)}" if first else ""
    return f"found {ledger.count_received()} completions and none that could be read, expected rationales{shown}"


class Crowd:
    """Workers that share the jobs, the rate limits, and any pause the server asks for."""

    def __init__(self, endpoint: Endpoint, desk: Desk) -> None:
        self._endpoint, self._ledger, self._purse, self._llm = endpoint, desk.ledger, desk.purse, desk.llm
        self._prompt, self._said = desk.prompt, desk.said
        self.outcome = desk.outcome
        self._queue: deque[Job] = deque()
        self._requests = _limiter(1, desk.llm.requests_per_minute)
        self._tokens: AsyncLimiter | None = None
        self._retries = Retries(desk.llm)
        self._under_way = 0
        self._returned = asyncio.Condition()
        self._stop = asyncio.Event()
        self._error: TinyThinkerError | None = None
        self._failures_in_a_row = 0
        self._synced = time.monotonic()

    async def work(self, jobs: Sequence[Job], progress: Progress) -> None:
        """Do all jobs, or as many as possible. Raises TeacherError when no request will succeed."""
        self._queue.extend(jobs)
        # A bucket holds no more than the largest request, so that the limit holds in every minute.
        largest = max((self._purse.most(job) for job in jobs), default=1)
        self._tokens = _limiter(largest, self._llm.tokens_per_minute)
        with _drained_by_interrupt(self.stop):
            # The first request goes alone: it shows what is wrong, and how the endpoint wants to be asked.
            while self._queue and self._is_to_probe and not self._stop.is_set():
                await self._worker(progress, most=1)
            count = min(self._llm.concurrency, sum(job.wanted for job in self._queue))
            ended = await asyncio.gather(*(self._worker(progress) for _ in range(count)), return_exceptions=True)
        for error in ended:
            if error is not None:
                raise error
        self._ledger.sync()
        if self._error is not None:
            raise self._error

    @property
    def _is_to_probe(self) -> bool:
        return not self._ledger.is_answered or self._ledger.is_hopeless

    def stop(self, why: str) -> None:
        """Start no more requests; wait for those under way, but not for those waiting for a retry."""
        self.outcome.stopped_by = self.outcome.stopped_by or why
        self._stop.set()

    async def _worker(self, progress: Progress, most: int | None = None) -> None:
        done, is_sound = 0, False
        try:
            while self._queue and not self._stop.is_set() and done != most:
                done += 1
                await self._do(self._queue.popleft(), progress)
            is_sound = True
        except _StoppedError:
            is_sound = True
        except TinyThinkerError as error:
            self._error = self._error or error
        finally:
            if not is_sound:  # the other workers may finish what is under way
                self.stop("error")

    async def _do(self, job: Job, progress: Progress) -> None:
        """Do one request with all its tries; completions still missing go back into the queue."""
        most = self._endpoint.most_n
        while job.wanted > most:
            self._queue.appendleft(job._replace(wanted=most))
            job = job._replace(wanted=job.wanted - most)
        async with self._affordable(job):
            try:
                reply = await self._patiently(job)
            except TransientError as error:
                self._pass_over(job, error)
                return
            except RefusedError as error:
                self._refuse(job, error)
                return
            self._ledger.add(reply)
        self._retries.is_answered = True
        self._failures_in_a_row = 0
        if self._ledger.is_hopeless:
            raise TeacherError(unreadable(self._ledger))
        self._purse.learn(job.question, reply)
        self._tell_of_cut_prompts(job, reply)
        received = len(reply.completions)
        if received < job.wanted:
            self._queue.appendleft(job._replace(wanted=job.wanted - received))
        if time.monotonic() - self._synced > _SECONDS_BETWEEN_SYNCS:
            self._ledger.sync()
            self._synced = time.monotonic()
        progress.advance(received, readable=self._ledger.share_well_formed)

    def _tell_of_cut_prompts(self, job: Job, reply: Reply) -> None:
        """Say once if the endpoint reads less than it is sent: its answers then follow no format and no example."""
        sent = prompt_tokens(self._prompt, job.question)
        if reply.is_counted and is_cut(reply.prompt_tokens, sent) and "cut prompts" not in self._said:
            self._said.add("cut prompts")
            say(
                f"teach: {self._llm.base_url} counts {reply.prompt_tokens:,} prompt tokens where about {sent:,} were "
                "sent: it seems to cut prompts that are longer than its context, without an error; give the server a "
                "longer context (Ollama: OLLAMA_CONTEXT_LENGTH, llama.cpp: -c, vLLM: --max-model-len); "
                f"{SHORTER_PROMPT}"
            )

    def _refuse(self, job: Job, error: RefusedError) -> None:
        """Record a refused request; end the run if the first few are all refused."""
        self.outcome.refused[job.question.id] = str(error)
        if not self._ledger.is_answered and len(self.outcome.refused) >= _FIRST_FAILURES:
            raise TeacherError(
                f"{self._llm.base_url}: found {error} for each of the first {len(self.outcome.refused)} requests, "
                "expected an answer"
            )

    def _pass_over(self, job: Job, error: TransientError) -> None:
        """Give up a request; end the run if too many fail in a row."""
        self.outcome.passed_over[job.question.id] = f"{error.kind}: {error}"
        self._failures_in_a_row += 1
        concurrency = min(self._llm.concurrency, _MOST_FAILURES_IN_A_ROW)
        most = max(concurrency, _FIRST_FAILURES + 1) if self._ledger.is_answered else _FIRST_FAILURES
        if self._failures_in_a_row >= most:
            if not self._endpoint.is_reached and error.kind == "connection":
                raise TeacherError(
                    f"{self._llm.base_url}: found no server there ({error}), expected one; is it running, "
                    "and is teacher.llm.base_url its address?"
                )
            raise TeacherError(
                f"{self._llm.base_url}: found {self._failures_in_a_row} requests in a row without an answer "
                f"(last {error.kind}: {error}), expected a server that answers"
            )

    @asynccontextmanager
    async def _affordable(self, job: Job) -> AsyncIterator[None]:
        """Reserve the most a job may cost while it is under way; stop the run if the budget is too small."""
        async with self._returned:
            while (give_back := self._purse.reserve(job)) is None:
                if not self._under_way:
                    self.stop("budget")
                    raise _StoppedError
                await self._returned.wait()
            self._under_way += 1
        try:
            yield
        finally:
            give_back()
            async with self._returned:
                self._under_way -= 1
                self._returned.notify_all()

    async def _patiently(self, job: Job) -> Reply:
        """The reply to one request, retried with growing waits. Raises TransientError after the last try."""
        retrying = AsyncRetrying(
            stop=self._retries.is_enough,
            wait=self._retries.wait,
            retry=retry_if_exception_type(TransientError),
            sleep=lambda seconds: self._unless_stopped(asyncio.sleep(seconds)),
            reraise=True,
        )
        return await retrying(self._try, job)

    async def _try(self, job: Job) -> Reply:
        """One try, as soon as the rate limits and the server allow it."""
        if self._stop.is_set():
            raise _StoppedError
        while (pause := self._retries.pause_seconds()) > 0:
            await self._unless_stopped(asyncio.sleep(pause))
        if self._requests is not None:
            await self._unless_stopped(self._requests.acquire())
        amount = float(self._purse.most(job))
        while self._tokens is not None and amount > 0:
            await self._unless_stopped(self._tokens.acquire(min(amount, self._tokens.max_rate)))
            amount -= self._tokens.max_rate
        try:
            return await self._endpoint.ask(job)
        except TransientError as error:
            self.outcome.failures[error.kind] += 1
            if error.is_sent:
                self._purse.lose(job)
                if self._purse.is_exceeded():
                    self.stop("budget")
                    raise _StoppedError from None
            raise

    async def _unless_stopped(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait for something that costs nothing. Raises _StoppedError as soon as the run is stopped."""
        tasks = [asyncio.ensure_future(waiting), asyncio.ensure_future(self._stop.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        if self._stop.is_set():
            raise _StoppedError


def _limiter(capacity: float, per_minute: int | None) -> AsyncLimiter | None:
    """A bucket of `capacity` that leaks `per_minute`; None without a limit."""
    return None if per_minute is None else AsyncLimiter(capacity, 60.0 * capacity / per_minute)


@contextmanager
def _drained_by_interrupt(stop: Callable[[str], None]) -> Iterator[None]:
    """On the first Ctrl-C (or SIGTERM), wait for the requests under way; on the second, drop them."""
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    presses = 0

    def press() -> None:
        nonlocal presses
        presses += 1
        if presses == 1:
            say("teach: stopping; waiting for answers that are already paid for (Ctrl-C again drops them)")
            stop("interrupt")
        elif main is not None:
            main.cancel()

    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before if is_main else ():
            loop.add_signal_handler(number, press)
    except NotImplementedError:  # Windows: Ctrl-C ends at once; everything received is already on disk
        is_main = False
    try:
        yield
    finally:
        for number, handler in before.items() if is_main else ():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


class Direct:
    """Asks request by request, many at once. See `Asker`."""

    def ask(self, desk: Desk, jobs: Sequence[Job]) -> None:
        """See `Asker.ask`. Answers under way are received before an interrupt ends it, unless it comes twice."""
        stops: list[Callable[[], object]] = []

        async def work() -> None:
            endpoint = Endpoint(desk.llm, desk.prompt)
            loop = asyncio.get_running_loop()
            async with endpoint.client:
                crowd = Crowd(endpoint, desk)
                stops.append(lambda: loop.call_soon_threadsafe(crowd.stop, "interrupt"))
                with desk.ledger, Progress(f"teach, wave {desk.wave}", sum(job.wanted for job in jobs)) as progress:
                    await crowd.work(jobs, progress)

        try:
            _run(work, stops)
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        if desk.outcome.stopped_by == "interrupt":
            raise KeyboardInterrupt


def _run(work: Callable[[], Coroutine[Any, Any, T]], stops: Sequence[Callable[[], object]]) -> T:
    """Run a coroutine to its end.

    Inside a running loop (a notebook) it runs in a thread, and an interrupt calls all of `stops`.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(lambda: asyncio.run(work()))
        try:
            return result.result()
        except KeyboardInterrupt:
            with suppress(RuntimeError):  # the loop has just ended
                for stop in stops:
                    stop()
            return result.result()
