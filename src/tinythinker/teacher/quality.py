"""What a teacher's rationales are like, in figures and in the list that people want to read."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import Field

from tinythinker.core.files import read_record
from tinythinker.core.records import Question, Record
from tinythinker.teacher.llm.cost import dollars
from tinythinker.teacher.select import Selected


class Lengths(Record):
    """Words per text."""

    mean: float
    median: float
    most: int


class Disagreement(Record):
    """A question whose gold label most of the teacher's verdicts contradict."""

    question_id: str
    stem: str
    gold: str
    gold_text: str
    majority: str
    majority_text: str
    votes: dict[str, int]
    """Well-formed completions by the label they call correct."""


class Quality(Record):
    """What was kept of a teacher's rationales, and what was not; `teacher/quality.json`."""

    source: str
    questions: int
    """Training questions."""
    rationales: int
    """Kept."""
    rationales_without_analyses: int
    questions_without_rationale: int
    rejected: dict[str, int]
    """By flaw."""
    rationales_per_question: dict[int, int]
    """Questions by how many rationales they have."""
    recall_words: Lengths | None
    analysis_words: Lengths | None
    cost_per_rationale: float | None
    """US dollars spent per rationale kept; None if the price is not known."""
    label_policy: str
    disagreements: tuple[Disagreement, ...]
    """Questions whose gold label more than half of the teacher's verdicts contradict."""
    relabelled: int
    """Those of them whose label was replaced (`label_policy=teacher`)."""
    missing: dict[str, int] = Field(default_factory=dict)
    """Usable completions still missing, by question (LLM only)."""

    def lines(self) -> list[str]:
        """A few lines for people."""
        rejected = ", ".join(f"{count} {flaw}" for flaw, count in self.rejected.items())
        per = f", {dollars(self.cost_per_rationale)} each" if self.cost_per_rationale else ""
        without = f"{self.questions_without_rationale} of {self.questions} questions without one"
        lines = [f"{self.rationales} rationales kept{per}, {without}; rejected: {rejected or 'none'}"]
        if self.missing:
            lines.append(
                f"{len(self.missing)} questions have fewer completions than wanted; quality.json lists them; more "
                "teacher.waves ask for them again"
            )
        if self.disagreements:
            done = "replaced by the teacher's" if self.relabelled else "kept, and the completions against them dropped"
            lines.append(
                f"{len(self.disagreements)} questions whose gold label most verdicts contradict; labels {done} "
                "(teacher.label_policy); the report lists them"
            )
        return lines


def measure(
    source: str,
    selected: Selected,
    questions: Sequence[Question],
    label_policy: str,
    cost: float | None,
    missing: dict[str, int],
) -> Quality:
    """Figures of what was selected for these training questions.

    Args:
        cost: US dollars spent in all; None if not known.
        missing: usable completions still missing, by question.
    """
    per_question = Counter(rationale.question_id for rationale in selected.rationales)
    kept = len(selected.rationales)
    return Quality(
        source=source,
        questions=len(questions),
        rationales=kept,
        rationales_without_analyses=sum(not rationale.analyses for rationale in selected.rationales),
        questions_without_rationale=sum(question.id not in per_question for question in questions),
        rejected=dict(sorted(Counter(str(rejected.flaw) for rejected in selected.rejected).items())),
        rationales_per_question=dict(sorted(Counter(per_question[question.id] for question in questions).items())),
        recall_words=_lengths(rationale.recall for rationale in selected.rationales),
        analysis_words=_lengths(text for rationale in selected.rationales for text in rationale.analyses),
        cost_per_rationale=cost / kept if cost is not None and kept else None,
        label_policy=label_policy,
        disagreements=tuple(_disagreements(selected, questions)),
        relabelled=len(selected.relabelled),
        missing=missing,
    )


def read_quality(path: Path) -> Quality:
    """`quality.json` as it was written. Raises DataError."""
    return read_record(path, Quality)


def _disagreements(selected: Selected, questions: Sequence[Question]) -> Iterable[Disagreement]:
    for question in questions:
        votes = selected.votes.get(question.id, {})
        if question.gold is None or 2 * votes.get(question.gold, 0) >= sum(votes.values()):
            continue
        label, count = max(votes.items(), key=lambda vote: vote[1])
        if 2 * count > sum(votes.values()):
            texts = {option.label: option.text for option in question.options}
            yield Disagreement(
                question_id=question.id,
                stem=question.stem,
                gold=question.gold,
                gold_text=texts[question.gold],
                majority=label,
                majority_text=texts.get(label, ""),
                votes=dict(votes),
            )


def _lengths(texts: Iterable[str]) -> Lengths | None:
    counts = [len(text.split()) for text in texts]
    if not counts:
        return None
    return Lengths(mean=round(statistics.fmean(counts), 1), median=statistics.median(counts), most=max(counts))
