"""OpenAI's chat completions for a multiple-choice question in a text."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tinythinker.core.errors import DataError
from tinythinker.core.files import Json
from tinythinker.core.records import LABELS, Question
from tinythinker.serve.limits import LONGEST_OPTION, LONGEST_QUESTION, ResponseError
from tinythinker.use.prediction import Prediction
from tinythinker.use.questions import SoFar, spoken_question

_MOST_TEXT = LONGEST_QUESTION + len(LABELS) * LONGEST_OPTION


class _Loose(BaseModel):
    """Clients send more fields than a student heeds."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)


class TextPart(_Loose):
    """A part of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(_Loose):
    """A message of a chat."""

    role: str
    content: Annotated[str, Field(max_length=_MOST_TEXT)] | list[TextPart] | None = None

    @property
    def text(self) -> str:
        """The whole text."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class ChatRequest(_Loose):
    """A chat whose last message by the user is a question with its options: `A) ...`, `B) ...`, one per line.

    A student knows no conversation: earlier and system messages are not read, and answers are always greedy, whatever
    `temperature` and the like say.
    """

    messages: list[ChatMessage] = Field(min_length=1, max_length=1000)
    """Each with `role` and `content`, a text or a list of parts with texts."""
    model: str | None = None
    """A name from `/v1/models`; null asks the first one."""
    stream: bool = False
    """Send every stage as soon as it is written."""
    n: int | None = Field(None, ge=1, le=1)
    """Number of answers; there is only one."""

    def question(self) -> Question:
        """What is asked. Raises ResponseError."""
        said = [message.text for message in self.messages if message.role == "user"]
        if not said:
            wanted = "one with the role user: a question with its options"
            raise ResponseError(422, f"messages: found none by the user, expected {wanted}")
        try:
            return spoken_question(said[-1])
        except DataError as error:
            raise ResponseError(422, f"messages: {error}") from None


def completion(made: Prediction, model: str) -> Json:
    """A whole answer; `tinythinker` holds the same record as `/v1/answer`."""
    message = {"role": "assistant", "content": "".join(_said(made))}
    return {
        **_envelope(model, "chat.completion"),
        "choices": [{"index": 0, "message": dict(message), "finish_reason": "stop"}],
        "tinythinker": made.model_dump(mode="json"),
    }


async def chunks(events: AsyncIterator[SoFar | Prediction], question: Question, model: str) -> AsyncIterator[str]:
    """The answer in server-sent events, one or more per stage."""
    envelope = _envelope(model, "chat.completion.chunk")
    sent = 0

    def chunk(delta: Json, finish: str | None = None, **more: object) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return f"data: {json.dumps({**envelope, 'choices': [choice], **more}, ensure_ascii=False)}\n\n"

    yield chunk({"role": "assistant", "content": ""})
    try:
        async for event in events:
            lines = list(_said(event) if isinstance(event, Prediction) else _reasoned(event, question.labels))
            for line in lines[sent:]:
                yield chunk({"content": line})
            sent = max(sent, len(lines))
            if isinstance(event, Prediction):
                yield chunk({}, "stop", tinythinker=event.model_dump(mode="json"))
    except ResponseError as refusal:
        yield f"data: {json.dumps(refusal.body)}\n\n"
    yield "data: [DONE]\n\n"


def _envelope(model: str, kind: str) -> Json:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}


def _reasoned(made: SoFar | Prediction, labels: tuple[str, ...]) -> Iterator[str]:
    """What has been written before the answer, line by line."""
    if made.recall is not None:
        yield f"Recall: {made.recall}\n"
    if made.analyses:
        yield from (f"Analyze {label}: {text}\n" for label, text in zip(labels, made.analyses, strict=True))


def _said(made: Prediction) -> Iterator[str]:
    """All that is said in an answer, line by line."""
    yield from _reasoned(made, tuple(LABELS[: len(made.analyses)]))
    yield f"Answer: {made.answer} ({made.text})" if made.is_readable else f"Answer: unreadable ({made.conclusion})"
