"""The Batch API: requests handed in as a file, answered within a day at half the price. Nothing is handed in twice."""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple

import openai
from openai.types import Batch
from pydantic import ValidationError

from tinythinker.core.errors import DataError, TeacherError, expected
from tinythinker.core.files import (
    Json,
    describe,
    file_errors,
    read_json,
    read_objects,
    read_text,
    write_json,
    write_text,
)
from tinythinker.core.progress import say
from tinythinker.core.records import Record
from tinythinker.settings.schema import TeacherSettings
from tinythinker.teacher.llm.cost import prompt_tokens
from tinythinker.teacher.llm.crowd import Outcome, Purse, api_key, fatal, field_for_tokens, hidden, unusable_proxy
from tinythinker.teacher.llm.ledger import Job, Ledger
from tinythinker.teacher.llm.prompt import Prompt
from tinythinker.teacher.llm.wire import Asked, BadReplyError, reply_of

MOST_REQUESTS = 50_000
"""Requests in one file at OpenAI; its other limit, 200 MB, comes with `_MOST_BYTES`."""
_MOST_BYTES = 190_000_000
_URL: Literal["/v1/chat/completions"] = "/v1/chat/completions"
_ENDED = ("completed", "expired", "cancelled", "failed")


class State(Record):
    """One batch job, as far as it has come; lies beside its request file."""

    name: str
    """A name of its own here and, as metadata, at the provider: one whose handing-in broke off is found again by it."""
    model: str
    questions: dict[str, str]
    """Question id by `Prompt.key`: the answers are taken in even if the settings have changed meanwhile."""
    is_sent: bool = False
    """Written just before it is handed in: from then on it may be on the bill."""
    batch_id: str | None = None
    is_collected: bool = False


class Taken(NamedTuple):
    """What came of a file of answers."""

    replies: int
    """New ones, now in the ledger."""
    known: int
    """Those that had been taken in before."""
    failed: dict[str, str]
    """Reason by question of the requests that were not answered."""


def request_name(job: Job, ledger: Ledger) -> str:
    """The `custom_id` of a job: one wish, one name, so that its answer is taken in once."""
    received = ledger.received(job.question, job.wave)
    return f"w{job.wave}-r{received}-n{job.wanted}-t{job.max_tokens}-{ledger.key(job.question)}"


def request_lines(jobs: Sequence[Job], ledger: Ledger, prompt: Prompt, teacher: TeacherSettings) -> Iterator[str]:
    """A line of a batch file for every job."""
    for job in jobs:
        body = prompt.body(job.question) | {field_for_tokens(teacher): job.max_tokens, "n": job.wanted}
        line = {"custom_id": request_name(job, ledger), "method": "POST", "url": _URL, "body": body}
        yield json.dumps(line, ensure_ascii=False) + "\n"


def take_in(
    lines: Iterable[tuple[int, Json]],
    where: str,
    ledger: Ledger,
    model: str,
    questions: Mapping[str, str],
    estimates: Mapping[str, int],
    hide: Callable[[str], str] = str,
) -> Taken:
    """Add the answers of a batch's output to the ledger, each once, in whatever order they stand.

    Args:
        model: what was asked.
        questions: question id by `Prompt.key` of all that was asked.
        estimates: estimated prompt tokens by question, for providers that do not count.

    Raises:
        DataError: a line is no answer to one of these requests.
    """
    replies = known = 0
    failed = {}
    for number, line in lines:
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
    return all(part[1:].isdecimal() for part in parts)


def _keys(ledger: Ledger) -> dict[str, str]:
    """Question id by `Prompt.key` of all that is asked now."""
    return {ledger.key(question): question.id for question in ledger.questions}


def _estimates(ledger: Ledger, prompt: Prompt) -> dict[str, int]:
    return {question.id: prompt_tokens(prompt, question) for question in ledger.questions}


def ask_by_batch(
    wave: int, folder: Path, ledger: Ledger, prompt: Prompt, teacher: TeacherSettings, purse: Purse, outcome: Outcome
) -> None:
    """Hand in what a wave asks for, wait for it, and take it in; first goes on with jobs handed in by an earlier call.

    Raises:
        TeacherError: the provider refuses, or a job brings nothing.
        DataError: the folder cannot be read or written.
    """
    with closing(Jobs(folder, ledger, prompt, teacher, outcome)) as jobs:
        for state in open_jobs(folder):
            jobs.finish(state)
        while wanted := ledger.jobs(wave):
            affordable = _affordable(wanted, purse)
            if not affordable:
                outcome.stopped_by = "budget"
                return
            before = ledger.count_received()
            for state in jobs.prepare(wave, affordable):
                jobs.finish(state)
            purse.learn_from_ledger()
            if ledger.count_received() == before:
                break
    unanswered = {job.question.id for job in ledger.jobs(wave)}
    outcome.refused = {name: outcome.refused.get(name, "not in the output") for name in sorted(unanswered)}
    if unanswered and not ledger.is_answered:
        reason = outcome.refused[min(unanswered)]
        raise TeacherError(f"{teacher.base_url}: found a batch without a single answer ({reason}), expected answers")


def _affordable(jobs: Sequence[Job], purse: Purse) -> list[Job]:
    """The jobs, from the front, that the budget allows even if every completion is as long as it may be."""
    held: list[tuple[Job, Callable[[], None]]] = []
    for job in jobs:
        give_back = purse.reserve(job)
        if give_back is None:
            break
        held.append((job, give_back))
    for _, give_back in held:
        give_back()
    return [job for job, _ in held]


def open_jobs(folder: Path) -> list[State]:
    """Batch jobs that may be on the bill and have not been taken in yet. Raises DataError."""
    states = []
    for path in sorted(folder.glob("*.state.json")):
        try:
            states.append(State.model_validate(read_json(path)))
        except ValidationError as error:
            raise DataError(f"{path}: {describe(error)}") from None
    return [state for state in states if state.is_sent and not state.is_collected]


class Jobs:
    """The batch jobs of a run: a request file and a state file each."""

    def __init__(
        self, folder: Path, ledger: Ledger, prompt: Prompt, teacher: TeacherSettings, outcome: Outcome
    ) -> None:
        self._folder, self._ledger, self._prompt, self._teacher = folder, ledger, prompt, teacher
        self._outcome = outcome
        key = api_key(teacher)
        self._hide = hidden(key)
        with unusable_proxy():
            self._client = openai.OpenAI(api_key=key, base_url=teacher.base_url, max_retries=teacher.attempts)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def prepare(self, wave: int, jobs: Sequence[Job]) -> list[State]:
        """Write request files within the provider's limits, and a state for each."""
        chunks: list[list[str]] = [[]]
        size = 0
        for line in request_lines(jobs, self._ledger, self._prompt, self._teacher):
            size += len(line.encode())
            if len(chunks[-1]) == MOST_REQUESTS or size > _MOST_BYTES:
                chunks.append([])
                size = len(line.encode())
            chunks[-1].append(line)
        questions = _keys(self._ledger)
        states = []
        for chunk in chunks:
            state = State(name=f"wave-{wave}-{uuid.uuid4().hex}", model=self._prompt.model, questions=questions)
            write_text(self._requests(state), "".join(chunk))
            self._save(state)
            states.append(state)
        return states

    def finish(self, state: State) -> None:
        """Hand a job in unless it was, wait for its end, take its answers in. Raises TeacherError."""
        try:
            state = self._handed_in(state)
            batch = self._wait(state)
            if batch.status == "failed":
                self._forget(state)
                reasons = [str(error.message) for error in (batch.errors.data if batch.errors else None) or []]
                reason = self._hide(reasons[0]) if reasons else "no reason given"
                raise TeacherError(
                    f"{self._teacher.base_url}: found batch {batch.id} failed ({reason}), expected it to be accepted"
                )
            with self._ledger:
                for file in (batch.output_file_id, batch.error_file_id):
                    if file is not None:
                        self._take_in(file, state)
                self._ledger.sync()
        except openai.NotFoundError as error:
            raise TeacherError(
                f"{self._teacher.base_url}: found status 404 ({self._hide(error.message)}), expected an endpoint with "
                "a Batch API; teacher.mode=direct does without"
            ) from None
        except openai.APIStatusError as error:
            raise fatal(error, self._teacher, self._hide) from None
        except openai.APIConnectionError as error:
            reason = self._hide(str(error.__cause__ or error))
            raise TeacherError(f"{self._teacher.base_url}: found no connection ({reason}), expected answers") from None
        self._save(state.model_copy(update={"is_collected": True}))
        self._requests(state).unlink(missing_ok=True)

    def _take_in(self, file: str, state: State) -> None:
        lines = _objects(self._client.files.content(file).text, file)
        estimates = _estimates(self._ledger, self._prompt)
        taken = take_in(lines, file, self._ledger, state.model, state.questions, estimates, self._hide)
        self._outcome.refused.update(taken.failed)

    def _handed_in(self, state: State) -> State:
        """The job with its id. One whose handing-in broke off is looked for before it is handed in again."""
        if state.batch_id is not None:
            return state
        found = self._found(state) if state.is_sent else None
        if found is None:
            try:
                with self._requests(state).open("rb") as file:
                    uploaded = self._client.files.create(file=file, purpose="batch")
            except openai.APIError:
                self._forget(state)  # nothing is on the bill yet
                raise
            state = state.model_copy(update={"is_sent": True})
            self._save(state)
            found = self._create(state, uploaded.id)
        state = state.model_copy(update={"batch_id": found.id})
        self._save(state)
        say(f"teach: batch {found.id} handed in; this can be stopped and run again at any time")
        return state

    def _found(self, state: State) -> Batch | None:
        """The job at the provider, if it has arrived there."""
        for batch in self._client.batches.list(limit=100):
            if (batch.metadata or {}).get("tinythinker") == state.name:
                return batch
        return None

    def _create(self, state: State, file: str) -> Batch:
        """Hand a job in. Where no answer comes it is looked for before another try: it may have arrived."""
        for attempt in range(1, self._teacher.attempts + 1):
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
                if attempt == self._teacher.attempts:
                    raise
                time.sleep(min(self._teacher.poll_seconds, self._teacher.backoff_seconds * 2**attempt))
            except openai.APIStatusError:
                self._forget(state)  # refused: it will not be on the bill
                raise
        raise AssertionError("the last attempt returns or raises")

    def _wait(self, state: State) -> Batch:
        """Look at a job until it has ended."""
        said = None
        while True:
            batch = self._client.batches.retrieve(str(state.batch_id))
            counts = batch.request_counts
            now = f"{batch.status}, {counts.completed} of {counts.total} answered" if counts else batch.status
            if now != said:
                say(f"teach: batch {batch.id}: {now}")
                said = now
            if batch.status in _ENDED:
                return batch
            time.sleep(self._teacher.poll_seconds)

    def _requests(self, state: State) -> Path:
        return self._folder / f"{state.name}.jsonl"

    def _file(self, state: State) -> Path:
        return self._folder / f"{state.name}.state.json"

    def _save(self, state: State) -> None:
        write_json(self._file(state), state.model_dump(mode="json"))

    def _forget(self, state: State) -> None:
        self._file(state).unlink(missing_ok=True)
        self._requests(state).unlink(missing_ok=True)


def _objects(text: str, where: str) -> Iterator[tuple[int, Json]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            if not isinstance(value, dict):
                raise TeacherError(f"{where}:{number}: found {line[:80]!r}, expected a JSON object")
            yield number, value


def export_requests(
    folder: Path, jobs: Sequence[Job], ledger: Ledger, prompt: Prompt, teacher: TeacherSettings
) -> Path:
    """Write a batch file for somebody who hands it in himself; never over one that asks for something else.

    Raises DataError.
    """
    text = "".join(request_lines(jobs, ledger, prompt, teacher))
    for number in itertools.count(1):
        path = folder / f"export-wave-{jobs[0].wave}{f'-{number}' if number > 1 else ''}.jsonl"
        if not path.exists() or read_text(path) == text:
            break
    write_text(path, text)
    return path


def import_answers(path: Path, ledger: Ledger, prompt: Prompt) -> Taken:
    """Take in a batch's output file. Raises DataError."""
    with file_errors(path), ledger:
        taken = take_in(read_objects(path), str(path), ledger, prompt.model, _keys(ledger), _estimates(ledger, prompt))
        ledger.sync()
        return taken
