"""The prompt grammar: every word a student reads or writes around the knowledge itself. Its sole owner."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tinythinker.core.records import Question
from tinythinker.core.text import finished

_ANSWER = re.compile(r"(?i:the answer is option) ([A-Z])\b")


@dataclass(frozen=True)
class Template:
    """The published wording (`paper`), or the same with the option's text in the analyze prompt (`named`).

    Source: METHOD section 1. Parts that a plan leaves out (no recall, no analyses) leave no trace in the prompts.
    """

    name: Literal["paper", "named"] = "paper"

    def recall_prompt(self, question: Question) -> str:
        """What the student reads before it recalls."""
        return f"{_question(question)}\nRecall:"

    def analyze_prompt(self, question: Question, recall: str | None, label: str) -> str:
        """What the student reads before it analyzes one option."""
        return f"{_known(question, recall)}\nAnalyze: {self._opening(question, label)}"

    def summarize_prompt(self, question: Question, recall: str | None, analyses: Sequence[str]) -> str:
        """What the student reads before it answers.

        Args:
            recall: general knowledge, None where the plan has none.
            analyses: one per option in the question's order, empty where the plan has none.
        """
        known = _known(question, recall)
        if analyses:
            said = [
                f"{self._opening(question, label)} {finished(analysis)}"
                for label, analysis in zip(question.labels, analyses, strict=True)
            ]
            known += "\nAnalyze: " + " ".join(said)
        return f"{known}\nSummarize:"

    def _opening(self, question: Question, label: str) -> str:
        if self.name == "paper":
            return f"For option {label},"
        return f"For option {label} ({question.options[question.labels.index(label)].text}),"


def _question(question: Question) -> str:
    return f"{question.stem}\n" + " ".join(f"({option.label}) {option.text}" for option in question.options)


def _known(question: Question, recall: str | None) -> str:
    return _question(question) + ("" if recall is None else f"\nRecall: {finished(recall)}")


def conclusion(label: str) -> str:
    """What the student writes to answer.

    >>> conclusion("B")
    'So the answer is option B.'
    """
    return f"So the answer is option {label}."


def parse_answer(text: str, labels: Sequence[str]) -> str | None:
    """Read the chosen option label out of a generated conclusion.

    Returns None, never a guess, if the sentence is malformed or names a label this question does not have: an
    unreadable answer is scored wrong and counted as unreadable.

    >>> parse_answer("So the answer is option B.", labels=("A", "B"))
    'B'
    >>> parse_answer("So the answer is option F.", labels=("A", "B")) is None
    True
    """
    match = _ANSWER.search(text)
    return match[1] if match and match[1] in labels else None
