"""Quality of a teacher's rationales: figures, and the questions where it contradicts the gold label."""

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


class WordCounts(Record):
    """Words per text."""

    mean: float
    median: float
    most: int


class Disagreement(Record):
    """A question where most of the teacher's verdicts agree on another label than the gold one."""

    question_id: str
    stem: str
    gold: str
    gold_text: str
    majority: str
    majority_text: str
    votes: dict[str, int]
    """Number of well-formed completions by the label they call correct."""


class Quality(Record):
    """How many of a teacher's rationales were kept and rejected; stored as `teacher/quality.json`."""

    source: str
    questions: int
    """Number of training questions."""
    rationales: int
    """Rationales kept."""
    rationales_without_analyses: int
    questions_without_rationale: int
    left_to_labels: int = 0
    """How many of these the teacher was not to explain (`teacher.annotated`)."""
    rejected: dict[str, int]
    """Rejected answers by flaw."""
    rationales_per_question: dict[int, int]
    """Number of questions by how many rationales they have."""
    recall_words: WordCounts | None
    analysis_words: WordCounts | None
    cost_per_rationale: float | None
    """US dollars spent per rationale kept; None if the price is not known or nothing was kept."""
    label_policy: str
    disagreements: tuple[Disagreement, ...]
    """Questions where more than half of the teacher's verdicts agree on another label than the gold one."""
    relabelled: int
    """Number of questions whose label was replaced (`label_policy=teacher`)."""
    missing: dict[str, int] = Field(default_factory=dict)
    """Number of usable completions still missing, by question (LLM only)."""

    def lines(self) -> list[str]:
        """A few lines to print."""
        rejected = ", ".join(f"{count} {flaw}" for flaw, count in self.rejected.items())
        per = f", {dollars(self.cost_per_rationale)} each" if self.cost_per_rationale else ""
        without = f"{self.questions_without_rationale} of {self.questions} questions without one"
        if self.left_to_labels:
            without += f" ({self.left_to_labels} of them were not to be explained: teacher.annotated)"
        lines = [f"{self.rationales} rationales kept{per}, {without}; rejected: {rejected or 'none'}"]
        if self.missing:
            lines.append(
                f"{len(self.missing)} questions have too few completions (quality.json lists them); "
                "raise teacher.llm.waves to ask again"
            )
        if self.disagreements:
            done = "replaced by the teacher's" if self.relabelled else "kept, contrary completions dropped"
            lines.append(
                f"{len(self.disagreements)} questions whose gold label most verdicts contradict; "
                f"labels {done} (teacher.label_policy); the report lists the questions"
            )
        return lines


def measure(
    source: str,
    selected: Selected,
    questions: Sequence[Question],
    label_policy: str,
    cost: float | None,
    missing: dict[str, int],
    left_to_labels: int = 0,
) -> Quality:
    """Quality figures of the rationales selected for these training questions.

    Args:
        cost: US dollars spent in total; None if not known.
        missing: number of usable completions still missing, by question.
        left_to_labels: number of questions that the teacher was not to explain.
    """
    per_question = Counter(rationale.question_id for rationale in selected.rationales)
    kept = len(selected.rationales)
    return Quality(
        source=source,
        questions=len(questions),
        rationales=kept,
        rationales_without_analyses=sum(not rationale.analyses for rationale in selected.rationales),
        questions_without_rationale=sum(question.id not in per_question for question in questions),
        left_to_labels=left_to_labels,
        rejected=dict(sorted(Counter(str(rejected.flaw) for rejected in selected.rejected).items())),
        rationales_per_question=dict(sorted(Counter(per_question[question.id] for question in questions).items())),
        recall_words=_word_counts(rationale.recall for rationale in selected.rationales),
        analysis_words=_word_counts(text for rationale in selected.rationales for text in rationale.analyses),
        cost_per_rationale=cost / kept if cost is not None and kept else None,
        label_policy=label_policy,
        disagreements=tuple(_disagreements(selected, questions)),
        relabelled=len(selected.relabelled),
        missing=missing,
    )


def read_quality(path: Path) -> Quality:
    """Read a `quality.json`. Raises DataError."""
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


def _word_counts(texts: Iterable[str]) -> WordCounts | None:
    counts = [len(text.split()) for text in texts]
    if not counts:
        return None
    return WordCounts(mean=round(statistics.fmean(counts), 1), median=statistics.median(counts), most=max(counts))
