"""The prompt grammar: every word that a student reads or writes around the knowledge, but for its answer (`answer`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tinythinker.core.records import Question
from tinythinker.core.text import finished
from tinythinker.stages.answer import conclusion

_RECALL, _ANALYZE, _SUMMARIZE = "Recall:", "Analyze:", "Summarize:"
_REQUEST = re.compile(rf"\n(?:{_RECALL}|{_ANALYZE}|{_SUMMARIZE})")
"""Begins a part of a prompt after the question."""


class Reasoning(NamedTuple):
    """The parts of a chain that was written as one text."""

    recall: str | None
    analyses: tuple[str, ...]
    """One per option in the question's order, or empty."""
    conclusion: str


@dataclass(frozen=True)
class Template:
    """The published wording (`paper`), or the same with the option's text in the analyze prompt (`named`).

    Source: METHOD section 1. If a plan has no recall or no analyses, the prompts do not mention them.
    """

    name: Literal["paper", "named"] = "paper"

    def recall_prompt(self, question: Question) -> str:
        """What the student reads before it recalls."""
        return f"{_question(question)}\n{_RECALL}"

    def analyze_prompt(self, question: Question, recall: str | None, label: str) -> str:
        """What the student reads before it analyzes one option."""
        return f"{_known(question, recall)}\n{_ANALYZE} {self._opening(question, label)}"

    def summarize_prompt(self, question: Question, recall: str | None, analyses: Sequence[str]) -> str:
        """What the student reads before it answers.

        Args:
            recall: general knowledge; None if the plan has none.
            analyses: one per option in the question's order; empty if the plan has none.
        """
        known = _known(question, recall)
        if analyses:
            said = [
                f"{self._opening(question, label)} {finished(analysis)}"
                for label, analysis in zip(question.labels, analyses, strict=True)
            ]
            known += f"\n{_ANALYZE} " + " ".join(said)
        return f"{known}\n{_SUMMARIZE}"

    def reasoning(self, question: Question, recall: str, analyses: Sequence[str], label: str | None) -> str:
        """A whole chain as one text that follows the recall prompt (plans `cot` and `multitask`).

        Args:
            label: the answer to end with; None leaves the answer out.
        """
        whole = self.summarize_prompt(question, recall, analyses).removeprefix(self.recall_prompt(question)).strip()
        return whole.removesuffix(_SUMMARIZE).strip() if label is None else f"{whole} {conclusion(label)}"

    def read_reasoning(self, question: Question, text: str) -> Reasoning:
        """Split a student's text in the form of `reasoning` into its parts; white space does not matter.

        A part that is missing or misplaced is None (recall) or empty (analyses, conclusion).
        """
        known, _, concluded = " ".join(text.split()).partition(f" {_SUMMARIZE} ")
        recall, _, analyzed = known.partition(f" {_ANALYZE} ")
        openings = [" ".join(self._opening(question, label).split()) for label in question.labels]
        pattern = " ".join(f"{re.escape(opening)} (.+?)" for opening in openings)
        match = re.fullmatch(pattern, analyzed)
        return Reasoning(recall or None, match.groups() if match else (), concluded)

    def _opening(self, question: Question, label: str) -> str:
        if self.name == "paper":
            return f"For option {label},"
        return f"For option {label} ({question.options[question.labels.index(label)].text}),"


class Parts(NamedTuple):
    """A prompt in parts that make it up again when joined."""

    stem: str
    options: str
    reasoning: str
    """Recall and analyses; empty before there are any."""
    request: str
    """What the prompt asks for: its last line or, in an analyze prompt, the end of it."""

    def shortened(self, count: int) -> str:
        """The prompt without this many words: the reasoning loses its first ones, then the stem does."""
        reasoning, stem = _words(self.reasoning), _words(self.stem)
        told = "".join(reasoning[count:])
        left = "".join(stem[max(0, count - len(reasoning)) :])
        return left.lstrip() + self.options + ("\n" + told.lstrip() if told else "") + self.request

    def count_words(self) -> int:
        """Words that `shortened` can leave out."""
        return len(_words(self.reasoning)) + len(_words(self.stem))


def _words(text: str) -> list[str]:
    """The words of a text, each with the white space before it."""
    return re.findall(r"\s*\S+", text)


def parts_of(prompt: str) -> Parts:
    """Take a prompt of any stage apart."""
    places = [found.start() for found in _REQUEST.finditer(prompt)]
    first, last = (places[0], places[-1]) if places else (len(prompt), len(prompt))
    question, reasoning, request = prompt[:first], prompt[first:last], prompt[last:]
    stem, options = question[: question.rfind("\n(A) ")], question[question.rfind("\n(A) ") :]
    return Parts(stem, options, reasoning, request) if "\n(A) " in question else Parts(question, "", reasoning, request)


def _question(question: Question) -> str:
    return f"{question.stem}\n" + " ".join(f"({option.label}) {option.text}" for option in question.options)


def _known(question: Question, recall: str | None) -> str:
    return _question(question) + ("" if recall is None else f"\n{_RECALL} {finished(recall)}")
