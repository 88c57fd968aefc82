"""The body of an endpoint's answer, as far as it matters here; endpoints differ in everything else."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tinythinker.core.jsonl import describe
from tinythinker.teacher.cost import count_tokens, prompt_tokens
from tinythinker.teacher.ledger import Completion, Job, Reply
from tinythinker.teacher.prompt import Prompt


class BadReplyError(Exception):
    """A body that is no answer: torn, of another shape, or without a completion."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Message(_Part):
    content: str | None = None
    refusal: str | None = None


class _Choice(_Part):
    message: _Message
    finish_reason: str | None = None


class _Details(_Part):
    cached_tokens: int | None = None


class _Usage(_Part):
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)
    prompt_tokens_details: _Details | None = None


class _Body(_Part):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice]
    usage: _Usage | None = None


def reply_of(
    text: str, job: Job, prompt: Prompt, hide: Callable[[str], str] = str, *, batch_name: str | None = None
) -> Reply:
    """The reply that a response body holds.

    Args:
        hide: takes secrets out of a text.
        batch_name: names the request, if it was one line of a batch.

    Raises:
        BadReplyError: there is no completion in it.
    """
    try:
        body = _Body.model_validate_json(text)
    except ValidationError as error:
        torn = error.errors()[0]["type"] == "json_invalid"
        reason = "a torn or malformed body" if torn else describe(error)
        raise BadReplyError(hide(f"{reason}: {text[:80]!r}")) from None
    if not body.choices:
        raise BadReplyError("a body without choices")
    completions = tuple(
        Completion(text=hide(choice.message.content or choice.message.refusal or ""), finish=_finish(choice))
        for choice in body.choices
    )
    cached = 0
    if body.usage is None:
        counts = prompt_tokens(prompt, job.question), sum(count_tokens(own.text) for own in completions)
    else:
        counts = body.usage.prompt_tokens, body.usage.completion_tokens
        cached = (body.usage.prompt_tokens_details or _Details()).cached_tokens or 0
    return Reply(
        request=batch_name or hide(body.id or ""),
        question_id=job.question.id,
        prompt=prompt.key(job.question),
        wave=job.wave,
        max_tokens=job.max_tokens,
        completions=completions,
        model=prompt.model,
        answered_by=hide(body.model or ""),
        prompt_tokens=counts[0],
        cached_tokens=min(cached, counts[0]),
        completion_tokens=counts[1],
        is_counted=body.usage is not None,
        is_batch=batch_name is not None,
    )


def _finish(choice: _Choice) -> str | None:
    """Why it ended; a refusal counts as withheld."""
    return "content_filter" if choice.message.refusal and not choice.message.content else choice.finish_reason
