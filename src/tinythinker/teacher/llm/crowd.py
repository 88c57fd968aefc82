"""Ask an OpenAI-compatible endpoint: many requests at once, within its limits and the budget, through its faults."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import mktime_tz, parsedate_tz
from typing import Any, TypeVar

import openai
from aiolimiter import AsyncLimiter
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from tinythinker.core.errors import SettingsError, TeacherError, TinyThinkerError
from tinythinker.core.progress import Progress, say
from tinythinker.core.records import Question
from tinythinker.settings.schema import TeacherSettings
from tinythinker.teacher.llm.cost import price_of, prompt_tokens, spent, used_tokens
from tinythinker.teacher.llm.ledger import Job, Ledger, Reply
from tinythinker.teacher.llm.prompt import Prompt
from tinythinker.teacher.llm.wire import BadReplyError, asked_by, reply_of
from tinythinker.teacher.select import advice

T = TypeVar("T")

_LONGEST_WAIT_SECONDS = 600.0
"""A server that asks for a longer pause than this stops the run."""
_LONGEST_BACKOFF_SECONDS = 60.0
_SECONDS_BETWEEN_SYNCS = 1.0
_TRIES_TO_CONNECT = 3
"""Before the first answer; afterwards the server is known to be there, and may come back."""
_LONG_SECONDS = 2.0
_SECONDS_BETWEEN_WORDS = 10.0
_FIRST_FAILURES = 3
"""So many requests without an answer stop a run that never had one."""
_MOST_FAILURES_IN_A_ROW = 16
"""So many requests passed over (or as many as go at once), and none answered between them, stop any run."""
_OFFICIAL_HOST = "api.openai.com"
_SURELY_A_KEY, _PERHAPS_A_KEY = 16, 8
"""Characters: from the first number on it is a key, from the second on if it has a digit; else it may be a word."""
_BATCH_CAUTION = 2.0
"""By how much an estimate of prompt tokens may be too low, as long as none has been counted."""
_NEVER_SENT = frozenset(
    "ConnectError ConnectTimeout PoolTimeout ProxyError UnsupportedProtocol LocalProtocolError".split()
)
"""Names of the HTTP library's failures after which nothing can be on the bill."""
MOST_N = 128
_ABOUT_N = re.compile(
    r"['\"`]n['\"`]|\bn (?:must|is not|should|cannot|greater|> ?1\b)|parameter:? n\b"
    r"|(?:one|single|multiple) (?:completion|choice)",
    re.I,
)
_LIMIT = re.compile(r"(?:at most|maximum(?: of| is)?|up to|<=|less than or equal to|no more than) (\d+)", re.I)
_HOPELESS = (401, 402, 403, 404)
_WORTH_A_RETRY = (408, 409, 425, 429)


class _TransientError(Exception):
    """A failure that another try may mend.

    Args:
        is_sent: the request reached the endpoint and no refusal came back, so that it may be on the bill.
    """

    def __init__(self, kind: str, reason: str, wait_seconds: float | None = None, *, is_sent: bool = False) -> None:
        super().__init__(reason)
        self.kind, self.wait_seconds, self.is_sent = kind, wait_seconds, is_sent


class _RefusedError(Exception):
    """The endpoint will not take this request, however often it is sent."""


class _StoppedError(Exception):
    """The run is to end; this request has not been sent."""


def unreadable(ledger: Ledger) -> str:
    """What to tell a person whose teacher writes nothing that can be read."""
    first = ledger.first_rejected
    shown = f"; the first was rejected as {advice(first)}" if first else ""
    return f"found {ledger.count_received()} completions and none that could be read, expected rationales{shown}"


@dataclass
class Outcome:
    """How asking went, beside the replies in the ledger."""

    failures: Counter[str] = field(default_factory=Counter)
    """Failed tries by kind; each was tried again or, in the end, passed over."""
    passed_over: dict[str, str] = field(default_factory=dict)
    """Reason by question of the requests given up after all tries."""
    refused: dict[str, str] = field(default_factory=dict)
    """Reason by question of the requests that the endpoint would not take."""
    lost_tokens: int = 0
    """Tokens, at most, of tries that may be on the bill although no answer could be read."""
    lost_cost: float = 0.0
    """What those tokens cost in US dollars, where the price is known."""
    stopped_by: str | None = None
    """Why asking ended before its end: `budget`, `interrupt` or `error`."""


class Endpoint:
    """One model behind one address. What it says is sorted into answers, faults worth a retry, and final refusals."""

    def __init__(self, teacher: TeacherSettings, prompt: Prompt) -> None:
        self._teacher, self._prompt = teacher, prompt
        key = api_key(teacher)
        self.hide = hidden(key)
        with unusable_proxy():
            self.client = openai.AsyncOpenAI(
                api_key=key, base_url=teacher.base_url, max_retries=0, timeout=teacher.timeout_seconds
            )
        self.most_n = MOST_N
        """Most completions that the endpoint gives per request. Learned from its answers."""
        self._short_in_a_row = 0
        self._is_known = False
        self.is_reached = False
        """Has it ever said anything?"""
        self._tokens_field = field_for_tokens(teacher)

    async def ask(self, job: Job) -> Reply:
        """Send one request once; twice or three times if the endpoint says how else it wants to be asked.

        Raises:
            _TransientError: another try may succeed.
            _RefusedError: this request is not wanted.
            TeacherError: no request will succeed.
        """
        while True:
            count = min(job.wanted, self.most_n)
            tokens_field = self._tokens_field
            body = self._prompt.body(job.question) | {tokens_field: job.max_tokens}
            if count > 1:
                body["n"] = count
            messages, model = body.pop("messages"), body.pop("model")
            try:
                async with asyncio.timeout(self._teacher.timeout_seconds):
                    # All else goes beside the SDK's own parameters: endpoints differ in them, and so do prompt files.
                    answer = await self.client.chat.completions.with_raw_response.create(
                        model=model, messages=messages, extra_body=body
                    )
                self.is_reached = True
                reply = reply_of(answer.text, asked_by(job, self._prompt), self.hide)
                self._see(count, len(reply.completions))
                return reply
            except (TimeoutError, openai.APITimeoutError) as error:
                reason = f"no answer within {self._teacher.timeout_seconds:g} seconds"
                raise _TransientError("timeout", reason, is_sent=self._may_be_billed(error)) from None
            except openai.APIConnectionError as error:
                cause = error.__cause__ or error
                reason = self.hide(str(cause)) or type(cause).__name__
                raise _TransientError("connection", reason, is_sent=self._may_be_billed(error)) from None
            except openai.APIStatusError as error:
                self.is_reached = True
                if error.status_code not in (400, 422) or not self._learned(error, count, tokens_field):
                    raise self._sorted(error) from None
            except BadReplyError as error:
                raise _TransientError("bad reply", str(error), is_sent=True) from None

    def _may_be_billed(self, error: BaseException) -> bool:
        """Did a request without an answer reach the endpoint? Not before the first sign of life from there."""
        return self.is_reached and type(error.__cause__).__name__ not in _NEVER_SENT

    def _see(self, count: int, received: int) -> None:
        """Learn whether `n` is heeded: not, if the first answer to it brings one completion, or two in a row do."""
        if count == 1:
            return
        self._short_in_a_row = self._short_in_a_row + 1 if received == 1 else 0
        if self._short_in_a_row == 2 or (self._short_in_a_row == 1 and not self._is_known):
            self.most_n = 1
        self._is_known = True

    def _learned(self, error: openai.APIStatusError, count: int, tokens_field: str) -> bool:
        """Does a complaint say how this endpoint wants to be asked instead?"""
        said = _message(error, self.hide)
        if tokens_field == "max_tokens" and "max_completion_tokens" in said:
            self._tokens_field = "max_completion_tokens"
            return True
        if count > 1 and (error.param == "n" or _ABOUT_N.search(said)):
            limit = _LIMIT.search(said)
            self.most_n = min(count - 1, max(1, int(limit[1]))) if limit else 1
            return True
        return False

    def _sorted(self, error: openai.APIStatusError) -> Exception:
        """What a status means for the request and for the run."""
        status, said = error.status_code, _message(error, self.hide)
        if status in _HOPELESS or error.code == "insufficient_quota":
            return fatal(error, self._teacher, self.hide)
        if status in _WORTH_A_RETRY or status >= 500:
            wait = retry_after(error.response.headers)
            if wait is not None and wait > _LONGEST_WAIT_SECONDS:
                return fatal(error, self._teacher, self.hide)
            return _TransientError(f"status {status}", said, wait)
        return _RefusedError(f"status {status}: {said}")


def fatal(error: openai.APIStatusError, teacher: TeacherSettings, hide: Callable[[str], str]) -> TeacherError:
    """What to tell a person about a status that ends the run."""
    wanted = {
        401: f"the key in {teacher.key_env} to be accepted",
        402: "credit on the account",
        403: f"a key that may use model {teacher.model}",
        400: "a request that it accepts",
        422: "a request that it accepts",
        404: f"an endpoint with model {teacher.model} (check it and teacher.base_url, which mostly ends in /v1)",
    }.get(error.status_code, "an answer within minutes; try later")
    if error.code == "insufficient_quota":
        wanted = "credit on the account"
    return TeacherError(
        f"{teacher.base_url}: found status {error.status_code} ({_message(error, hide)}), expected {wanted}"
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait (RFC 9110, section 10.2.3: a number or a date; some say milliseconds).

    >>> retry_after({"retry-after": "2.5"})
    2.5
    """
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        return max(0.0, float(headers["retry-after"]))
    except KeyError:
        return None
    except ValueError:
        pass
    try:
        date = parsedate_tz(headers.get("retry-after", ""))
        return None if date is None else max(0.0, mktime_tz(date) - time.time())
    except (ValueError, OverflowError):
        return None


def hidden(key: str) -> Callable[[str], str]:
    """Takes a key out of texts, whatever a server may have echoed; what is too plain to be a key stays."""
    is_key = len(key) >= _SURELY_A_KEY or (len(key) >= _PERHAPS_A_KEY and any(sign.isdigit() for sign in key))
    return lambda text: text.replace(key, "[key]") if is_key else text


@contextmanager
def unusable_proxy() -> Iterator[None]:
    """Turn a proxy of the environment that cannot be used into one line. Raises SettingsError."""
    try:
        yield
    except (ImportError, ValueError) as error:
        raise SettingsError(
            f"proxy settings of the environment (HTTP_PROXY, ALL_PROXY ...): found what cannot be used ({error}), "
            "expected an http:// proxy or none"
        ) from None


def field_for_tokens(teacher: TeacherSettings) -> str:
    """What an endpoint calls the most tokens of a completion, as far as its address tells."""
    return "max_completion_tokens" if _OFFICIAL_HOST in teacher.base_url else "max_tokens"


def _message(error: openai.APIStatusError, hide: Callable[[str], str]) -> str:
    """What the server said, without the key, on one line and not too long of it."""
    body = error.body
    said = body.get("message") or body.get("detail") if isinstance(body, dict) else None
    return hide(" ".join(str(said or error.response.text or error.message).split()))[:300]


def api_key(teacher: TeacherSettings) -> str:
    """The key from the environment; an endpoint of one's own may need none. Raises SettingsError."""
    key = os.environ.get(teacher.key_env, "").strip()
    is_named = teacher.key_env != TeacherSettings().key_env
    if not key and (is_named or _OFFICIAL_HOST in teacher.base_url):
        raise SettingsError(
            f"environment variable {teacher.key_env}: found nothing, expected the API key for {teacher.base_url}; or "
            "set teacher.base_url to an endpoint of your own"
        )
    if not key.isascii() or not key.isprintable():
        raise SettingsError(
            f"environment variable {teacher.key_env}: found characters that no key has (not shown), expected an API key"
        )
    return key or "none"


class Purse:
    """What may still be spent. Requests under way count with all they could cost, so that the budget holds.

    Prompts are estimated until they are answered, and the estimate is corrected by those that were.
    """

    def __init__(
        self, teacher: TeacherSettings, prompt: Prompt, ledger: Ledger, lost_tokens: int = 0, lost_cost: float = 0.0
    ) -> None:
        self._teacher, self._prompt, self._ledger = teacher, prompt, ledger
        self._price = price_of(prompt.model, teacher, is_batch=teacher.mode == "batch")
        self._held_tokens, self._held_cost = lost_tokens, lost_cost
        # A batch goes out whole before the first of its prompts has been counted.
        self._ratio = _BATCH_CAUTION if teacher.mode == "batch" and ledger.last_counted is None else 1.0
        self.learn_from_ledger()
        if teacher.budget is not None and (self._price is None or spent(ledger.totals, teacher) is None):
            raise SettingsError(
                f"teacher.budget={teacher.budget:g}: found no price of {prompt.model}, expected teacher.input_price "
                "and teacher.output_price (US dollars per million tokens), or teacher.budget_tokens instead"
            )

    def prompt_tokens(self, job: Job) -> int:
        """Prompt tokens of a job, as well as is known."""
        return round(prompt_tokens(self._prompt, job.question) * self._ratio)

    def most(self, job: Job) -> int:
        """All tokens that a job may take."""
        return self.prompt_tokens(job) + job.wanted * job.max_tokens

    def most_cost(self, job: Job) -> float:
        """US dollars that a job may cost; 0 where the price is not known."""
        return self._price.of(self.prompt_tokens(job), job.wanted * job.max_tokens) if self._price else 0.0

    def lose(self, job: Job, outcome: Outcome) -> None:
        """Count a try as spent that may be on the bill although its answer could not be read."""
        tokens, cost = self.most(job), self.most_cost(job)
        self._held_tokens += tokens
        self._held_cost += cost
        outcome.lost_tokens += tokens
        outcome.lost_cost += cost

    def is_exceeded(self) -> bool:
        """Could what is spent, held for requests under way, and perhaps lost together exceed the budget?"""
        return not self._allows(0, 0.0)

    def _allows(self, tokens: int, cost: float) -> bool:
        """Is there room for so much more?"""
        budget, budget_tokens = self._teacher.budget, self._teacher.budget_tokens
        if budget_tokens is not None and used_tokens(self._ledger.totals) + self._held_tokens + tokens > budget_tokens:
            return False
        if budget is None:
            return True
        return (spent(self._ledger.totals, self._teacher) or 0) + self._held_cost + cost <= budget

    def reserve(self, job: Job) -> Callable[[], None] | None:
        """Set aside what a job may cost; returns how to give it back, or None if there is not enough."""
        tokens, cost = self.most(job), self.most_cost(job)
        if not self._allows(tokens, cost):
            return None
        self._held_tokens += tokens
        self._held_cost += cost

        def give_back() -> None:
            self._held_tokens -= tokens
            self._held_cost -= cost

        return give_back

    def learn_from_ledger(self) -> None:
        """Correct the estimate of prompts by the latest that was counted."""
        if (reply := self._ledger.last_counted) is not None:
            self._ratio = 1.0
            self.learn(self._ledger.question(reply), reply)

    def learn(self, question: Question, reply: Reply) -> None:
        """Correct the estimate of prompts by one that was counted; never below what was seen."""
        if reply.is_counted:
            self._ratio = max(self._ratio, reply.prompt_tokens / max(1, prompt_tokens(self._prompt, question)))


class Crowd:
    """Workers that share the jobs, the limits, and any pause that the server asks for."""

    def __init__(
        self, endpoint: Endpoint, ledger: Ledger, purse: Purse, teacher: TeacherSettings, outcome: Outcome
    ) -> None:
        self._endpoint, self._ledger, self._purse, self._teacher = endpoint, ledger, purse, teacher
        self.outcome = outcome
        self._queue: deque[Job] = deque()
        self._requests = _limiter(1, teacher.requests_per_minute)
        self._tokens: AsyncLimiter | None = None
        self._backoff = wait_random_exponential(multiplier=teacher.backoff_seconds, max=_LONGEST_BACKOFF_SECONDS)
        self._pause_until = 0.0
        self._under_way = 0
        self._returned = asyncio.Condition()
        self._stop = asyncio.Event()
        self._error: TinyThinkerError | None = None
        self._is_answered = False
        self._failures_in_a_row = 0
        self._synced = time.monotonic()
        self._spoke = 0.0

    async def work(self, jobs: Sequence[Job], progress: Progress) -> None:
        """Do all jobs, or as many as can be done. Raises TeacherError when no request will succeed."""
        self._queue.extend(jobs)
        # A bucket holds no more than the largest request, so that the limit holds in every minute.
        largest = max((self._purse.most(job) for job in jobs), default=1)
        self._tokens = _limiter(largest, self._teacher.tokens_per_minute)
        with _drained_by_interrupt(self.stop):
            # The first goes alone: it finds out what is wrong, and how the endpoint wants to be asked.
            while self._queue and self._is_to_probe and not self._stop.is_set():
                await self._worker(progress, most=1)
            count = min(self._teacher.concurrency, sum(job.wanted for job in self._queue))
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
        """Begin no more requests; those under way are waited for, those waiting to be tried again are not."""
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
            if not is_sound:  # the others may bring home what is under way
                self.stop("error")

    async def _do(self, job: Job, progress: Progress) -> None:
        """One request with all its tries; what it leaves missing of its job goes back into the queue."""
        most = self._endpoint.most_n
        while job.wanted > most:
            self._queue.appendleft(job._replace(wanted=most))
            job = job._replace(wanted=job.wanted - most)
        async with self._affordable(job):
            try:
                reply = await self._patiently(job)
            except _TransientError as error:
                self._pass_over(job, error)
                return
            except _RefusedError as error:
                self._refuse(job, error)
                return
            self._ledger.add(reply)
        self._is_answered = True
        self._failures_in_a_row = 0
        if self._ledger.is_hopeless:
            raise TeacherError(unreadable(self._ledger))
        self._purse.learn(job.question, reply)
        received = len(reply.completions)
        if received < job.wanted:
            self._queue.appendleft(job._replace(wanted=job.wanted - received))
        if time.monotonic() - self._synced > _SECONDS_BETWEEN_SYNCS:
            self._ledger.sync()
            self._synced = time.monotonic()
        progress.advance(received, readable=self._ledger.share_well_formed)

    def _refuse(self, job: Job, error: _RefusedError) -> None:
        """Note that a request is not wanted, and end the run if no other was ever wanted either."""
        self.outcome.refused[job.question.id] = str(error)
        if not self._ledger.is_answered and len(self.outcome.refused) >= _FIRST_FAILURES:
            raise TeacherError(
                f"{self._teacher.base_url}: found {error} for each of the first {len(self.outcome.refused)} requests, "
                "expected an answer"
            )

    def _pass_over(self, job: Job, error: _TransientError) -> None:
        """Give a request up, and the run if others fare no better."""
        self.outcome.passed_over[job.question.id] = f"{error.kind}: {error}"
        self._failures_in_a_row += 1
        concurrency = min(self._teacher.concurrency, _MOST_FAILURES_IN_A_ROW)
        most = max(concurrency, _FIRST_FAILURES + 1) if self._ledger.is_answered else _FIRST_FAILURES
        if self._failures_in_a_row >= most:
            if not self._endpoint.is_reached and error.kind == "connection":
                raise TeacherError(
                    f"{self._teacher.base_url}: found nobody who answers ({error}), expected a server; is it started, "
                    "and is teacher.base_url its address?"
                )
            raise TeacherError(
                f"{self._teacher.base_url}: found {self._failures_in_a_row} requests in a row without an answer "
                f"(last {error.kind}: {error}), expected a server that answers"
            )

    @asynccontextmanager
    async def _affordable(self, job: Job) -> AsyncIterator[None]:
        """Hold back what a job may cost while it is under way. Stops the run where that exceeds the budget."""
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
        """One request, tried until it is answered, with growing waits. Raises _TransientError after the last try."""
        retrying = AsyncRetrying(
            stop=self._is_enough,
            wait=self._wait,
            retry=retry_if_exception_type(_TransientError),
            sleep=lambda seconds: self._unless_stopped(asyncio.sleep(seconds)),
            reraise=True,
        )
        return await retrying(self._try, job)

    def _is_enough(self, state: RetryCallState) -> bool:
        """Has a request been tried often enough? Where there never was anybody to connect to, sooner."""
        error = state.outcome.exception() if state.outcome else None
        is_nobody_there = isinstance(error, _TransientError) and error.kind == "connection" and not self._is_answered
        most = min(self._teacher.attempts, _TRIES_TO_CONNECT) if is_nobody_there else self._teacher.attempts
        return state.attempt_number >= most

    async def _try(self, job: Job) -> Reply:
        """One try, as soon as the limits and the server allow it."""
        if self._stop.is_set():
            raise _StoppedError
        while (pause := self._pause_until - time.monotonic()) > 0:
            await self._unless_stopped(asyncio.sleep(pause))
        if self._requests is not None:
            await self._unless_stopped(self._requests.acquire())
        amount = float(self._purse.most(job))
        while self._tokens is not None and amount > 0:
            await self._unless_stopped(self._tokens.acquire(min(amount, self._tokens.max_rate)))
            amount -= self._tokens.max_rate
        try:
            return await self._endpoint.ask(job)
        except _TransientError as error:
            self.outcome.failures[error.kind] += 1
            if error.is_sent:
                self._purse.lose(job, self.outcome)
                if self._purse.is_exceeded():
                    self.stop("budget")
                    raise _StoppedError from None
            raise

    def _wait(self, state: RetryCallState) -> float:
        """Seconds before the next try: what the server asks for, else growing and random."""
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, _TransientError):
            raise AssertionError("only transient failures are tried again")
        seconds = self._backoff(state)
        if error.wait_seconds is not None:
            self._pause_until = max(self._pause_until, time.monotonic() + error.wait_seconds)
            seconds = error.wait_seconds + min(seconds, 1.0)
        if seconds > _LONG_SECONDS and time.monotonic() - self._spoke > _SECONDS_BETWEEN_WORDS:
            self._spoke = time.monotonic()
            say(f"teach: {error.kind} ({error}); trying again in {seconds:.0f} seconds")
        return seconds

    async def _unless_stopped(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait for something that costs nothing. Raises _StoppedError as soon as the run is to end."""
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
    """The first Ctrl-C (or SIGTERM) lets the requests under way come back, the second one drops them."""
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    presses = 0

    def press() -> None:
        nonlocal presses
        presses += 1
        if presses == 1:
            say("teach: stopping; waiting for the answers under way, which are paid for (Ctrl-C again drops them)")
            stop("interrupt")
        elif main is not None:
            main.cancel()

    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before if is_main else ():
            loop.add_signal_handler(number, press)
    except NotImplementedError:  # Windows: Ctrl-C ends at once; what was received is on disk all the same
        is_main = False
    try:
        yield
    finally:
        for number, handler in before.items() if is_main else ():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def ask_all(
    jobs: Sequence[Job],
    ledger: Ledger,
    prompt: Prompt,
    teacher: TeacherSettings,
    purse: Purse,
    outcome: Outcome,
    name: str,
) -> None:
    """Do all jobs; every reply is in the ledger before the next is counted.

    Args:
        outcome: is told how it goes, and knows it also after an exception.
        name: what the progress bar calls it.

    Raises:
        SettingsError: there is no key, or a budget in dollars and no price.
        TeacherError: the endpoint is not there, will not have us, or has ceased to answer.
        KeyboardInterrupt: a person stopped it; what had been asked has been received.
    """

    stops: list[Callable[[], object]] = []

    async def work() -> None:
        endpoint = Endpoint(teacher, prompt)
        loop = asyncio.get_running_loop()
        async with endpoint.client:
            crowd = Crowd(endpoint, ledger, purse, teacher, outcome)
            stops.append(lambda: loop.call_soon_threadsafe(crowd.stop, "interrupt"))
            with ledger, Progress(name, sum(job.wanted for job in jobs)) as progress:
                await crowd.work(jobs, progress)

    try:
        _run(work, stops)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    if outcome.stopped_by == "interrupt":
        raise KeyboardInterrupt


def _run(work: Callable[[], Coroutine[Any, Any, T]], stops: Sequence[Callable[[], object]]) -> T:
    """Run a coroutine to its end; in a running loop (a notebook) in a thread, whose work an interrupt `stops`."""
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
