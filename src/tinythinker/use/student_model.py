"""A student as a model of lm-evaluation-harness (extra `lm-eval`): a task's questions go through the whole chain."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple, Protocol, cast

from tinythinker.core.errors import DataError, expected
from tinythinker.core.formats import Json
from tinythinker.core.progress import say
from tinythinker.core.records import LABELS, Chain, Option, Question
from tinythinker.generate.think import Thought, think
from tinythinker.settings.schema import DataSettings
from tinythinker.student.student import Student
from tinythinker.tasks.tables.layouts import Said, said_in

CERTAIN, IMPOSSIBLE = 0.0, -100.0
"""Log-probabilities, in nats, of the answer that a student wrote and of the others, where no stage scores labels."""
_LABEL = re.compile(r"\(?([A-Za-z]|\d{1,2})[).]?")


class HarnessRequest(Protocol):
    """What we need of the harness's `Instance`."""

    doc: Json
    """The task's own record of the question."""
    args: tuple[str, ...]
    """Context and continuation, or context and how to generate."""
    task_name: str | None
    doc_id: int | None


class Scored(NamedTuple):
    """What the harness wants to know of a continuation."""

    logp: float
    """Nats; over the options of a question these are normalised."""
    is_greedy: bool
    """Is it the student's answer?"""


class StudentModel:
    """What the harness asks of a model: answers to a task's questions, in the student's own stages, without examples.

    Question and options are read from the task's records, in any layout that `tinythinker check` reads; where a record
    has none, from the context and the continuations. Other requests are refused.
    """

    def __init__(self, student: Student) -> None:
        super().__init__()
        self._student = student

    def loglikelihood(self, requests: Sequence[HarnessRequest]) -> list[Scored]:
        """How likely each continuation is as the answer. The continuations of one record are its options.

        Raises:
            DataError: a request is no question with options.
        """
        groups = [list(group) for _, group in groupby(requests, key=lambda one: (one.task_name, one.doc_id))]
        asked = [question_in(some) for some in groups]
        found = self._scores([question for question in asked if question is not None])
        by_id = {question.id: scores for question, scores in zip(filter(None, asked), found, strict=True)}
        scored: list[Scored] = []
        for group, question in zip(groups, asked, strict=True):
            told = iter([] if question is None else by_id[question.id])
            # Without a context the harness wants to know how likely an option is by itself; to us, all are alike.
            scored += [next(told) if one.args[0].strip() else Scored(CERTAIN, False) for one in group]
        return scored

    def generate_until(self, requests: Sequence[HarnessRequest]) -> list[str]:
        """The student's whole reasoning on each question, ending in `The answer is (B).`, which tasks look for.

        Raises:
            DataError: a request is no question with options.
        """
        questions = [_written_question(one, number) for number, one in enumerate(requests)]
        chains = think(self._student, [Thought(question) for question in questions])
        template = self._student.recipe.template
        return [
            template.told(question, chain)[1] + (f" The answer is ({chain.answer})." if chain.answer else "")
            for question, chain in zip(questions, chains, strict=True)
        ]

    def loglikelihood_rolling(self, requests: Sequence[HarnessRequest]) -> list[float]:
        """Refused: a student answers questions. Raises DataError."""
        raise DataError("lm-eval: found a task about the likelihood of texts, expected multiple-choice questions")

    def _scores(self, questions: Sequence[Question]) -> list[list[Scored]]:
        """For every question how likely each option is."""
        student = self._student
        chains = think(student, [Thought(question) for question in questions], score=True)
        if any(chain.option_logps is None for chain in chains):  # written in one text, and not scored
            return [_as_written(question, chain) for question, chain in zip(questions, chains, strict=True)]
        if unreadable := sum(chain.answer is None for chain in chains):
            say(f"lm-eval: {unreadable} written answers were unreadable; the most likely label counts instead")
        found = [cast(dict[str, float], chain.option_logps) for chain in chains]
        return [
            [Scored(logps[label], logps[label] == max(logps.values())) for label in question.labels]
            for logps, question in zip(found, questions, strict=True)
        ]


def harness_model(student: Student) -> StudentModel:
    """A student as the harness's `LM`, for its `simple_evaluate`. The harness is imported here and not before."""
    from lm_eval.api.model import LM

    made: StudentModel = type("StudentModel", (StudentModel, LM), {})(student)
    return made


def _as_written(question: Question, chain: Chain) -> list[Scored]:
    """The written answer is certain; if it is unreadable, all options are alike."""
    if chain.answer is None:
        return [Scored(IMPOSSIBLE, False) for _ in question.labels]
    is_answer = [label == chain.answer for label in question.labels]
    return [Scored(CERTAIN if chosen else IMPOSSIBLE, chosen) for chosen in is_answer]


def question_in(group: Sequence[HarnessRequest]) -> Question | None:
    """The question of the requests that one record makes; None if they have no context at all.

    If the continuations are labels, or all the same, the options are those of the record; otherwise they are the
    options themselves.

    Raises:
        DataError: there are fewer than two options, or labels without options.
    """
    asked = [one for one in group if one.args[0].strip()]
    if not asked:
        return None
    where = f"lm-eval, task {asked[0].task_name}, question {asked[0].doc_id}"
    said = _said(asked[0].doc, where)
    texts = [one.args[1].strip() for one in asked]
    is_told = all(map(_LABEL.fullmatch, texts)) or len(set(texts)) == 1 < len(texts)
    if is_told and said is not None and len(said.choices.texts) == len(texts):
        texts = list(said.choices.texts)
    elif is_told and len(texts) > 1:
        raise DataError(
            expected(f"{where}, options", texts, "as many options as labels in a layout that `tinythinker check` reads")
        )
    stem = _last_question(asked[0].args[0]) if said is None else said.question
    return _question(f"{asked[0].task_name}-{asked[0].doc_id}", stem, texts, where)


def _written_question(one: HarnessRequest, number: int) -> Question:
    """The question of a request to write. Raises DataError."""
    where = f"lm-eval, task {one.task_name}, question {one.doc_id}"
    said = _said(one.doc, where)
    if said is None:
        raise DataError(
            expected(where, list(one.doc), "question and options in a layout that `tinythinker check` reads")
        )
    return _question(f"{one.task_name}-{one.doc_id}-{number}", said.question, said.choices.texts, where)


def _question(id_: str, stem: str, texts: Sequence[str], where: str) -> Question:
    if not 2 <= len(texts) <= len(LABELS) or not all(texts) or not stem.strip():
        raise DataError(expected(where, {"question": stem, "options": list(texts)}, "a question with 2 to 26 options"))
    options = tuple(Option(label=label, text=text) for label, text in zip(LABELS, texts, strict=False))
    return Question(id=id_, stem=stem, options=options, gold=None)


def _said(doc: Json, where: str) -> Said | None:
    """What a task's record says; None if it has no known layout."""
    try:
        return said_in(1, json.loads(json.dumps(doc, default=str)), DataSettings(), where)
    except (DataError, TypeError):
        return None


def _last_question(context: str) -> str:
    """The question that a context ends with, without worked examples before it."""
    last = context.strip().split("\n\n")[-1]
    return re.sub(r"^\s*(?:Question|Q)\s*:\s*|\s*(?:Answer|A)\s*:\s*$", "", last).strip() or context.strip()
