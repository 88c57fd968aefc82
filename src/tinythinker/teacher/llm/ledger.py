"""Every answered request, saved to disk before anything else, so that nothing paid for is asked for twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from pydantic import Field

from tinythinker.core.files import appending, file_errors, iterate_records
from tinythinker.core.records import Flaw, Question, Rationale, Record, Rejected
from tinythinker.teacher.llm.prompt import Prompt
from tinythinker.teacher.llm.tokens import limit_tokens

MOST_DOUBLINGS = 3
STILL_THINKING = "while it was still thinking"
"""Of a completion that was cut before it answered anything."""
_HOPELESS = 64


class Completion(Record):
    """One text from the teacher, unchanged."""

    text: str
    finish: str | None = None
    """Why it ended, in the endpoint's words: `stop`, `length`, `content_filter` ..."""
    thoughts: str | None = None
    """What the teacher thought before it answered, kept only where there is no text: empty if the endpoint keeps it to
    itself. None if it did not think, or if there is a text."""
    field: str | None = None
    """The endpoint's name for `thoughts`."""


class Reply(Record):
    """The answer to one request: one line of `completions.jsonl`."""

    request: str
    """The endpoint's id for the request; for a line of a batch, the name we gave it."""
    question_id: str
    prompt: str
    """`Prompt.key` of what was asked."""
    wave: int
    max_tokens: int
    completions: tuple[Completion, ...]
    model: str
    """The model we asked for; the price depends on it."""
    answered_by: str = ""
    """The model as the endpoint names it."""
    prompt_tokens: int = Field(ge=0)
    cached_tokens: int = Field(0, ge=0)
    """How many of the prompt tokens the provider had in its cache."""
    completion_tokens: int = Field(ge=0)
    """Over all completions of the request, with what was spent on thinking."""
    reasoning_tokens: int = Field(0, ge=0)
    """How many of them were spent on thinking, as far as the endpoint says."""
    is_counted: bool = True
    """False if the endpoint did not count the tokens and they are estimated from the texts."""
    is_batch: bool = False


class Job(NamedTuple):
    """Completions to ask for, on one question."""

    question: Question
    wave: int
    wanted: int
    max_tokens: int


def read_completion(completion: Completion, question: Question, prompt: Prompt) -> Rationale | Rejected:
    """A completion as a rationale, or why it is rejected; one that was cut off or withheld is not parsed.

    Where there is no text, the answer may stand among the thoughts; it is read there if it has the form.
    """

    def rejected(flaw: Flaw, reason: str) -> Rejected:
        text = completion.text if completion.text.strip() else completion.thoughts or ""
        return Rejected(question_id=question.id, flaw=flaw, text=text, reason=reason)

    if completion.finish == "length":
        return rejected(Flaw.CUT, "reached max_tokens" + (f" {STILL_THINKING}" if _thought_only(completion) else ""))
    if completion.finish == "content_filter":
        return rejected(Flaw.REFUSED, f"no text (finish: {completion.finish})")
    if completion.text.strip():
        return prompt.parse(completion.text, question)
    if completion.thoughts is None:
        return rejected(Flaw.REFUSED, f"no text (finish: {completion.finish})")
    read = prompt.parse(completion.thoughts, question)
    if isinstance(read, Rationale):
        return read
    where = f"all the text is in `{completion.field}`" if completion.field else "all tokens went into thinking"
    return rejected(Flaw.THOUGHTS, f"no answer: {where}; read there: {read.flaw}, {read.reason}")


def _thought_only(completion: Completion) -> bool:
    """Did the teacher think to the end, and answer nothing?"""
    if not completion.text.strip():
        return completion.thoughts is not None
    text = completion.text.lstrip().casefold()
    return text.startswith(("<think>", "<thinking>")) and "</think" not in text


def effective_label(votes: Mapping[str, int], gold: str | None, policy: str) -> str | None:
    """The label that a question's rationales should argue for.

    The gold label, except under the policy `teacher` where more than half of the well-formed completions agree on
    another one (METHOD section 6, defect 12).
    """
    if policy == "teacher" and votes:
        label, count = max(votes.items(), key=lambda vote: (vote[1], vote[0] == gold, vote[0]))
        if 2 * count > sum(votes.values()):
            return label
    return gold


@dataclass
class _Standing:
    """The progress of one question, by wave."""

    received: Counter[int] = field(default_factory=Counter)
    votes: dict[int, Counter[str]] = field(default_factory=dict)
    """Well-formed completions by the label they call correct."""
    cut: set[int] = field(default_factory=set)


class Ledger:
    """The file of replies and the progress of every question; holds counts in memory, never texts.

    Use it as a context manager to add replies.

    Args:
        path: None for a ledger that is empty and stays so, to plan with.
    """

    def __init__(
        self,
        path: Path | None,
        questions: Sequence[Question],
        prompt: Prompt,
        *,
        samples: int,
        max_tokens: int | None,
        policy: str,
    ) -> None:
        self.path = path
        self._questions = {prompt.key(question): question for question in questions}
        self._key = {question.id: key for key, question in self._questions.items()}
        self._prompt = prompt
        self._samples, self._max_tokens, self._policy = samples, max_tokens, policy
        self._standing = {question.id: _Standing() for question in questions}
        self.batch_requests: set[str] = set()
        """Names of the batch lines whose answers are in the file."""
        self.count_foreign = 0
        """Completions in the file that were asked for with another prompt, or about other questions."""
        self.last_counted: Reply | None = None
        """The latest reply to this prompt whose tokens the endpoint counted."""
        self.is_answered = False
        """Has this prompt ever been answered?"""
        self.first_rejected: Rejected | None = None
        """The first completion to this prompt that could not be read."""
        self._received = self._well_formed = 0
        self.totals: Counter[tuple[str, bool, str]] = Counter()
        """Tokens and requests by (model, is_batch, kind), over all replies in the file, foreign or not."""
        for reply in self.replies():
            self._count(reply)

    def __enter__(self) -> Self:
        self._appending = appending(self._file_path)
        self._file = self._appending.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._appending.__exit__(kind, error, trace)

    @property
    def _file_path(self) -> Path:
        if self.path is None:
            raise AssertionError("a ledger without a file takes no replies")
        return self.path

    def replies(self) -> Iterator[Reply]:
        """Every reply in the file, in order. Raises DataError."""
        if self.path is not None and self.path.exists():
            yield from iterate_records(self.path, Reply, is_growing=True)

    @property
    def questions(self) -> list[Question]:
        """The questions to ask."""
        return list(self._questions.values())

    def question(self, reply: Reply) -> Question:
        """The question that a reply to this prompt is about."""
        return self._questions[reply.prompt]

    def key(self, question: Question) -> str:
        """`Prompt.key` of a question."""
        return self._key[question.id]

    def add(self, reply: Reply) -> None:
        """Write a reply, then count it. Raises DataError."""
        with file_errors(self._file_path):
            self._file.add(reply)
        self._count(reply)

    def sync(self) -> None:
        """Flush what was added to disk, so that it survives a power loss. Raises DataError."""
        with file_errors(self._file_path):
            self._file.sync()

    def _count(self, reply: Reply) -> None:
        for name, count in (
            ("requests", 1),
            ("completions", len(reply.completions)),
            ("prompt_tokens", reply.prompt_tokens),
            ("cached_tokens", reply.cached_tokens),
            ("completion_tokens", reply.completion_tokens),
            ("reasoning_tokens", reply.reasoning_tokens),
            ("uncounted_requests", not reply.is_counted),
        ):
            self.totals[reply.model, reply.is_batch, name] += count
        if reply.is_batch:
            self.batch_requests.add(reply.request)
        question = self._questions.get(reply.prompt)
        if question is None:
            self.count_foreign += len(reply.completions)
            return
        self.is_answered = True
        self.last_counted = reply if reply.is_counted else self.last_counted
        standing = self._standing[question.id]
        standing.received[reply.wave] += len(reply.completions)
        self._received += len(reply.completions)
        for completion in reply.completions:
            read = read_completion(completion, question, self._prompt)
            if isinstance(read, Rationale) and read.label is not None:
                standing.votes.setdefault(reply.wave, Counter())[read.label] += 1
                self._well_formed += 1
            if isinstance(read, Rejected):
                self.first_rejected = self.first_rejected or read
                if read.flaw is Flaw.CUT:
                    standing.cut.add(reply.wave)

    def texts(self) -> Iterator[tuple[Question, Completion]]:
        """Every completion that answers this prompt, in the order received. Raises DataError."""
        for reply in self.replies():
            question = self._questions.get(reply.prompt)
            if question is not None:
                for completion in reply.completions:
                    yield question, completion

    def missing(self, question: Question, before: int | None = None) -> int:
        """How many usable completions a question lacks, counting the waves before `before` (None: all)."""
        standing = self._standing[question.id]
        votes: Counter[str] = Counter()
        for wave, some in standing.votes.items():
            if before is None or wave < before:
                votes += some
        label = effective_label(votes, question.gold, self._policy)
        return max(0, self._samples - (votes[label] if label is not None else 0))

    def jobs(self, wave: int) -> list[Job]:
        """The jobs a wave still needs, at most one per question.

        A wave asks for what the waves before it left missing. After an interruption, it does not ask again
        for what was received. A question that has reached a later wave is no longer asked in this one.
        """
        jobs = []
        for question in self._questions.values():
            standing = self._standing[question.id]
            if max(standing.received, default=0) <= wave:
                count = self.missing(question, wave) - standing.received[wave]
                if count > 0:
                    doublings = min(MOST_DOUBLINGS, sum(cut < wave for cut in standing.cut))
                    limit = self._max_tokens or limit_tokens(self._prompt, question)
                    jobs.append(Job(question, wave, count, limit * 2**doublings))
        return jobs

    @property
    def share_well_formed(self) -> float:
        """Fraction of the completions received that could be read, in [0, 1]."""
        return self._well_formed / max(1, self._received)

    def received(self, question: Question, wave: int) -> int:
        """Completions received for a question in a wave, usable or not."""
        return self._standing[question.id].received[wave]

    def models(self) -> list[str]:
        """The models that answered this prompt, as the endpoint names them. Raises DataError."""
        mine = (reply for reply in self.replies() if reply.prompt in self._questions)
        return list(dict.fromkeys(reply.answered_by or reply.model for reply in mine))

    def count_received(self) -> int:
        """Completions received, usable or not."""
        return self._received

    @property
    def is_hopeless(self) -> bool:
        """Have `_HOPELESS` or more completions arrived, none of which could be read?"""
        return self._received >= _HOPELESS and not self._well_formed

    def count_usable(self) -> int:
        """Usable completions over all questions, counting no more per question than are wanted."""
        return sum(self._samples - self.missing(question) for question in self._questions.values())

    def count_wanted(self) -> int:
        """Usable completions wanted over all questions."""
        return self._samples * len(self._questions)
