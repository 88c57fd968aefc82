"""Read the few fields we need from an endpoint's response body; endpoints differ in everything else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import JsonValue

from tinythinker.core.formats import MalformedError, parse_received
from tinythinker.core.masking import Hide, hidden_everywhere
from tinythinker.teacher.llm.ledger import Completion, Job, Reply
from tinythinker.teacher.llm.prompt import Prompt
from tinythinker.teacher.llm.stream import is_stream, joined
from tinythinker.teacher.llm.tokens import count_tokens, prompt_tokens

_MOST_TOKENS = 10**9
"""A count above this is a fault of the endpoint."""
_STATUSES = frozenset(map(str, range(400, 600)))


_THOUGHTS = ("reasoning_content", "reasoning")
"""Where endpoints put what a model thinks before it answers."""


class BadReplyError(Exception):
    """A response body that is not an answer: cut off, malformed, or without a completion."""


class ReportedError(BadReplyError):
    """A response with a good status that reports an error in its body: nothing was made.

    Args:
        error: as the body has it.
    """

    def __init__(self, error: JsonValue) -> None:
        fields = error if isinstance(error, dict) else {"message": error}
        super().__init__(" ".join(str(fields.get("message") or json.dumps(error)).split())[:300])
        code = str(fields.get("code") or fields.get("status") or "")
        self.code = code
        self.status = int(code) if code in _STATUSES else None
        """The HTTP status it stands for; None if it names none."""
        self.body = json.dumps(error)


class Asked(NamedTuple):
    """The request that a response body answers."""

    question_id: str
    prompt: str
    """`Prompt.key` of what was asked."""
    wave: int
    max_tokens: int
    model: str
    prompt_tokens: int
    """Estimated; used for endpoints that do not count them."""


def asked_by(job: Job, prompt: Prompt) -> Asked:
    """The request that a job makes, as needed to read its answer."""
    question = job.question
    tokens = prompt_tokens(prompt, question)
    return Asked(question.id, prompt.key(question), job.wave, job.max_tokens, prompt.model, tokens)


def reply_of(text: str, asked: Asked, hide: Hide = str, *, batch_name: str | None = None) -> Reply:
    """The reply in a response body, or in a stream of pieces, of which only `choices` is required.

    The secret is masked in every text of the body, whatever is then read of it. Choices that report an error at the
    provider are left out: they can be asked for again.

    Args:
        hide: removes secrets from a text.
        batch_name: name of the request if it was one line of a batch, else None.

    Raises:
        ReportedError: the body reports an error instead of a completion.
        BadReplyError: the body contains no completion for another reason.
    """
    try:
        body = hidden_everywhere(joined(text) if is_stream(text) else parse_received(text), hide)
    except MalformedError:
        raise BadReplyError(f"a cut-off or malformed body: {hide(text)[:80]!r}") from None
    choices = body.get("choices") if isinstance(body, dict) else None
    usable = [choice for choice in choices if not _reported(choice)] if isinstance(choices, list) else []
    completions = [read for read in map(_completion, usable) if read is not None]
    if not isinstance(body, dict) or not completions:
        raise _fault(body, choices)
    tokens = _tokens(body.get("usage"), asked, completions)
    if tokens.reasoning:
        completions = [one if one.text.strip() or one.thoughts else _thought(one) for one in completions]
    return Reply(
        request=batch_name or str(body.get("id") or ""),
        question_id=asked.question_id,
        prompt=asked.prompt,
        wave=asked.wave,
        max_tokens=asked.max_tokens,
        completions=tuple(completions),
        model=asked.model,
        answered_by=str(body.get("model") or ""),
        prompt_tokens=tokens.prompt,
        cached_tokens=tokens.cached,
        completion_tokens=tokens.completion,
        reasoning_tokens=tokens.reasoning,
        is_counted=tokens.is_counted,
        is_batch=batch_name is not None,
    )


def _thought(completion: Completion) -> Completion:
    """A completion without text at an endpoint that keeps thoughts to itself."""
    return completion.model_copy(update={"thoughts": ""})


def _fault(body: JsonValue, choices: JsonValue) -> BadReplyError:
    """The error for a body without a completion."""
    fields = body if isinstance(body, dict) else {}
    of_choices = [_reported(choice) for choice in choices] if isinstance(choices, list) else []
    error = next((one for one in (fields.get("error"), *of_choices) if one), None)
    if error is not None:
        return ReportedError(error)
    lacks = "a completion" if isinstance(choices, list) else "choices"
    return BadReplyError(f"a body without {lacks}: {json.dumps(body)[:80]!r}")


def _reported(choice: JsonValue) -> JsonValue:
    """The error that a choice reports in place of a text; None if it reports none."""
    if not isinstance(choice, dict):
        return None
    return choice.get("error") or ("finish_reason: error" if choice.get("finish_reason") == "error" else None)


def _completion(choice: JsonValue) -> Completion | None:
    """The completion in a choice; None if there is none. A refusal counts as withheld."""
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return None
    text, refusal, finish = _content(message.get("content")), message.get("refusal"), choice.get("finish_reason")
    if not text and refusal:
        text, finish = str(refusal), "content_filter"
    field = next((name for name in _THOUGHTS if _content(message.get(name)).strip()), None)
    is_needed = field is not None and not text.strip()
    return Completion(
        text=text,
        finish=str(finish) if finish is not None else None,
        thoughts=_content(message.get(str(field))) if is_needed else None,
        field=field if is_needed else None,
    )


def _content(content: JsonValue) -> str:
    """The text of a message, whether sent as one string or as a list of parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return str(content or "")


class _Tokens(NamedTuple):
    prompt: int
    cached: int
    completion: int
    reasoning: int
    is_counted: bool


def _tokens(usage: JsonValue, asked: Asked, completions: Sequence[Completion]) -> _Tokens:
    """What a request has used, as the endpoint counts it; estimated where it does not.

    Some endpoints leave thinking out of the completion tokens; their sum shows it, and it is paid for.
    """
    counts = usage if isinstance(usage, dict) else {}
    given, made, total = (_count(counts, f"{name}_tokens") for name in ("prompt", "completion", "total"))
    thought = _count(counts.get("completion_tokens_details"), "reasoning_tokens")
    cached = _count(counts.get("prompt_tokens_details"), "cached_tokens")
    prompt = asked.prompt_tokens if given is None else given
    if made is None:
        said = sum(count_tokens(one.text) + count_tokens(one.thoughts or "") for one in completions)
        return _Tokens(prompt, min(cached or 0, prompt), max(said, thought or 0), thought or 0, False)
    unlisted = max(0, total - given - made) if total is not None and given is not None else 0
    made += unlisted
    return _Tokens(prompt, min(cached or 0, prompt), made, min(made, max(thought or 0, unlisted)), given is not None)


def _count(counts: JsonValue, name: str) -> int | None:
    """A number of tokens; None if the endpoint gives none, or an invalid one."""
    value = counts.get(name) if isinstance(counts, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS else None
