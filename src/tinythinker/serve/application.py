"""The service itself: its paths, what they take and give."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from importlib import metadata, resources
from typing import Annotated, cast

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from tinythinker.core.errors import DataError, shortened
from tinythinker.core.files import Json
from tinythinker.core.records import LABELS, Question
from tinythinker.serve.chat import ChatRequest, chunks, completion
from tinythinker.serve.gate import Application, Gate
from tinythinker.serve.gauges import Gauges
from tinythinker.serve.limits import LONGEST_OPTION, LONGEST_QUESTION, Limits, ResponseError
from tinythinker.serve.manual import manual
from tinythinker.serve.roster import Roster
from tinythinker.serve.thinker import Thinker
from tinythinker.use.prediction import Prediction
from tinythinker.use.questions import Posed, SoFar, as_question

Text = Annotated[str, Field(min_length=1, max_length=LONGEST_QUESTION)]
OptionText = Annotated[str, Field(min_length=1, max_length=LONGEST_OPTION)]
PAGE = resources.files("tinythinker") / "serve" / "playground.html"


class AnswerRequest(BaseModel):
    """A question to answer."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    question: Text
    """The question, without its options."""
    options: Annotated[list[OptionText], Field(min_length=2, max_length=len(LABELS))]
    """Their texts; they get the labels A, B, C ... in this order."""
    id: Annotated[str, Field(min_length=1, max_length=200)] = "asked"
    """Comes back with the answer."""
    student: str | None = None
    """A name from `/v1/students`; null asks the first one."""
    recall: Text | None = None
    """Knowledge to go on from, instead of what the student would recall."""
    analyses: list[Text] | None = None
    """One per option, to go on from; with the recall, if the student writes one."""
    stream: bool = False
    """Send server-sent events: `recall` and `analyses` as soon as they are written, then `answer`, or `error`."""

    def posed(self) -> Posed:
        """The question as a student takes it. Raises ResponseError."""
        given = None if self.analyses is None else tuple(self.analyses)
        try:
            return Posed(as_question(self.question, self.options, self.id), self.recall, given)
        except DataError as error:
            raise ResponseError(422, str(error)) from None


class ExampleQuestion(BaseModel):
    """A test question of the student's run."""

    id: str
    question: str
    options: list[str]
    answer: str | None


class _Service:
    """What the handlers share."""

    def __init__(self, roster: Roster, examples: Sequence[Question], limits: Limits) -> None:
        self.roster, self.examples = roster, examples
        self.thinker = Thinker(roster.answer, limits, lambda *batch: self.gauges.note(*batch))
        self.gauges = Gauges(PATHS, lambda: self.thinker.count_waiting)

    def student(self, name: str | None) -> str:
        """The name of a student. Raises ResponseError if there is none of that name."""
        if name is not None and name not in self.roster.names:
            found = f"student: found {shortened(name)}, expected one of {', '.join(self.roster.names)}"
            raise ResponseError(404, found)
        return name or self.roster.first

    def events(self, student: str | None, posed: Posed) -> AsyncIterator[SoFar | Prediction]:
        """What happens to a question. Raises ResponseError, at once or on the way."""
        return self.thinker.events(self.thinker.submit(self.student(student), posed))


PATHS = "/ /v1/answer /v1/chat/completions /v1/students /v1/models /v1/examples /healthz /metrics /docs".split()


def make_application(
    roster: Roster,
    examples: Sequence[Question] = (),
    limits: Limits | None = None,
    *,
    key: str | None = None,
    is_local: bool = False,
) -> Application:
    """A service for these students, as an ASGI application.

    Args:
        examples: questions that the playground offers.
        key: what requests must bring; None asks for none.
        is_local: refuse requests that name another host than a loopback one.
    """
    service = _Service(roster, examples, limits or Limits())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.thinker.start()
        yield
        await service.thinker.stop()

    application = FastAPI(
        title="tinythinker",
        version=metadata.version("tinythinker"),
        description="A small student that reasons before it answers: recall, analyze, summarize.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    application.add_exception_handler(ResponseError, _refused)
    application.add_exception_handler(RequestValidationError, _misread)
    application.add_exception_handler(HTTPException, _not_there)
    _add_answers(application, service)
    _add_looks(application, service)
    _add_pages(application)
    return service.gauges.counting(Gate(application, key=key, is_local=is_local))


def _add_answers(application: FastAPI, service: _Service) -> None:
    @application.post("/v1/answer", response_model=Prediction, summary="Answer a question")
    async def answer(request: AnswerRequest) -> Response:
        """Answer a multiple-choice question, with the whole reasoning. The record is that of `tinythinker predict`."""
        events = service.events(request.student, request.posed())
        if request.stream:
            return StreamingResponse(_streamed(events), media_type="text/event-stream", headers=_FRESH)
        return Response((await _last(events)).model_dump_json(), media_type="application/json")

    @application.post("/v1/chat/completions", summary="Answer a question in OpenAI's shape")
    async def chat(request: ChatRequest) -> Response:
        """The last message by the user holds the question and, one per line, its options: `A) ...`, `B) ...`."""
        question = request.question()
        model = service.student(request.model)
        events = service.events(model, Posed(question))
        if request.stream:
            streamed = chunks(events, question, model)
            return StreamingResponse(streamed, media_type="text/event-stream", headers=_FRESH)
        return JSONResponse(completion(await _last(events), model))


def _add_looks(application: FastAPI, service: _Service) -> None:
    @application.get("/v1/students", summary="Names of the students")
    async def students() -> list[str]:
        """All names; the first is asked where none is named, the others are loaded when they are first asked."""
        return service.roster.names

    @application.get("/v1/models", summary="Names of the students in OpenAI's shape")
    async def models() -> Json:
        """As `/v1/students`."""
        every: list[Json] = [
            {"id": name, "object": "model", "created": 0, "owned_by": "tinythinker"} for name in service.roster.names
        ]
        return {"object": "list", "data": [*every]}

    @application.get("/v1/examples", summary="Test questions of the student's run")
    async def examples(
        start: Annotated[int, Query(ge=0)] = 0, count: Annotated[int, Query(ge=1, le=100)] = 20
    ) -> list[ExampleQuestion]:
        """Some of them, in a shuffled order that stays; none if the student lies in no run."""
        return [
            ExampleQuestion(
                id=one.id, question=one.stem, options=[option.text for option in one.options], answer=one.gold
            )
            for one in service.examples[start : start + count]
        ]

    @application.get("/healthz", summary="Is it well?")
    async def healthz() -> JSONResponse:
        """200 while questions are answered, else 503."""
        state = {"status": "ok" if service.thinker.is_working else "stopped", "waiting": service.thinker.count_waiting}
        return JSONResponse(state, 200 if service.thinker.is_working else 503)

    @application.get("/metrics", summary="Figures for Prometheus")
    async def metrics() -> Response:
        """Requests, answers, tokens, batches, and how many questions wait."""
        return Response(service.gauges.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_pages(application: FastAPI) -> None:
    page = PAGE.read_text(encoding="utf-8")
    headers = _page_headers(page)

    @application.get("/", include_in_schema=False)
    async def playground() -> HTMLResponse:
        return HTMLResponse(page, headers=headers)

    @application.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        text = manual(application.openapi())
        return HTMLResponse(text, headers=_page_headers(text))


_FRESH = {"cache-control": "no-store"}


def _page_headers(page: str) -> dict[str, str]:
    """Headers under which a page runs its own scripts and styles alone, and asks this service alone."""

    def hashes(tag: str) -> str:
        texts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        return " ".join(f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in texts) or "'none'"

    policy = (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        **_FRESH,
    }


async def _last(events: AsyncIterator[SoFar | Prediction]) -> Prediction:
    async for event in events:
        if isinstance(event, Prediction):
            return event
    raise ResponseError(500, "student: found no answer, expected one")


async def _streamed(events: AsyncIterator[SoFar | Prediction]) -> AsyncIterator[str]:
    """Server-sent events: each stage once, then the answer."""
    told: set[str] = set()
    try:
        async for event in events:
            if isinstance(event, Prediction):
                yield f"event: answer\ndata: {event.model_dump_json()}\n\n"
                continue
            for stage, written in event._asdict().items():
                if written is not None and stage not in told:
                    told.add(stage)
                    yield f"event: {stage}\ndata: {json.dumps({stage: written}, ensure_ascii=False)}\n\n"
    except ResponseError as refusal:
        yield f"event: error\ndata: {json.dumps(refusal.body)}\n\n"


async def _refused(_: Request, error: Exception) -> Response:
    refusal = cast(ResponseError, error)  # what it is registered for
    return JSONResponse(refusal.body, refusal.status, refusal.headers)


async def _misread(request: Request, error: Exception) -> Response:
    """A body or a query that is not what it should be, in one line."""
    first = cast(RequestValidationError, error).errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
    if not where or first["type"] == "json_invalid":
        wanted = "a JSON object, sent with content-type: application/json"
        fault = f"body: found something else, expected {wanted}"
        return await _refused(request, ResponseError(422, fault))
    found = "" if first["type"] == "missing" else f" (found {shortened(first.get('input'))})"
    return await _refused(request, ResponseError(422, f"{where}: {first['msg']}{found}"))


async def _not_there(request: Request, error: Exception) -> Response:
    raised = cast(HTTPException, error)
    found = f"{request.method} {request.url.path}: {raised.detail.lower()}; /docs lists all paths"
    return await _refused(request, ResponseError(raised.status_code, found))
