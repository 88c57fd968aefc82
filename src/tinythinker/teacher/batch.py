"""The Batch API: requests handed in as a file, answered within a day at half the price. Nothing is handed in twice."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple

import openai
from openai.types import Batch

from tinythinker.config import TeacherSettings
from tinythinker.core.errors import DataError, TeacherError, expected
from tinythinker.core.jsonl import Json, file_errors, read_json, read_objects, write_json, write_text
from tinythinker.core.progress import say
from tinythinker.core.records import Record
from tinythinker.teacher.client import Outcome, Purse, api_key, fatal, field_for_tokens, hidden
from tinythinker.teacher.ledger import GO_ON, Job, Ledger
from tinythinker.teacher.prompt import Prompt
from tinythinker.teacher.wire import BadReplyError, reply_of

MOST_REQUESTS = 50_000
"""Requests in one file at OpenAI; its other limit, 200 MB, comes with `_MOST_BYTES`."""
_MOST_BYTES = 190_000_000
_URL: Literal["/v1/chat/completions"] = "/v1/chat/completions"
_ENDED = ("completed", "expired", "cancelled", "failed")


class State(Record):
    """One batch job, as far as it has come; lies beside its request file."""

    name: str
    """Names the job here and, as metadata, at the provider: that is how one that was handed in is found again."""
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
    """The `custom_id` of a job: the same for the same wish, so that its answer is taken in once."""
    return f"w{job.wave}-n{job.wanted}-t{job.max_tokens}-{ledger.key(job.question)}"


def request_lines(jobs: Sequence[Job], ledger: Ledger, prompt: Prompt, teacher: TeacherSettings) -> Iterator[str]:
    """A line of a batch file for every job."""
    for job in jobs:
        body = prompt.body(job.question) | {field_for_tokens(teacher): job.max_tokens, "n": job.wanted}
        line = {"custom_id": request_name(job, ledger), "method": "POST", "url": _URL, "body": body}
        yield json.dumps(line, ensure_ascii=False) + "\n"


def take_in(
    lines: Iterable[tuple[int, Json]], where: str, ledger: Ledger, prompt: Prompt, hide: Callable[[str], str]
) -> Taken:
    """Add the answers of a batch's output to the ledger, each once, in whatever order they stand.

    Raises:
        DataError: a line is no answer to one of this run's requests.
    """
    questions = {ledger.key(question): question for question in ledger.questions}
    replies = known = 0
    failed = {}
    for number, line in lines:
        name = str(line.get("custom_id"))
        parts = name.split("-")
        question = questions.get(parts[-1])
        if len(parts) != 4 or question is None or not all(part[1:].isdecimal() for part in parts[:3]):
            raise DataError(
                expected(f"{where}:{number}, custom_id", name, "a request of this run, asked with the same settings")
            )
        if name in ledger.batch_requests:
            known += 1
            continue
        wave, wanted, most = (int(part[1:]) for part in parts[:3])
        response = line.get("response")
        body = response.get("body") if isinstance(response, dict) else None
        try:
            if line.get("error") or not isinstance(response, dict) or response.get("status_code") != 200:
                raise BadReplyError(json.dumps(line.get("error") or body))
            job = Job(question, wave, wanted, most)
            ledger.add(reply_of(json.dumps(body), job, prompt, hide, batch_name=name))
            replies += 1
        except BadReplyError as error:
            failed[question.id] = hide(" ".join(str(error).split()))[:300]
    return Taken(replies, known, failed)


def ask_by_batch(
    wave: int, folder: Path, ledger: Ledger, prompt: Prompt, teacher: TeacherSettings, purse: Purse
) -> Outcome:
    """Hand in what a wave asks for, wait for it, and take it in; goes on with jobs handed in by an earlier call.

    Raises:
        TeacherError: the provider refuses, or a job brings nothing.
        DataError: the folder cannot be read or written.
    """
    with closing(Jobs(folder, prompt, teacher)) as jobs:
        return _ask(wave, jobs, ledger, teacher, purse)


def _ask(wave: int, jobs: Jobs, ledger: Ledger, teacher: TeacherSettings, purse: Purse) -> Outcome:
    outcome = Outcome()
    for state in open_jobs(jobs.folder):
        jobs.finish(state, ledger, outcome)
    while wanted := ledger.jobs(wave):
        affordable = _affordable(wanted, purse)
        if not affordable:
            outcome.stopped_by = "budget"
            return outcome
        before = ledger.count_received()
        for state in jobs.prepare(wave, affordable, ledger):
            jobs.finish(state, ledger, outcome)
        if ledger.count_received() == before:
            break
    if wanted := ledger.jobs(wave):
        reasons = {job.question.id: outcome.refused.get(job.question.id, "not in the output") for job in wanted}
        outcome.refused = reasons
        if not ledger.is_answered:
            raise TeacherError(
                f"{teacher.base_url}: found a batch without a single answer ({next(iter(reasons.values()))}), expected "
                f"answers; {GO_ON}"
            )
    return outcome


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
    """Batch jobs begun by an earlier call and not taken in yet. Raises DataError."""
    states = [State.model_validate(read_json(path)) for path in sorted(folder.glob("*.state.json"))]
    return [state for state in states if not state.is_collected]


class Jobs:
    """The batch jobs of a run: a request file and a state file each."""

    def __init__(self, folder: Path, prompt: Prompt, teacher: TeacherSettings) -> None:
        self.folder, self._prompt, self._teacher = folder, prompt, teacher
        key = api_key(teacher)
        self._hide = hidden(key)
        self._client = openai.OpenAI(api_key=key, base_url=teacher.base_url, max_retries=teacher.attempts)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def prepare(self, wave: int, jobs: Sequence[Job], ledger: Ledger) -> list[State]:
        """Write request files within the provider's limits, and register a job for each."""
        chunks: list[list[str]] = [[]]
        size = 0
        for line in request_lines(jobs, ledger, self._prompt, self._teacher):
            size += len(line.encode())
            if len(chunks[-1]) == MOST_REQUESTS or size > _MOST_BYTES:
                chunks.append([])
                size = len(line.encode())
            chunks[-1].append(line)
        states = []
        for chunk in chunks:
            text = "".join(chunk)
            # The ledger's length tells two equal files apart that are handed in one after the other.
            digest = hashlib.sha256(f"{ledger.count_received()}\n{text}".encode()).hexdigest()[:16]
            state = State(name=f"wave-{wave}-{digest}")
            write_text(self._requests(state), text)
            self._save(state)
            states.append(state)
        return states

    def finish(self, state: State, ledger: Ledger, outcome: Outcome) -> None:
        """Hand a job in unless it was, wait for its end, take its answers in. Raises TeacherError."""
        try:
            state = self._handed_in(state)
            batch = self._wait(state)
            if batch.status == "failed":
                self._file(state).unlink()
                reasons = [str(error.message) for error in (batch.errors.data if batch.errors else None) or []]
                reason = self._hide(reasons[0]) if reasons else "no reason given"
                raise TeacherError(
                    f"{self._teacher.base_url}: found batch {batch.id} failed ({reason}), expected it to be accepted; "
                    f"{GO_ON}"
                )
            with ledger:
                for file in (batch.output_file_id, batch.error_file_id):
                    if file is not None:
                        text = self._client.files.content(file).text
                        taken = take_in(_objects(text, file), file, ledger, self._prompt, self._hide)
                        outcome.refused.update(taken.failed)
                ledger.sync()
        except openai.APIStatusError as error:
            raise fatal(error, self._teacher, self._hide) from None
        except openai.APIConnectionError as error:
            reason = self._hide(str(error.__cause__ or error))
            raise TeacherError(
                f"{self._teacher.base_url}: found no connection ({reason}), expected answers; {GO_ON}"
            ) from None
        self._save(state.model_copy(update={"is_collected": True}))
        self._requests(state).unlink(missing_ok=True)

    def _handed_in(self, state: State) -> State:
        """The job with its id. One whose handing-in was interrupted is looked for before it is handed in again."""
        if state.batch_id is not None:
            return state
        for batch in self._client.batches.list(limit=100):
            if (batch.metadata or {}).get("tinythinker") == state.name and batch.status != "failed":
                break
        else:
            with self._requests(state).open("rb") as file:
                uploaded = self._client.files.create(file=file, purpose="batch")
            batch = self._client.batches.create(
                input_file_id=uploaded.id,
                endpoint=_URL,
                completion_window="24h",
                metadata={"tinythinker": state.name},
            )
        state = state.model_copy(update={"batch_id": batch.id})
        self._save(state)
        say(f"teach: batch {batch.id} handed in; this can be stopped and run again at any time")
        return state

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
        return self.folder / f"{state.name}.jsonl"

    def _file(self, state: State) -> Path:
        return self.folder / f"{state.name}.state.json"

    def _save(self, state: State) -> None:
        write_json(self._file(state), state.model_dump(mode="json"))


def _objects(text: str, where: str) -> Iterator[tuple[int, Json]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                value = json.loads(line)
            except ValueError:
                raise TeacherError(f"{where}:{number}: found a torn line, expected JSON; {GO_ON}") from None
            yield number, value


def export_requests(path: Path, jobs: Sequence[Job], ledger: Ledger, prompt: Prompt, teacher: TeacherSettings) -> None:
    """Write a batch file for somebody who hands it in himself. Raises DataError."""
    write_text(path, "".join(request_lines(jobs, ledger, prompt, teacher)))


def import_answers(path: Path, ledger: Ledger, prompt: Prompt) -> Taken:
    """Take in a batch's output file. Raises DataError."""
    with file_errors(path), ledger:
        taken = take_in(read_objects(path), str(path), ledger, prompt, str)
        ledger.sync()
        return taken
