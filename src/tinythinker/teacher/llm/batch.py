"""The Batch API: requests in a file, answered within a day at half the price. Nothing is submitted twice."""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import openai
from openai.types import Batch as ProviderBatch

from tinythinker.core.errors import DataError, TeacherError, expected, first_line
from tinythinker.core.files import file_errors, read_record, read_text, write_record, write_text
from tinythinker.core.formats import Json, MalformedError, parse_received
from tinythinker.core.masking import Hide, hidden, hidden_everywhere
from tinythinker.core.progress import say
from tinythinker.core.records import Record
from tinythinker.core.run import BatchFolder
from tinythinker.settings.schema import LlmSettings
from tinythinker.teacher.llm.desk import Desk
from tinythinker.teacher.llm.endpoint import api_key, fatal, fault_of, field_for_tokens, unusable_proxy
from tinythinker.teacher.llm.ledger import Job, Ledger
from tinythinker.teacher.llm.prompt import Prompt
from tinythinker.teacher.llm.purse import Purse
from tinythinker.teacher.llm.tokens import prompt_tokens
from tinythinker.teacher.llm.wire import Asked, BadReplyError, reply_of

MOST_REQUESTS = 50_000
"""Most requests in one file at OpenAI; `_MOST_BYTES` keeps a file below the other limit, 200 MB."""
_MOST_BYTES = 190_000_000
_MOST_DIGITS = 10
"""Of a number in the name of a request."""
_URL: Literal["/v1/chat/completions"] = "/v1/chat/completions"
_ENDED = ("completed", "expired", "cancelled", "failed")


class BatchJob(Record):
    """How far one batch job has got; saved next to its request file."""

    name: str
    """Unique; the provider stores it as metadata, so a job can be found if its submission was interrupted."""
    model: str
    questions: dict[str, str]
    """Question id by `Prompt.key`: the answers can be collected even if the settings have changed since."""
    is_sent: bool = False
    """Saved as true just before the job is submitted: from then on it may be billed."""
    batch_id: str | None = None
    is_collected: bool = False


class Taken(NamedTuple):
    """What a file of answers contained."""

    replies: int
    """New replies, now in the ledger."""
    known: int
    """Replies that were in the ledger already."""
    failed: dict[str, str]
    """Why requests were not answered, by question id."""


def request_name(job: Job, ledger: Ledger) -> str:
    """The `custom_id` of a job: the same request always has the same name, so its answer is counted once."""
    received = ledger.received(job.question, job.wave)
    return f"w{job.wave}-r{received}-n{job.wanted}-t{job.max_tokens}-{ledger.key(job.question)}"


def request_lines(jobs: Sequence[Job], ledger: Ledger, prompt: Prompt, llm: LlmSettings) -> Iterator[str]:
    """One line of a batch file per job."""
    for job in jobs:
        body = prompt.body(job.question) | {field_for_tokens(llm): job.max_tokens, "n": job.wanted}
        line = {"custom_id": request_name(job, ledger), "method": "POST", "url": _URL, "body": body}
        yield json.dumps(line, ensure_ascii=False) + "\n"


def take_in(
    text: str,
    where: str,
    ledger: Ledger,
    model: str,
    questions: Mapping[str, str],
    estimates: Mapping[str, int],
    hide: Hide = str,
) -> Taken:
    """Add the answers in a batch's output to the ledger, each once, in any order.

    Args:
        model: the model that was asked.
        questions: question id by `Prompt.key`, for every question that was asked.
        estimates: estimated prompt tokens by question id, for providers that do not count them.

    Raises:
        DataError: a line is no JSON object, or does not answer one of these requests.
    """
    replies = known = 0
    failed = {}
    for number, line in _objects(text, where, hide):
        name = str(line.get("custom_id"))
        *parts, key = name.split("-")
        if [part[:1] for part in parts] != list("wrnt") or key not in questions or not _are_numbers(parts):
            raise DataError(
                expected(f"{where}:{number}, custom_id", name, "a request of this run, asked with the same settings")
            )
        if name in ledger.batch_requests:
            known += 1
            continue
        wave, _, _, most = (int(part[1:]) for part in parts)
        response = line.get("response")
        body = response.get("body") if isinstance(response, dict) else None
        try:
            if line.get("error") or not isinstance(response, dict) or response.get("status_code") != 200:
                raise BadReplyError(json.dumps(line.get("error") or body))
            asked = Asked(questions[key], key, wave, most, model, estimates.get(questions[key], 0))
            ledger.add(reply_of(json.dumps(body), asked, hide, batch_name=name))
            replies += 1
        except BadReplyError as error:
            failed[questions[key]] = hide(" ".join(str(error).split()))[:300]
    return Taken(replies, known, failed)


def _are_numbers(parts: Sequence[str]) -> bool:
    return all(part[1:].isdecimal() and len(part) <= _MOST_DIGITS for part in parts)


def _keys(ledger: Ledger) -> dict[str, str]:
    """Question id by `Prompt.key`, for every question of the current run."""
    return {ledger.key(question): question.id for question in ledger.questions}


def _estimates(ledger: Ledger, prompt: Prompt) -> dict[str, int]:
    return {question.id: prompt_tokens(prompt, question) for question in ledger.questions}


class Batch:
    """Asks by batch job: slower, and cheaper where the provider has a Batch API. See `Asker`."""

    def ask(self, desk: Desk, jobs: Sequence[Job]) -> None:
        """See `Asker.ask`. Jobs submitted by an earlier call are collected first; then what is still missing is asked.

        Raises:
            TeacherError: the provider refuses, or a job brings no answer.
            DataError: the folder cannot be read or written.
        """
        ledger, outcome = desk.ledger, desk.outcome
        with closing(_Provider(desk)) as provider:
            for submitted in open_jobs(desk.batches):
                provider.finish(submitted)
            while wanted := ledger.jobs(desk.wave):
                affordable = _affordable(wanted, desk.purse)
                if not affordable:
                    outcome.stopped_by = "budget"
                    return
                before = ledger.count_received()
                for prepared in provider.prepare(affordable):
                    provider.finish(prepared)
                desk.purse.learn_from_ledger()
                if ledger.count_received() == before:
                    break
        unanswered = {job.question.id for job in ledger.jobs(desk.wave)}
        outcome.refused = {name: outcome.refused.get(name, "not in the output") for name in sorted(unanswered)}
        if unanswered and not ledger.is_answered:
            reason = outcome.refused[min(unanswered)]
            raise TeacherError(
                f"{desk.llm.base_url}: found a batch without a single answer ({reason}), expected answers"
            )


def _affordable(jobs: Sequence[Job], purse: Purse) -> list[Job]:
    """The first jobs, as many as the budget allows even if every completion reaches its token limit."""
    held: list[tuple[Job, Callable[[], None]]] = []
    for job in jobs:
        give_back = purse.reserve(job)
        if give_back is None:
            break
        held.append((job, give_back))
    for _, give_back in held:
        give_back()
    return [job for job, _ in held]


def open_jobs(folder: BatchFolder) -> list[BatchJob]:
    """Batch jobs that may be billed and have not been collected yet. Raises DataError."""
    jobs = [read_record(path, BatchJob) for path in folder.states()]
    return [job for job in jobs if job.is_sent and not job.is_collected]


class _Provider:
    """The batch jobs of a run, each with a request file and a state file."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._ledger, self._prompt, self._llm = desk, desk.ledger, desk.prompt, desk.llm
        key = api_key(desk.llm)
        self._hide = hidden(key)
        with unusable_proxy():
            self._client = openai.OpenAI(api_key=key, base_url=desk.llm.base_url, max_retries=desk.llm.attempts)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def prepare(self, jobs: Sequence[Job]) -> list[BatchJob]:
        """Write request files within the provider's limits, and a state for each."""
        chunks: list[list[str]] = [[]]
        size = 0
        for line in request_lines(jobs, self._ledger, self._prompt, self._llm):
            size += len(line.encode())
            if len(chunks[-1]) == MOST_REQUESTS or size > _MOST_BYTES:
                chunks.append([])
                size = len(line.encode())
            chunks[-1].append(line)
        questions = _keys(self._ledger)
        states = []
        for chunk in chunks:
            state = BatchJob(
                name=f"wave-{self._desk.wave}-{uuid.uuid4().hex}", model=self._prompt.model, questions=questions
            )
            write_text(self._desk.batches.requests(state.name), "".join(chunk))
            self._save(state)
            states.append(state)
        return states

    def finish(self, state: BatchJob) -> None:
        """Submit a job unless it was already, wait for its end, collect its answers. Raises TeacherError."""
        try:
            with self._understood():
                state = self._handed_in(state)
                batch = self._wait(state)
            if batch.status == "failed":
                self._forget(state)
                reasons = [str(error.message) for error in (batch.errors.data if batch.errors else None) or []]
                reason = self._hide(reasons[0]) if reasons else "no reason given"
                raise TeacherError(
                    f"{self._llm.base_url}: found batch {state.batch_id} failed ({reason}), expected it to be accepted"
                )
            with self._ledger:
                for file in (batch.output_file_id, batch.error_file_id):
                    if file is not None:
                        self._take_in(file, state)
                self._ledger.sync()
        except openai.NotFoundError as error:
            raise TeacherError(
                f"{self._llm.base_url}: found status 404 ({self._hide(error.message)}), expected an endpoint with "
                "a Batch API; teacher.llm.mode=direct needs none"
            ) from None
        except openai.APIStatusError as error:
            raise fatal(fault_of(error, self._hide), self._llm) from None
        except openai.APIConnectionError as error:
            reason = self._hide(str(error.__cause__ or error))
            raise TeacherError(f"{self._llm.base_url}: found no connection ({reason}), expected answers") from None
        self._save(state.model_copy(update={"is_collected": True}))
        self._desk.batches.requests(state.name).unlink(missing_ok=True)

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Turn whatever follows from an answer of another shape into TeacherError: the SDK checks no field of it."""
        try:
            yield
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise TeacherError(
                f"{self._llm.base_url}: found an answer that a Batch API does not give "
                f"({self._hide(first_line(error))}), expected a batch; teacher.llm.mode=direct needs none"
            ) from None

    def _take_in(self, file: str, state: BatchJob) -> None:
        text = self._client.files.content(file).text
        estimates = _estimates(self._ledger, self._prompt)
        taken = take_in(text, self._hide(file), self._ledger, state.model, state.questions, estimates, self._hide)
        self._desk.outcome.refused.update(taken.failed)

    def _handed_in(self, state: BatchJob) -> BatchJob:
        """The job with its id, submitted if necessary.

        If its submission was interrupted, it is first searched for among the provider's jobs.
        """
        if state.batch_id is not None:
            return state
        found = self._found(state) if state.is_sent else None
        if found is None:
            try:
                with self._desk.batches.requests(state.name).open("rb") as file:
                    uploaded = self._client.files.create(file=file, purpose="batch")
            except openai.APIError:
                self._forget(state)  # nothing has been billed yet
                raise
            state = state.model_copy(update={"is_sent": True})
            self._save(state)
            found = self._create(state, uploaded.id)
        if not found.id:
            raise ValueError("a batch without an id")
        if self._hide(found.id) != found.id:
            raise TeacherError(
                f"{self._llm.base_url}: found a batch whose id repeats the API key (not shown), expected another id"
            )
        state = state.model_copy(update={"batch_id": found.id})
        self._save(state)
        say(f"teach: batch {found.id} submitted; you can stop this and run it again at any time")
        return state

    def _found(self, state: BatchJob) -> ProviderBatch | None:
        """The job at the provider; None if it never arrived there."""
        for batch in self._client.batches.list(limit=100):
            if (batch.metadata or {}).get("tinythinker") == state.name:
                return batch
        return None

    def _create(self, state: BatchJob, file: str) -> ProviderBatch:
        """Submit a job; without an answer, search for it before the next try, since it may have arrived."""
        for attempt in range(1, self._llm.attempts + 1):
            try:
                return self._client.with_options(max_retries=0).batches.create(
                    input_file_id=file,
                    endpoint=_URL,
                    completion_window="24h",
                    metadata={"tinythinker": state.name},
                )
            except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError):
                if (found := self._found(state)) is not None:
                    return found
                if attempt == self._llm.attempts:
                    raise
                time.sleep(min(self._llm.poll_seconds, self._llm.backoff_seconds * 2**attempt))
            except openai.APIStatusError:
                self._forget(state)  # refused: it will not be billed
                raise
        raise AssertionError("the last attempt returns or raises")

    def _wait(self, state: BatchJob) -> ProviderBatch:
        """Poll a job until it has ended."""
        said = None
        while True:
            batch = self._client.batches.retrieve(str(state.batch_id))
            counts = batch.request_counts
            now = f"{batch.status}, {counts.completed} of {counts.total} answered" if counts else batch.status
            if now != said:
                say(self._hide(f"teach: batch {batch.id}: {now}"))
                said = now
            if batch.status in _ENDED:
                return batch
            time.sleep(self._llm.poll_seconds)

    def _save(self, state: BatchJob) -> None:
        write_record(self._desk.batches.state(state.name), state)

    def _forget(self, state: BatchJob) -> None:
        self._desk.batches.state(state.name).unlink(missing_ok=True)
        self._desk.batches.requests(state.name).unlink(missing_ok=True)


def _objects(text: str, where: str, hide: Hide) -> Iterator[tuple[int, Json]]:
    """The lines of a batch's output by number, with the secret masked in every text. Raises DataError."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                value = hidden_everywhere(parse_received(line), hide)
            except MalformedError:
                value = None
            if not isinstance(value, dict):
                raise DataError(expected(f"{where}:{number}", hide(line), "a JSON object"))
            yield number, value


def export_requests(folder: BatchFolder, jobs: Sequence[Job], ledger: Ledger, prompt: Prompt, llm: LlmSettings) -> Path:
    """Write a batch file for you to submit yourself; never overwrite one with different requests.

    Raises DataError.
    """
    text = "".join(request_lines(jobs, ledger, prompt, llm))
    for number in itertools.count(1):
        path = folder.requests(f"export-wave-{jobs[0].wave}" + (f"-{number}" if number > 1 else ""))
        if not path.exists() or read_text(path) == text:
            break
    write_text(path, text)
    return path


def import_answers(path: Path, ledger: Ledger, prompt: Prompt, hide: Hide) -> Taken:
    """Add the answers in a batch's output file to the ledger. Raises DataError."""
    with file_errors(path), ledger:
        text = read_text(path)
        taken = take_in(text, str(path), ledger, prompt.model, _keys(ledger), _estimates(ledger, prompt), hide)
        ledger.sync()
        return taken
