"""Read the few fields we need from an endpoint's response body; endpoints differ in everything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from tinythinker.core.formats import MalformedError, parse_received
from tinythinker.core.masking import Hide, hidden_everywhere
from tinythinker.teacher.llm.cost import count_tokens, prompt_tokens
from tinythinker.teacher.llm.ledger import Completion, Job, Reply
from tinythinker.teacher.llm.prompt import Prompt

_MOST_TOKENS = 10**9
"""A count above this is a fault of the endpoint."""


class BadReplyError(Exception):
    """A response body that is not an answer: cut off, malformed, or without a completion."""


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
    """The reply in a response body, of which only `choices` is required.

    The secret is masked in every text of the body, whatever is then read of it. Choices that report an error at the
    provider are left out: they can be asked for again.

    Args:
        hide: removes secrets from a text.
        batch_name: name of the request if it was one line of a batch, else None.

    Raises:
        BadReplyError: the body contains no completion.
    """
    try:
        body = hidden_everywhere(parse_received(text), hide)
    except MalformedError:
        raise BadReplyError(f"a cut-off or malformed body: {hide(text)[:80]!r}") from None
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(choices, list):
        raise BadReplyError(f"a body without choices: {json.dumps(body)[:80]!r}")
    completions = tuple(read for read in map(_completion, choices) if read is not None)
    if not completions:
        raise BadReplyError(f"a body without a completion: {json.dumps(body)[:80]!r}")
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    given, made = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    prompt = asked.prompt_tokens if given is None else given
    cached = _count(details, "cached_tokens") if isinstance(details, dict) else None
    return Reply(
        request=batch_name or str(body.get("id") or ""),
        question_id=asked.question_id,
        prompt=asked.prompt,
        wave=asked.wave,
        max_tokens=asked.max_tokens,
        completions=completions,
        model=asked.model,
        answered_by=str(body.get("model") or ""),
        prompt_tokens=prompt,
        cached_tokens=min(cached or 0, prompt),
        completion_tokens=sum(count_tokens(completion.text) for completion in completions) if made is None else made,
        is_counted=given is not None and made is not None,
        is_batch=batch_name is not None,
    )


def _completion(choice: object) -> Completion | None:
    """The completion in a choice; None if the provider failed. A refusal counts as withheld."""
    if not isinstance(choice, dict) or choice.get("error") or choice.get("finish_reason") == "error":
        return None
    message = choice.get("message")
    if not isinstance(message, dict):
        return None
    content, refusal = _content(message.get("content")), message.get("refusal")
    finish = choice.get("finish_reason")
    if not content and refusal:
        content, finish = str(refusal), "content_filter"
    return Completion(text=content, finish=str(finish) if finish is not None else None)


def _content(content: object) -> str:
    """The text of a message, whether sent as one string or as a list of parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return str(content or "")


def _count(usage: Mapping[str, Any], name: str) -> int | None:
    """A number of tokens; None if the endpoint gives none, or an invalid one."""
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS else None
