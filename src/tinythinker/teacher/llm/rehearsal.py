"""A few questions asked before the whole job: what is sent, what comes back, what is read of it, what it takes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

from tinythinker.core.errors import TeacherError
from tinythinker.core.files import Json
from tinythinker.core.records import Question, Rationale, Record
from tinythinker.core.run import RunDirectory
from tinythinker.settings.schema import RunSettings
from tinythinker.tasks.registry import load_task
from tinythinker.teacher.llm.cost import dollars, price_of, price_source, spent, sum_over_models
from tinythinker.teacher.llm.interview import Interview
from tinythinker.teacher.llm.ledger import Completion, read_completion
from tinythinker.teacher.llm.prompt import llm_of
from tinythinker.teacher.select import advice
from tinythinker.teacher.source import to_explain


class Heard(Record):
    """One question of a rehearsal, and what became of its answer."""

    question_id: str
    asked: str
    """The question as the teacher reads it."""
    reply: Completion
    """As it came, unchanged."""
    read: Rationale | None
    """What was read of it; None if it was rejected."""
    problem: str | None
    """Why it was rejected, and what may help; None if it was read."""


class Rehearsal(Record):
    """What a rehearsal showed. Counts, seconds and cost are those of its own requests; a kept answer takes none."""

    request: Json
    """The body of the first request."""
    heard: tuple[Heard, ...]
    refused: dict[str, str]
    """Why the endpoint refused the other questions, by their ids."""
    requests: int
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    """How many of the completion tokens were spent on thinking, as far as the endpoint says."""
    seconds: float
    """For all requests, one after the other."""
    cost: float | None
    """US dollars; None if the price is not known."""
    price_source: str
    whole_completions: int
    """Completions that `teach` wants with these settings."""
    whole_cost: float | None
    """US dollars for these, at the lengths seen here; None if the price is not known or nothing was asked."""

    def lines(self) -> Iterator[str]:
        """The rehearsal as lines to print, without the request."""
        for heard in self.heard:
            yield f"[question {heard.question_id}]\n{heard.asked}"
            yield f"[reply, finish: {heard.reply.finish}]\n{heard.reply.text or '(no text)'}"
            if heard.reply.thoughts:
                yield f"[{heard.reply.field}]\n{heard.reply.thoughts}"
            if heard.read is None:
                yield f"[not read]\n{heard.problem}"
                continue
            analyses = "".join(f"\n{i}. {text}" for i, text in enumerate(heard.read.analyses, start=1))
            yield f"[read, calls {heard.read.label} correct]\nrecall: {heard.read.recall}{analyses}"
        for question, reason in self.refused.items():
            yield f"[question {question}, refused]\n{reason}"
        yield "[in all]\n" + "\n".join(self._sums())

    def _sums(self) -> Iterator[str]:
        usable = sum(heard.read is not None for heard in self.heard)
        yield f"{usable} of {_plural(len(self.heard), 'reply', 'replies')} could be read"
        if not self.requests:
            yield "nothing was asked: these answers had been received before"
            return
        thinking = f", {self.reasoning_tokens:,} of them for thinking" if self.reasoning_tokens else ""
        yield (
            f"{self.prompt_tokens:,} prompt and {self.completion_tokens:,} completion tokens{thinking}; "
            f"{self.seconds:.1f} seconds for {_plural(self.requests, 'request', 'requests')}, one after the other"
        )
        whole = f"all {self.whole_completions:,} completions at these lengths: about {dollars(self.whole_cost)}"
        yield (
            f"{dollars(self.cost)} (price: {self.price_source}); {whole}"
            if self.cost is not None
            else (f"price: {self.price_source}")
        )


def _plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def rehearse(run: RunDirectory, settings: RunSettings, questions: int) -> Rehearsal:
    """Ask the teacher for one completion on each of the first training questions; the answers are kept in the run.

    Args:
        questions: how many to ask about.

    Raises:
        SettingsError: the teacher is no language model, or the endpoint cannot be asked with these settings.
        TeacherError: the endpoint does not answer, or refuses every question; what was received is kept.
        DataError: the questions cannot be loaded.
    """
    llm = llm_of(settings)
    train = to_explain(settings, load_task(settings).splits["train"])
    once = llm.model_copy(update={"samples": 1, "waves": 1, "concurrency": 1, "mode": "direct"})
    asking = settings.model_copy(update={"teacher": settings.teacher.model_copy(update={"llm": once})})
    interview = Interview(asking, train, run, first=questions)
    before, started = Counter(interview.ledger.totals), time.monotonic()
    interview.ask()
    seconds = time.monotonic() - started
    heard = tuple(_heard(interview))
    if not heard:
        reason = next(iter(interview.refused.values()), "no answer")
        raise TeacherError(f"{llm.base_url}: found {reason}, expected an answer to one of the questions")
    used = Counter(interview.ledger.totals)
    used.subtract(before)
    sums = Counter(sum_over_models(used))
    prompt, made, replies = sums["prompt_tokens"], sums["completion_tokens"], sums["requests"]
    completions = len(train) * llm.samples
    price = price_of(llm.model, llm, is_batch=llm.mode == "batch")
    whole = None
    if price is not None and replies:
        whole = price.of(round(prompt / replies * len(train)), round(made / replies * completions))
    return Rehearsal(
        request=interview.first_request(),
        heard=heard,
        refused=interview.refused,
        requests=replies,
        prompt_tokens=prompt,
        completion_tokens=made,
        reasoning_tokens=sums["reasoning_tokens"],
        seconds=seconds if replies else 0.0,
        cost=spent(used, llm),
        price_source=price_source(llm.model, llm),
        whole_completions=completions,
        whole_cost=whole,
    )


def _heard(interview: Interview) -> Iterator[Heard]:
    """The latest completion on every question that was answered."""
    latest: dict[str, tuple[Question, Completion]] = {}
    for question, completion in interview.ledger.texts():
        latest[question.id] = (question, completion)
    for question, completion in latest.values():
        read = read_completion(completion, question, interview.prompt)
        yield Heard(
            question_id=question.id,
            asked=interview.prompt.messages(question)[-1]["content"],
            reply=completion,
            read=read if isinstance(read, Rationale) else None,
            problem=None if isinstance(read, Rationale) else advice(read),
        )
