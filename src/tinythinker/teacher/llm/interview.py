"""The teacher of METHOD section 2: a language model, asked in waves until every question has what it should."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tinythinker.core.errors import SettingsError, TeacherError, expected
from tinythinker.core.files import Json, read_json, write_json
from tinythinker.core.progress import say
from tinythinker.core.records import Question, Rationale, Rejected
from tinythinker.core.run import RunDirectory
from tinythinker.settings.schema import RunSettings, load_settings, validate
from tinythinker.tasks.registry import load_task
from tinythinker.teacher.llm.cost import (
    Estimate,
    dollars,
    estimate,
    price_of,
    price_source,
    spent,
    sum_over_models,
    used_tokens,
)
from tinythinker.teacher.llm.ledger import Job, Ledger, read_completion
from tinythinker.teacher.llm.prompt import make_prompt

if TYPE_CHECKING:
    from tinythinker.teacher.llm.batch import Taken
    from tinythinker.teacher.llm.crowd import Outcome

# `batch` and `client` are imported where they are used: the SDK takes a second to load, and an estimate needs none.


@dataclass(frozen=True)
class Lost:
    """What may be on the bill, at most, although no answer could be read."""

    tokens: int
    cost: float

    def __add__(self, other: Lost) -> Lost:
        return Lost(self.tokens + other.tokens, self.cost + other.cost)


class Exported(NamedTuple):
    """A batch file to hand in oneself, and what it would take."""

    path: Path
    estimate: Estimate


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _lost(outcomes: Sequence[Outcome]) -> Lost:
    return Lost(sum(own.lost_tokens for own in outcomes), sum(own.lost_cost for own in outcomes))


class Interview:
    """A run's questions, its prompt, and all that the teacher has answered so far."""

    def __init__(self, settings: RunSettings, questions: Sequence[Question], run: RunDirectory) -> None:
        self._teacher, self._questions, self._run = settings.teacher, questions, run
        self.prompt = make_prompt(settings, questions)
        self.ledger = Ledger(
            run.completions,
            questions,
            self.prompt,
            samples=self._teacher.samples,
            max_tokens=self._teacher.max_tokens,
            policy=self._teacher.label_policy,
        )

    def next_jobs(self) -> list[Job]:
        """What the first unfinished wave asks for; nothing if all is there, or all waves are done."""
        for wave in range(1, self._teacher.waves + 1):
            if jobs := self.ledger.jobs(wave):
                return jobs
        return []

    def estimate(self) -> Estimate:
        """What the next wave would take."""
        return estimate(self.next_jobs(), self.prompt, self._teacher, self.ledger.count_usable())

    def ask(self) -> None:
        """Ask in waves for what is missing. `usage.json` is up to date afterwards, however it ends.

        Raises:
            SettingsError: there is no key, or no price for a budget.
            TeacherError: the endpoint will not answer, or the budget is reached; what was received is kept.
            KeyboardInterrupt: a person stopped it; the same.
        """
        received = self.ledger.count_received()
        try:
            self._ask()
        except TeacherError as error:
            kept = (
                "everything received is kept: run the same command again to go on, or with teacher.waves=0 to use what "
                "is there"
            )
            nothing = "nothing has been received yet; mend that and run the same command again"
            hopeless = "everything received is kept; another run asks once more, and goes on if that can be read"
            tail = hopeless if self.ledger.is_hopeless else kept if self.ledger.count_received() else nothing
            raise TeacherError(f"{error}; {tail}") from None
        if self.ledger.count_received() > received:
            say(f"teach: {self._spent_in_words()} used so far")

    def _ask(self) -> None:
        if self.next_jobs():
            if self.ledger.count_foreign:
                say(
                    f"teach: {self.ledger.count_foreign:,} completions that lie here do not count: they were asked for "
                    "with another prompt, model or temperature, or about other questions"
                )
            say(f"teach: {_in_short(self.estimate())}")
        from tinythinker.teacher.llm.batch import open_jobs
        from tinythinker.teacher.llm.crowd import Outcome

        handed_in = open_jobs(self._run.batches)
        if handed_in and self._teacher.waves and self._teacher.mode == "direct":
            raise SettingsError(
                f"teacher.mode=direct: found batch {handed_in[0].batch_id or handed_in[0].name} not collected, "
                "expected teacher.mode=batch, which collects it: asking directly would pay for the same answers twice"
            )
        before = self._lost_before()
        outcomes: list[Outcome] = []
        try:
            for wave in range(1, self._teacher.waves + 1):
                jobs = self.ledger.jobs(wave)
                if jobs or open_jobs(self._run.batches):
                    outcomes.append(Outcome())
                    self._ask_wave(wave, jobs, outcomes[-1], before + _lost(outcomes))
                    self._check(outcomes[-1])
        finally:
            self._write_usage(outcomes)
        missing = self.missing()
        passed_over = outcomes[-1].passed_over if outcomes else {}
        if unanswered := [name for name in passed_over if name in missing]:
            raise TeacherError(
                f"{self._teacher.base_url}: found no answer to the requests of {len(unanswered)} questions "
                f"({passed_over[unanswered[0]]}), expected one within {self._teacher.attempts} tries"
            )

    def _ask_wave(self, wave: int, jobs: Sequence[Job], outcome: Outcome, lost: Lost) -> None:
        from tinythinker.teacher.llm.batch import ask_by_batch
        from tinythinker.teacher.llm.crowd import Purse, ask_all

        purse = Purse(self._teacher, self.prompt, self.ledger, lost.tokens, lost.cost)
        if self._teacher.mode == "batch":
            ask_by_batch(wave, self._run.batches, self.ledger, self.prompt, self._teacher, purse, outcome)
        else:
            ask_all(jobs, self.ledger, self.prompt, self._teacher, purse, outcome, f"teach, wave {wave}")

    def _lost_before(self) -> Lost:
        """What earlier calls may have been billed for without an answer."""
        usage = self._used_before()
        return Lost(int(_number(usage.get("lost_tokens"))), _number(usage.get("lost_cost")))

    def _used_before(self) -> Json:
        return read_json(self._run.usage) if self._run.usage.exists() else {}

    def _check(self, outcome: Outcome) -> None:
        """Say which requests came to nothing. Raises TeacherError if others could still be made."""
        for what, failed in (("were refused", outcome.refused), ("got no answer", outcome.passed_over)):
            if failed:
                question, reason = next(iter(failed.items()))
                say(f"teach: the requests of {len(failed)} questions {what}; the first is {question} ({reason})")
        done = f"{self.ledger.count_usable()} of {self.ledger.count_wanted()} usable completions are there"
        if outcome.stopped_by == "budget":
            limits = {"teacher.budget": self._teacher.budget, "teacher.budget_tokens": self._teacher.budget_tokens}
            limit = ", ".join(f"{name}={value:g}" for name, value in limits.items() if value is not None)
            raise TeacherError(
                f"{limit}: found {self._spent_in_words()} used, and the next request could exceed it; {done}; expected "
                "a larger budget"
            )

    def _spent_in_words(self) -> str:
        cost = spent(self.ledger.totals, self._teacher)
        tokens = used_tokens(self.ledger.totals)
        lost = self._lost_before()
        perhaps = f", perhaps {lost.tokens:,} more that brought no answer" if lost.tokens else ""
        return f"{tokens:,} tokens" + (f" ({dollars(cost)})" if cost is not None else "") + perhaps

    def usage(self, outcomes: Sequence[Outcome] = ()) -> Json:
        """What was really used, in all calls on this directory together.

        Args:
            outcomes: those of this call, not in `usage.json` yet.
        """
        before = self._used_before().get("failed_tries")
        failed = Counter(before if isinstance(before, dict) else {})
        for outcome in outcomes:
            failed += outcome.failures
        lost = self._lost_before() + _lost(outcomes)
        sums = {"requests": 0, "completions": 0, "prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0}
        sums |= sum_over_models(self.ledger.totals)
        cost = spent(self.ledger.totals, self._teacher)
        price = price_of(self.prompt.model, self._teacher)
        return {
            "source": "openai",
            "model": self.prompt.model,
            "cost": None if cost is None else round(cost, 6),
            **sums,
            "failed_tries": dict(sorted(failed.items())),
            # At most, and on top: tries that may be on the bill although no answer could be read.
            "lost_tokens": lost.tokens,
            "lost_cost": round(lost.cost, 6) if price else None,
            "price_per_million_tokens": price.model_dump() if price else None,
            "price_source": price_source(self.prompt.model, self._teacher),
        }

    def _write_usage(self, outcomes: Sequence[Outcome] = ()) -> None:
        write_json(self._run.usage, self.usage(outcomes))

    def answers(self) -> Iterator[Rationale | Rejected]:
        """Every completion received, read."""
        for question, completion in self.ledger.texts():
            yield read_completion(completion, question, self.prompt)

    def missing(self) -> dict[str, int]:
        """Usable completions still missing, by question."""
        counts = {question.id: self.ledger.missing(question) for question in self._questions}
        return {name: count for name, count in counts.items() if count}

    def answered_by(self) -> str:
        """The models that answered, as the endpoint names them."""
        return ", ".join(self.ledger.models()) or self.prompt.model

    def export(self) -> Path | None:
        """Write the next wave's requests as a batch file; None if there is nothing to ask."""
        from tinythinker.teacher.llm.batch import export_requests

        jobs = self.next_jobs()
        if not jobs:
            return None
        return export_requests(self._run.batches, jobs, self.ledger, self.prompt, self._teacher)

    def take_in(self, path: Path) -> Taken:
        """Add a batch's answers to what was received. Raises DataError."""
        from tinythinker.teacher.llm.batch import import_answers

        taken = import_answers(path, self.ledger, self.prompt)
        self._write_usage()
        return taken


def _in_short(own: Estimate) -> str:
    """An estimate on one line."""
    asked = f"{own.completions:,} completions to ask {own.model} for, on {own.questions:,} questions"
    tokens = f"about {own.prompt_tokens:,} prompt and at most {own.completion_tokens:,} completion tokens"
    money = (
        f"at most {dollars(own.cost)}, likely {dollars(own.likely_cost)}" if own.cost is not None else "price not known"
    )
    return f"{asked}; {tokens}; {money}"


def open_interview(settings: RunSettings, run: RunDirectory | None = None) -> Interview:
    """The interview that settings mean, with what a run has received. Raises SettingsError, DataError."""
    if settings.teacher.source != "openai":
        raise SettingsError(expected("teacher.source", settings.teacher.source, "openai, which alone is asked"))
    questions = load_task(settings).splits["train"]
    return Interview(settings, list(questions), run or RunDirectory(Path("no run")))


def estimate_cost(
    task: str, overrides: Sequence[str] = (), config: Path | None = None, run: Path | None = None
) -> Estimate:
    """What asking a language model about a task's training questions would take at most; nothing is sent.

    Args:
        task, overrides, config: as for `api.start`; `teacher.source=openai` goes without saying.
        run: a run directory whose answers count as received.

    Raises:
        SettingsError: no model is named.
        DataError: the questions cannot be had.
    """
    settings = load_settings(task, ["teacher.source=openai", *overrides], config)
    directory = RunDirectory(run) if run else None
    if directory is not None:
        directory.manifest()  # complains where there is none
    return open_interview(settings, directory).estimate()


def show_request(task: str, overrides: Sequence[str] = (), config: Path | None = None) -> Json:
    """The body of the request for the first training question. Raises as `estimate_cost` does."""
    settings = load_settings(task, ["teacher.source=openai", *overrides], config)
    interview = open_interview(settings)
    body = interview.prompt.body(interview.ledger.questions[0])
    return {**body, "max_tokens": settings.teacher.max_tokens, "n": settings.teacher.samples}


def batch_export(run: RunDirectory) -> Exported | None:
    """Write the requests still to be made as a batch file to hand in oneself; None if there are none.

    Raises:
        SettingsError: the teacher is no language model.
        DataError: the questions cannot be had, the file cannot be written, or another process is at work here.
    """
    with run.locked():
        interview = open_interview(validate(run.manifest().settings), run)
        path = interview.export()
        return None if path is None else Exported(path, interview.estimate())


def batch_import(run: RunDirectory, file: Path) -> Taken:
    """Take in the output file of a batch; what was taken in before is passed over.

    Raises:
        SettingsError: the teacher is no language model.
        DataError: the file cannot be read, answers other requests than this run's, or another process is at work here.
    """
    with run.locked():
        taken = open_interview(validate(run.manifest().settings), run).take_in(file)
        if taken.replies and "train" not in run.manifest().begun:
            run.quality.unlink(missing_ok=True)  # `teach` has something to add
        return taken
