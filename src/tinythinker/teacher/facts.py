"""The sentences of knowledge that a benchmark's own files give, as recall-only rationales."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tinythinker.core.errors import TeacherError
from tinythinker.core.records import Question, Rationale
from tinythinker.teacher.source import Asking, Given, free


def facts(asking: Asking) -> Given:
    """The source `facts`. Raises TeacherError if the benchmark gives no knowledge with its questions."""
    if not asking.task.knowledge:
        raise TeacherError(
            f"teacher.source=facts: found no facts with the questions of {asking.settings.task}, expected OpenBookQA's "
            "*_complete.jsonl or StrategyQA's official file in data_dir"
        )
    licence = "facts from the benchmark's files, under the benchmark's licence"
    return Given(fact_rationales(asking.task.knowledge, asking.questions), free(asking), licence)


def fact_rationales(knowledge: Mapping[str, str], questions: Sequence[Question]) -> Iterator[Rationale]:
    """A recall-only rationale for every question with a sentence of knowledge, given by question id."""
    for question in questions:
        if question.id in knowledge:
            yield Rationale(question_id=question.id, recall=knowledge[question.id])
