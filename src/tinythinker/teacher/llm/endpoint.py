"""One model behind one OpenAI-compatible address: a request, and what its answer or fault means."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import mktime_tz, parsedate_tz
from typing import Any, cast

import openai

from tinythinker.core.errors import SettingsError, TeacherError
from tinythinker.core.masking import Hide, hidden, without_secrets
from tinythinker.settings.schema import LlmSettings
from tinythinker.teacher.llm.ledger import Job, Reply
from tinythinker.teacher.llm.prompt import Prompt
from tinythinker.teacher.llm.wire import BadReplyError, asked_by, reply_of

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
        self._tokens_field = field_for_tokens(llm)

    async def ask(self, job: Job) -> Reply:
        """Send one request; send it again in another form only if the endpoint says which form it wants.

        Raises:
            TransientError: a retry may succeed.
            RefusedError: the endpoint refuses this request.
            TeacherError: no request will succeed.
        """
        while True:
            count = min(job.wanted, self.most_n)
            tokens_field = self._tokens_field
            body = self._prompt.body(job.question) | {tokens_field: job.max_tokens}
            if count > 1:
                body["n"] = count
            del body["messages"], body["model"]
            try:
                async with asyncio.timeout(self._llm.timeout_seconds):
                    # All other fields go into `extra_body`: they vary between endpoints and prompt files.
                    answer = await self.client.chat.completions.with_raw_response.create(
                        model=self._prompt.model,
                        messages=cast(Any, self._prompt.messages(job.question)),
                        extra_body=body,
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
                if error.status_code not in (400, 422) or not self._learned(error, count, tokens_field):
                    raise self._sorted(error) from None
            except BadReplyError as error:
                raise TransientError("bad reply", str(error), is_sent=True) from None

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

    def _learned(self, error: openai.APIStatusError, count: int, tokens_field: str) -> bool:
        """Adapt to an error that says how this endpoint wants to be asked; False if it does not say."""
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
        """The error to raise for a status: retry, give up the request, or end the run."""
        status, said = error.status_code, _message(error, self.hide)
        if status in _HOPELESS or error.code == "insufficient_quota":
            return fatal(error, self._llm, self.hide)
        if status in _WORTH_A_RETRY or status >= 500:
            wait = retry_after(error.response.headers)
            if wait is not None and wait > _LONGEST_WAIT_SECONDS:
                return fatal(error, self._llm, self.hide)
            return TransientError(f"status {status}", said, wait)
        return RefusedError(f"status {status}: {said}")


def fatal(error: openai.APIStatusError, llm: LlmSettings, hide: Hide) -> TeacherError:
    """The error for a status that ends the run, with what to do about it."""
    wanted = {
        401: f"the key in {llm.key_env} to be accepted",
        402: "credit on the account",
        403: f"a key that may use model {llm.model}",
        400: "a request that it accepts",
        422: "a request that it accepts",
        404: f"an endpoint with model {llm.model} (check the name and teacher.llm.base_url, which usually ends in /v1)",
    }.get(error.status_code, "an answer within minutes; try later")
    if error.code == "insufficient_quota":
        wanted = "credit on the account"
    return TeacherError(
        f"{llm.base_url}: found status {error.status_code} ({_message(error, hide)}), expected {wanted}"
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks us to wait; None if it does not say.

    RFC 9110, section 10.2.3: a number or a date; some servers send milliseconds.

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


def _message(error: openai.APIStatusError, hide: Hide) -> str:
    """What the server said, on one line, with the key masked, cut at 300 characters."""
    body = error.body
    said = body.get("message") or body.get("detail") if isinstance(body, dict) else None
    return hide(" ".join(str(said or error.response.text or error.message).split()))[:300]


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
