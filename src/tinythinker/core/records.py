"""The records that verbs pass to each other, in memory and as lines of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tinythinker.core.errors import expected

SPLITS = ("train", "valid", "test")
"""The splits of a task's questions."""

LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Option labels in order. The prompt grammar reads one capital letter, hence at most 26 options."""


class Record(BaseModel):
    """Base of every record: frozen, and refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Stage(StrEnum):
    """A step of the student's reasoning, coarse to fine (METHOD: recall, analyze, summarize)."""

    RECALL = "recall"
    ANALYZE = "analyze"
    SUMMARIZE = "summarize"
    REASON = "reason"
    """Everything in one text; not a step of the method, but of its baselines."""


class Option(Record):
    """One answer option; `text` is kept byte for byte."""

    label: str = Field(pattern=r"^[A-Z]$")
    text: str = Field(min_length=1)


class Question(Record):
    """A multiple-choice question, exactly as its benchmark states it."""

    id: str = Field(min_length=1)
    stem: str = Field(min_length=1)
    options: tuple[Option, ...]
    gold: str | None
    """Label of the right option; None on a hidden test split."""

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        if not self.stem.strip():
            raise ValueError(expected("question text", self.stem, "some text"))
        if not 2 <= len(self.options) <= len(LABELS):
            raise ValueError(expected("number of options", len(self.options), f"2 to {len(LABELS)}"))
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(expected("labels", self.labels, "distinct labels"))
        if self.gold is not None and self.gold not in self.labels:
            raise ValueError(expected("gold", self.gold, f"one of {self.labels}"))
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """Option labels in benchmark order: `("A", "B", "C")`."""
        return tuple(option.label for option in self.options)

    def text_of(self, label: str) -> str:
        """The text of the option with a label."""
        return self.options[self.labels.index(label)].text

    def labelled(self, gold: str | None) -> Question:
        """The same question with this gold label."""
        return self if gold == self.gold else Question(id=self.id, stem=self.stem, options=self.options, gold=gold)

    def permuted(self, order: Sequence[int]) -> Question:
        """The same question with its option texts in another order; the labels keep theirs.

        Args:
            order: `order[i]` is the current position of the text that moves to position i.
        """
        options = tuple(
            Option(label=label, text=self.options[i].text) for label, i in zip(self.labels, order, strict=True)
        )
        gold = None if self.gold is None else self.labels[list(order).index(self.labels.index(self.gold))]
        return Question(id=self.id, stem=self.stem, options=options, gold=gold)


class Rationale(Record):
    """What a teacher writes about one question: general knowledge, then a sentence on every option."""

    question_id: str
    recall: str = Field(min_length=1)
    analyses: tuple[str, ...] = ()
    """One per option in the question's order; empty if the teacher said nothing about single options."""
    label: str | None = Field(None, pattern=r"^[A-Z]$")
    """Label of the option that the teacher calls correct; None if it does not say."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.recall.strip() or not all(analysis.strip() for analysis in self.analyses):
            raise ValueError(expected("recall and analyses", [self.recall, *self.analyses], "texts that are not blank"))
        return self

    def permuted(self, order: Sequence[int]) -> Rationale:
        """The rationale for `Question.permuted(order)`, without its label, which could be another one."""
        analyses = tuple(self.analyses[i] for i in order) if self.analyses else ()
        return Rationale(question_id=self.question_id, recall=self.recall, analyses=analyses)


class Flaw(StrEnum):
    """Why the student does not learn from a text of the teacher."""

    NO_RECALL = "no_recall"
    """It contains no general knowledge."""
    OPTIONS = "options"
    """It does not contain exactly one analysis of every option."""
    VERDICTS = "verdicts"
    """Its verdicts single out no option, or it contradicts itself."""
    MALFORMED = "malformed"
    """It is not the JSON that was requested."""
    CUT = "cut"
    """It reached the token limit before it ended."""
    THOUGHTS = "thoughts"
    """The teacher thought, and answered nothing."""
    REFUSED = "refused"
    """The teacher declined, or its provider withheld the text."""
    DISAGREES = "disagrees"
    """The option it calls correct is not the one it should argue for."""
    LEAK = "leak"
    """Its general knowledge contains the answer's text (only checked with `teacher.reject_leaks`)."""
    DUPLICATE = "duplicate"
    """Its general knowledge differs by a few characters at most from that of a rationale already kept."""
    SURPLUS = "surplus"
    """The question already has as many rationales as requested."""
    UNALIGNED = "unaligned"
    """Its sentences, written by people, could not be assigned to the options without guessing."""
    NOT_TRAIN = "not_train"
    """It belongs to a question outside the training split; using it could leak test questions."""


class Rejected(Record):
    """A text of the teacher that the student does not learn from, kept whole so that a person can see why."""

    question_id: str
    flaw: Flaw
    text: str
    reason: str = ""
    """What exactly was wrong, if the flaw alone does not say it."""


class StageExample(Record):
    """One supervised example of one stage: the student reads `prompt` and learns to write `target`."""

    question_id: str
    stage: Stage
    prompt: str
    target: str
    rationale: int = 0
    """Number of the rationale it was made from among all rationales; examples from labels alone have 0."""


class Chain(Record):
    """The student's reasoning on one question, from recall to answer."""

    question_id: str
    sample: int = 0
    """Number of this chain among the question's chains, counted from 0."""
    recall: str | None = None
    """None if the plan has no recall stage."""
    analyses: tuple[str, ...] = ()
    """One per option in the question's order; empty if the plan has no analyze stage."""
    reasoning: str | None = None
    """The whole text, if the plan writes everything at once (`cot`); the other fields are read from it."""
    conclusion: str
    answer: str | None
    """Label read from the conclusion; None if unreadable."""
    answer_logp: float | None = None
    """Log-probability of the answer's label given the summarize prompt, in nats; None if not requested."""
    option_logps: dict[str, float] | None = Field(None, exclude=True)
    """Log-probability of every label given the summarize prompt, nats, normalised over the question's labels; None if
    not requested. Files do not hold it."""
    count_tokens: int = Field(0, ge=0)
    """Tokens generated for this chain, all stages together."""
    count_cut: int = Field(0, ge=0)
    """Prompts of this chain that were too long for the student and lost part of the reasoning."""
    count_stopped: int = Field(0, ge=0)
    """Texts of this chain that were stopped at their token limit."""


class PreferencePair(Record):
    """Two texts for one prompt: one that led to the gold label or is the teacher's, and one that did not."""

    question_id: str
    stage: Stage
    prompt: str
    chosen: str
    rejected: str
    is_from_teacher: bool = False
    """True if the teacher wrote `chosen`: because the student had too few chosen texts, or to replace one of
    them (`reflect.on_policy`)."""


class Verdict(Record):
    """The student's answer to one question, and whether it is right."""

    question_id: str
    gold: str
    answer: str | None
    """The chain's answer, or the vote over all chains; None if no chain was readable."""
    is_correct: bool
    chains: tuple[Chain, ...] = Field(min_length=1)
    recall_is_fact: bool | None = None
    """Is the first chain's recall true? None if that cannot be checked."""
    analyses_are_facts: tuple[bool, ...] | None = None
    """Is each analysis of the first chain true? None if that cannot be checked."""
    first_wrong_stage: Stage | None = None
    """For a wrong answer on a task with known facts: the first stage that went wrong."""
