"""The teacher of METHOD section 2: a language model, asked in waves until every question has enough rationales."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tinythinker.core.errors import SettingsError, TeacherError
from tinythinker.core.files import Json, iterate_records, read_text, write_record
from tinythinker.core.progress import say
from tinythinker.core.records import Question, Rationale, Rejected
from tinythinker.core.run import RunDirectory
from tinythinker.settings.resolve import load_settings, validate
from tinythinker.settings.schema import RunSettings
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
from tinythinker.teacher.llm.desk import Asker, Desk, Outcome
from tinythinker.teacher.llm.ledger import Job, Ledger, Reply, read_completion
from tinythinker.teacher.llm.prompt import WORDINGS, Prompt, llm_of, make_prompt
from tinythinker.teacher.llm.purse import Purse
from tinythinker.teacher.llm.tokens import limit_tokens
from tinythinker.teacher.source import to_explain
from tinythinker.teacher.usage import Lost, Usage, read_usage

if TYPE_CHECKING:
    from tinythinker.teacher.llm.batch import Taken

# `batch` and `crowd` are imported where they are used: the SDK takes a second to load, and an estimate needs none.


class Exported(NamedTuple):
    """A batch file for you to submit yourself, and the estimate for it."""

    path: Path
    estimate: Estimate


class Interview:
    """A run's questions, its prompt, and all the teacher's answers so far.

    Args:
        questions: all training questions.
        run: None for an estimate before there is a run.
        first: ask only about this many of them; None asks about all.
    """

    def __init__(
        self, settings: RunSettings, questions: Sequence[Question], run: RunDirectory | None, first: int | None = None
    ) -> None:
        self._llm, self._questions, self._directory = llm_of(settings), questions[:first], run
        self._said: set[str] = set()
        self.refused: dict[str, str] = {}
        """Why the endpoint refused requests of this call, by question id."""
        self.prompt = _prompt_of(settings, questions, run)
        self.ledger = Ledger(
            None if run is None else run.completions,
            self._questions,
            self.prompt,
            samples=self._llm.samples,
            max_tokens=self._llm.max_tokens,
            policy=settings.teacher.label_policy,
        )

    @property
    def _run(self) -> RunDirectory:
        if self._directory is None:
            raise AssertionError("an interview without a run only estimates")
        return self._directory

    def next_jobs(self) -> list[Job]:
        """The jobs of the first unfinished wave; empty if nothing is missing or all waves are done."""
        for wave in range(1, self._llm.waves + 1):
            if jobs := self.ledger.jobs(wave):
                return jobs
        return []

    def first_request(self) -> Json:
        """The body of the request about the first question, as an endpoint is asked at first."""
        question = self._questions[0]
        limit = self._llm.max_tokens or limit_tokens(self.prompt, question)
        how: Json = {"stream": True} if self._llm.stream else {}
        return {**self.prompt.body(question), "max_tokens": limit, "n": self._llm.samples, **how}

    def estimate(self) -> Estimate:
        """What the next wave would use and cost."""
        return estimate(self.next_jobs(), self.prompt, self._llm, self.ledger.count_usable())

    def ask(self) -> None:
        """Ask in waves for what is missing; `usage.json` is up to date afterwards, even after an error.

        Raises:
            SettingsError: there is no API key, or no price for a budget.
            TeacherError: the endpoint does not answer, or the budget is reached; what was received is kept.
            KeyboardInterrupt: the user stopped it; what was received is kept.
        """
        received = self.ledger.count_received()
        try:
            self._ask()
        except TeacherError as error:
            kept = (
                "everything received is kept: run the same command again to continue, or with teacher.llm.waves=0 to "
                "use only the answers received so far"
            )
            nothing = "nothing has been received yet; fix that and run the same command again"
            hopeless = "everything received is kept; another run asks once more, and continues if that can be read"
            tail = hopeless if self.ledger.is_hopeless else kept if self.ledger.count_received() else nothing
            raise TeacherError(f"{error}; {tail}") from None
        if self.ledger.count_received() > received:
            say(f"teach: {self._spent_in_words()} used so far")

    def _ask(self) -> None:
        if self.next_jobs():
            if self.ledger.count_foreign:
                say(
                    f"teach: {self.ledger.count_foreign:,} completions in this run do not count: they were asked for "
                    "with another prompt, model or temperature, or about other questions"
                )
            say(f"teach: {_in_short(self.estimate())}")
        self._refuse_to_pay_twice()
        desks: list[Desk] = []
        try:
            for wave in range(1, self._llm.waves + 1):
                jobs = self.ledger.jobs(wave)
                if jobs or self._has_open_batches():
                    desks.append(self._desk(wave, desks[-1].purse.lost if desks else self._lost_before()))
                    self._asker().ask(desks[-1], jobs)
                    self._check(desks[-1].outcome)
        finally:
            self._write_usage(desks)
        self._refuse_unanswered(desks[-1].outcome.passed_over if desks else {})

    def _desk(self, wave: int, lost: Lost) -> Desk:
        purse = Purse(self._llm, self.prompt, self.ledger, lost)
        return Desk(self._llm, self.prompt, self.ledger, purse, self._run.batches, wave, said=self._said)

    def _asker(self) -> Asker:
        from tinythinker.teacher.llm.batch import Batch
        from tinythinker.teacher.llm.crowd import Direct

        return Batch() if self._llm.mode == "batch" else Direct()

    def _has_open_batches(self) -> bool:
        from tinythinker.teacher.llm.batch import open_jobs

        return bool(open_jobs(self._run.batches))

    def _refuse_to_pay_twice(self) -> None:
        """Raise SettingsError if a batch that may be billed is out, and this call would ask directly."""
        from tinythinker.teacher.llm.batch import open_jobs

        submitted = open_jobs(self._run.batches)
        if submitted and self._llm.waves and self._llm.mode == "direct":
            raise SettingsError(
                f"teacher.llm.mode=direct: found batch {submitted[0].batch_id or submitted[0].name} not collected, "
                "expected teacher.llm.mode=batch, which collects it: asking directly would pay for the same answers "
                "twice"
            )

    def _refuse_unanswered(self, passed_over: dict[str, str]) -> None:
        """Raise TeacherError if requests were given up whose completions are still missing."""
        missing = self.missing()
        if unanswered := [name for name in passed_over if name in missing]:
            raise TeacherError(
                f"{self._llm.base_url}: found no answer to the requests of {len(unanswered)} questions "
                f"({passed_over[unanswered[0]]}), expected one within {self._llm.attempts} tries"
            )

    def _lost_before(self) -> Lost:
        """Upper bound on what earlier calls were billed for without a readable answer."""
        usage = read_usage(self._run.usage)
        return Lost() if usage is None else Lost(tokens=usage.lost_tokens, cost=usage.lost_cost or 0.0)

    def _check(self, outcome: Outcome) -> None:
        """Say which requests failed. Raises TeacherError if the budget stopped the others."""
        self.refused |= outcome.refused
        for what, failed in (("were refused", outcome.refused), ("got no answer", outcome.passed_over)):
            if failed:
                question, reason = next(iter(failed.items()))
                say(f"teach: the requests of {len(failed)} questions {what}; the first is {question} ({reason})")
        if outcome.stopped_by == "budget":
            done = f"{self.ledger.count_usable()} of {self.ledger.count_wanted()} usable completions received"
            limits = {"teacher.llm.budget": self._llm.budget, "teacher.llm.budget_tokens": self._llm.budget_tokens}
            limit = ", ".join(f"{name}={value:g}" for name, value in limits.items() if value is not None)
            raise TeacherError(
                f"{limit}: found {self._spent_in_words()} used, and the next request could exceed it; {done}; expected "
                "a larger budget"
            )

    def _spent_in_words(self) -> str:
        cost = spent(self.ledger.totals, self._llm)
        tokens = used_tokens(self.ledger.totals)
        lost = self._lost_before()
        perhaps = f", perhaps {lost.tokens:,} more without an answer," if lost.tokens else ""
        return f"{tokens:,} tokens" + (f" ({dollars(cost)})" if cost is not None else "") + perhaps

    def usage(self, desks: Sequence[Desk] = ()) -> Usage:
        """What was actually used, over all calls on this run directory.

        Args:
            desks: those of this call, which are not in `usage.json` yet.
        """
        before = read_usage(self._run.usage)
        failed = Counter(before.failed_tries if before is not None else {})
        for desk in desks:
            failed += desk.outcome.failures
        lost = desks[-1].purse.lost if desks else self._lost_before()
        cost = spent(self.ledger.totals, self._llm)
        price = price_of(self.prompt.model, self._llm)
        return Usage(
            source="openai",
            model=self.prompt.model,
            cost=None if cost is None else round(cost, 6),
            failed_tries=dict(sorted(failed.items())),
            lost_tokens=lost.tokens,
            lost_cost=round(lost.cost, 6) if price else None,
            price_per_million_tokens=price,
            price_source=price_source(self.prompt.model, self._llm),
            **sum_over_models(self.ledger.totals),
        )

    def _write_usage(self, desks: Sequence[Desk] = ()) -> None:
        write_record(self._run.usage, self.usage(desks))

    def answers(self) -> Iterator[Rationale | Rejected]:
        """Every completion received, parsed: a rationale, or why it was rejected."""
        for question, completion in self.ledger.texts():
            yield read_completion(completion, question, self.prompt)

    def missing(self) -> dict[str, int]:
        """Usable completions still missing, by question id; questions that lack none are left out."""
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
        return export_requests(self._run.batches, jobs, self.ledger, self.prompt, self._llm)

    def take_in(self, path: Path) -> Taken:
        """Add the answers in a batch's output file to the ledger. Raises DataError."""
        from tinythinker.teacher.llm.batch import import_answers
        from tinythinker.teacher.llm.endpoint import hide_key

        taken = import_answers(path, self.ledger, self.prompt, hide_key(self._llm))
        self._write_usage()
        return taken


def _prompt_of(settings: RunSettings, questions: Sequence[Question], run: RunDirectory | None) -> Prompt:
    """The prompt in the newest wording; in an older one where the run's first requests were asked in it."""
    newest, *older = (make_prompt(settings, questions, wording) for wording in WORDINGS)
    if run is None:
        return newest
    by_key = {prompt.key(question): prompt for prompt in (*older, newest) for question in questions}
    return next((by_key[key] for key in _keys_asked(run) if key in by_key), newest)


def _keys_asked(run: RunDirectory) -> Iterator[str]:
    """`Prompt.key` of what was asked in a run: what has been answered, then what is still out as a batch."""
    if run.completions.exists():
        yield from (reply.prompt for reply in iterate_records(run.completions, Reply, is_growing=True))
    for path in run.batches.request_files():
        for line in read_text(path).splitlines():
            yield line.partition('"custom_id": "')[2].partition('"')[0].rpartition("-")[2]


def _in_short(plan: Estimate) -> str:
    """An estimate on one line."""
    asked = f"{plan.completions:,} completions to request from {plan.model}, on {plan.questions:,} questions"
    tokens = f"about {plan.prompt_tokens:,} prompt and at most {plan.completion_tokens:,} completion tokens"
    money = "price not known"
    if plan.cost is not None:
        money = f"at most {dollars(plan.cost)}, likely {dollars(plan.likely_cost)}"
    return f"{asked}; {tokens}; {money}"


def open_interview(settings: RunSettings, run: RunDirectory | None = None) -> Interview:
    """The interview for these settings, with all that a run has received. Raises SettingsError, DataError."""
    llm_of(settings)  # raises before the questions are read
    return Interview(settings, to_explain(settings, load_task(settings).splits["train"]), run)


def estimate_cost(
    task: str, overrides: Sequence[str] = (), config: Path | None = None, run: Path | None = None
) -> Estimate:
    """What asking a language model about a task's training questions would cost at most; sends nothing.

    Args:
        task, overrides, config: as for `api.start`; `teacher.source=openai` is implied.
        run: a run directory whose answers count as received.

    Raises:
        SettingsError: no model is named.
        DataError: the questions cannot be loaded.
    """
    settings = load_settings(task, ["teacher.source=openai", *overrides], config)
    directory = RunDirectory(run) if run else None
    if directory is not None:
        directory.manifest()  # raises if there is no run
    return open_interview(settings, directory).estimate()


def show_request(task: str, overrides: Sequence[str] = (), config: Path | None = None) -> Json:
    """The request body for the first training question. Raises the same errors as `estimate_cost`."""
    settings = load_settings(task, ["teacher.source=openai", *overrides], config)
    interview = open_interview(settings)
    return interview.first_request()


def batch_export(run: RunDirectory) -> Exported | None:
    """Write the requests that are still needed as a batch file for you to submit; None if there are none.

    Raises:
        SettingsError: the teacher is not a language model.
        DataError: the questions cannot be loaded, the file cannot be written, or another process is using
            this run.
    """
    with run.locked("batch-export"):
        interview = open_interview(validate(run.manifest().settings), run)
        path = interview.export()
        return None if path is None else Exported(path, interview.estimate())


def batch_import(run: RunDirectory, file: Path) -> Taken:
    """Import the output file of a batch; answers that were imported before are skipped.

    Raises:
        SettingsError: the teacher is not a language model.
        DataError: the file cannot be read, it answers requests of another run, or another process is using
            this run.
    """
    with run.locked("batch-import"):
        taken = open_interview(validate(run.manifest().settings), run).take_in(file)
        if taken.replies and "train" not in run.manifest().begun:
            run.quality.unlink(missing_ok=True)  # `teach` has new answers to add
        return taken
