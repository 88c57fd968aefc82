"""One model behind one OpenAI-compatible address: a request, and what its answer or fault means."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import openai

from tinythinker.core.errors import SettingsError, TeacherError
from tinythinker.core.formats import Json
from tinythinker.core.masking import Hide, hidden, without_secrets
from tinythinker.core.progress import say
from tinythinker.settings.schema import LlmSettings
from tinythinker.teacher.llm.ledger import Job, Reply
from tinythinker.teacher.llm.prompt import Prompt
from tinythinker.teacher.llm.waits import asked_wait
from tinythinker.teacher.llm.wire import BadReplyError, ReportedError, asked_by, reply_of

_LONGEST_WAIT_SECONDS = 600.0
"""If a server asks for a longer pause than this, the run stops."""
_OFFICIAL_HOST = "api.openai.com"
_NEVER_SENT = frozenset(
    "ConnectError ConnectTimeout PoolTimeout ProxyError UnsupportedProtocol LocalProtocolError".split()
)
"""Names of the HTTP library's errors after which nothing can have been billed."""
MOST_N = 128
_ABOUT_N = re.compile(
    r"['\"`]n['\"`]|\bn (?:must|is not|should|cannot|greater|> ?1\b)|parameter:? n\b"
    r"|(?:one|single|multiple) (?:completion|choice)",
    re.I,
)
_LIMIT = re.compile(r"(?:at most|maximum(?: of| is)?|up to|<=|less than or equal to|no more than) (\d{1,9})", re.I)
_WANTS_STREAM = re.compile(
    r"\bstream(?:ing)?\b.{0,40}\b(?:only|must|required?|enabled?|true|set)\b"
    r"|\b(?:only|must|requires?|enable|set|use|non)\b.{0,40}\bstream",
    re.I,
)
_TEMPERATURE = "temperature"
_ONE_TEMPERATURE = re.compile(
    r"temperature.*(?:\bonly\b|\bdefault\b|(?:not|n't) support|unsupported|deprecated|must be 1(?:\.0)?\b(?! or))"
    r"|(?:\bonly\b|(?:not|n't) support|unsupported).*temperature",
    re.I,
)
_A_RANGE = re.compile(r"between|range|at most|less than|greater than|maximum|[<>≤≥]", re.I)
"""A complaint about a value that another value would satisfy."""
_TOO_LONG = re.compile(r"context (?:length|size|window)|exceed_context|too (?:long|many tokens)", re.I)
SHORTER_PROMPT = "teacher.llm.examples=3 makes the prompt half as long"
_SHOWN, _MOST_SAID = 100, 300
"""Characters of what an endpoint said."""
_NO_CREDIT = "insufficient_quota"
_HOPELESS = (401, 402, 403, 404)
_WORTH_A_RETRY = (408, 409, 425, 429)


class TransientError(Exception):
    """A failure that a retry may fix.

    Args:
        is_sent: the request reached the endpoint and no refusal came back, so it may have been billed.
    """

    def __init__(self, kind: str, reason: str, wait_seconds: float | None = None, *, is_sent: bool = False) -> None:
        super().__init__(reason)
        self.kind, self.wait_seconds, self.is_sent = kind, wait_seconds, is_sent


class RefusedError(Exception):
    """The endpoint refuses this request; sending it again would not help."""


class _Form(NamedTuple):
    """How an endpoint wants to be asked; learned from what it refuses."""

    tokens: str
    """The field that limits the tokens of a completion."""
    is_stream: bool
    asks_usage: bool = True
    """Streams only: ask for the usage, which comes with the last piece."""
    left_out: frozenset[str] = frozenset()
    """Fields that it refuses. What was asked for stays the same, and so does the key of the answers."""


class Endpoint:
    """One model at one address; sorts responses into answers, failures worth a retry, and final refusals."""

    def __init__(self, llm: LlmSettings, prompt: Prompt) -> None:
        self._llm, self._prompt = llm, prompt
        key = api_key(llm)
        self.hide = hidden(key)
        with unusable_proxy():
            self.client = openai.AsyncOpenAI(
                api_key=key, base_url=llm.base_url, max_retries=0, timeout=llm.timeout_seconds
            )
        self.most_n = MOST_N
        """Most completions that the endpoint returns per request; learned from its responses."""
        self._short_in_a_row = 0
        self._is_known = False
        self.is_reached = False
        """Has the endpoint ever responded?"""
        self._form = _Form(field_for_tokens(llm), llm.stream)

    async def ask(self, job: Job) -> Reply:
        """Send one request; send it again in another form only if the endpoint says which form it wants.

        Raises:
            TransientError: a retry may succeed.
            RefusedError: the endpoint refuses this request.
            TeacherError: no request will succeed.
        """
        while True:
            count = min(job.wanted, self.most_n)
            form = self._form
            try:
                async with asyncio.timeout(self._llm.timeout_seconds):
                    # All fields go into `extra_body`: they vary between endpoints and prompt files, and the SDK would
                    # spend more time on walking through the messages than on sending them.
                    answer = await self.client.chat.completions.with_raw_response.create(
                        model=self._prompt.model, messages=(), extra_body=self._fields(job, count, form)
                    )
                self.is_reached = True
                reply = reply_of(answer.text, asked_by(job, self._prompt), self.hide)
                self._see(count, len(reply.completions))
                return reply
            except (TimeoutError, openai.APITimeoutError) as error:
                reason = f"no answer within {self._llm.timeout_seconds:g} seconds"
                raise TransientError("timeout", reason, is_sent=self._may_be_billed(error)) from None
            except openai.APIConnectionError as error:
                cause = error.__cause__ or error
                reason = self.hide(str(cause)) or type(cause).__name__
                raise TransientError("connection", reason, is_sent=self._may_be_billed(error)) from None
            except openai.APIStatusError as error:
                self.is_reached = True
                fault = fault_of(error, self.hide)
                if fault.status not in (400, 422) or not self._learned(fault, count, form):
                    raise self._sorted(fault) from None
            except ReportedError as error:
                wait = asked_wait(error.status or 200, answer.headers, error.body)
                raise self._sorted(Fault(error.status, str(error), error.code, None, wait)) from None
            except BadReplyError as error:
                raise TransientError("bad reply", str(error), is_sent=True) from None

    def _fields(self, job: Job, count: int, form: _Form) -> Json:
        """The fields of a request, in the form that the endpoint wants."""
        body = {name: value for name, value in self._prompt.body(job.question).items() if name not in form.left_out}
        body[form.tokens] = job.max_tokens
        if count > 1:
            body["n"] = count
        if form.is_stream:
            body["stream"] = True
            if form.asks_usage:
                body.setdefault("stream_options", {"include_usage": True})
        return body

    def _may_be_billed(self, error: BaseException) -> bool:
        """Can an unanswered request have reached the endpoint? Only if the endpoint has responded before."""
        return self.is_reached and type(error.__cause__).__name__ not in _NEVER_SENT

    def _see(self, count: int, received: int) -> None:
        """Learn whether the endpoint supports `n`.

        It does not if the first answer to such a request, or two in a row, contain a single completion.
        """
        if count == 1:
            return
        self._short_in_a_row = self._short_in_a_row + 1 if received == 1 else 0
        if self._short_in_a_row == 2 or (self._short_in_a_row == 1 and not self._is_known):
            self.most_n = 1
        self._is_known = True

    def _learned(self, fault: Fault, count: int, form: _Form) -> bool:
        """Adapt to an error that says how this endpoint wants to be asked; False if it does not say.

        Args:
            count, form: of the request that was refused; another worker may have learned since.
        """
        said = fault.said
        if form.tokens == "max_tokens" and "max_completion_tokens" in said:
            self._form = self._form._replace(tokens="max_completion_tokens")
        elif count > 1 and (fault.param == "n" or _ABOUT_N.search(said)):
            limit = _LIMIT.search(said)
            self.most_n = min(count - 1, max(1, int(limit[1]))) if limit else 1
        elif form.is_stream and form.asks_usage and "stream_options" in said:
            self._form = self._form._replace(asks_usage=False)
        elif not form.is_stream and _WANTS_STREAM.search(said):
            self._form = self._form._replace(is_stream=True)
        elif _TEMPERATURE not in form.left_out and _ONE_TEMPERATURE.search(said) and not _A_RANGE.search(said):
            if _TEMPERATURE not in self._form.left_out:
                say(f"teach: {self._llm.base_url} takes no temperature; it is left out ({said[:_SHOWN]})")
            self._form = self._form._replace(left_out=frozenset({_TEMPERATURE}))
        else:
            return False
        return True

    def _sorted(self, fault: Fault) -> Exception:
        """The error to raise for a fault: retry, give up the request, or end the run."""
        if fault.status in _HOPELESS or fault.code == _NO_CREDIT:
            return fatal(fault, self._llm)
        kind = "reported error" if fault.status is None else f"status {fault.status}"
        if fault.status is None or fault.status in _WORTH_A_RETRY or fault.status >= 500:
            if fault.wait_seconds is not None and fault.wait_seconds > _LONGEST_WAIT_SECONDS:
                return fatal(fault, self._llm)
            return TransientError(kind, fault.said, fault.wait_seconds)
        helps = f" ({SHORTER_PROMPT})" if _TOO_LONG.search(fault.said) else ""
        return RefusedError(f"{kind}: {fault.said}{helps}")


class Fault(NamedTuple):
    """What an endpoint says is wrong."""

    status: int | None
    """The HTTP status; None for an error that came with a good one and names no other."""
    said: str
    """On one line, with the key masked, cut at 300 characters."""
    code: str | None = None
    param: str | None = None
    """The field of the request that is wrong."""
    wait_seconds: float | None = None
    """How long the endpoint asks us to wait; None if it does not say."""


def fault_of(error: openai.APIStatusError, hide: Hide) -> Fault:
    """What a response with an error status says."""
    body, response = error.body, error.response
    said = body.get("message") or body.get("detail") if isinstance(body, dict) else None
    line = hide(" ".join(str(said or response.text or error.message).split()))[:_MOST_SAID]
    wait = asked_wait(error.status_code, response.headers, response.text)
    return Fault(error.status_code, line, error.code, error.param, wait)


def fatal(fault: Fault, llm: LlmSettings) -> TeacherError:
    """The error for a fault that ends the run, with what to do about it."""
    wanted = {
        401: f"the key in {llm.key_env} to be accepted",
        402: "credit on the account",
        403: f"a key that may use model {llm.model}",
        400: "a request that it accepts",
        422: "a request that it accepts",
        404: f"an endpoint with model {llm.model} (check the name and teacher.llm.base_url, which usually ends in /v1)",
    }.get(fault.status or 0, "an answer within minutes; try later")
    if fault.code == _NO_CREDIT:
        wanted = "credit on the account"
    kind = "a reported error" if fault.status is None else f"status {fault.status}"
    return TeacherError(f"{llm.base_url}: found {kind} ({fault.said}), expected {wanted}")


@contextmanager
def unusable_proxy() -> Iterator[None]:
    """Report an unusable proxy from the environment in one line. Raises SettingsError."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, ImportError | ValueError) and type(error).__name__ != "InvalidURL":
            raise
        raise SettingsError(
            "proxy settings in the environment (HTTP_PROXY, ALL_PROXY ...): found one that cannot be used "
            f"({without_secrets(str(error))}), expected an http:// proxy or none"
        ) from None


def field_for_tokens(llm: LlmSettings) -> str:
    """The request field that limits the tokens of a completion, guessed from the endpoint's address."""
    return "max_completion_tokens" if _OFFICIAL_HOST in llm.base_url else "max_tokens"


def hide_key(llm: LlmSettings) -> Hide:
    """Masks the API key of the environment, if there is one."""
    return hidden(os.environ.get(llm.key_env, "").strip())


def api_key(llm: LlmSettings) -> str:
    """The API key from the environment, or `none` if your own endpoint needs no key. Raises SettingsError."""
    key = os.environ.get(llm.key_env, "").strip()
    is_named = llm.key_env != LlmSettings.model_fields["key_env"].default
    if not key and (is_named or _OFFICIAL_HOST in llm.base_url):
        raise SettingsError(
            f"environment variable {llm.key_env}: found nothing, expected the API key for {llm.base_url}; or "
            "set teacher.llm.base_url to your own endpoint"
        )
    if not key.isascii() or not key.isprintable():
        raise SettingsError(
            f"environment variable {llm.key_env}: found characters that no key has (not shown), expected an API key"
        )
    return key or "none"
