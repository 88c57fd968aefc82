"""The prompt grammar: every word that a student reads or writes around the knowledge, but for its answer (`answer`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tinythinker.core.records import Chain, Question
from tinythinker.core.text import finished
from tinythinker.settings.schema import Normalize, StageSettings
from tinythinker.stages.answer import Form, conclusion, parse_answer

RECALL, ANALYZE, SUMMARIZE, ANSWER = "Recall:", "Analyze:", "Summarize:", "Answer:"
"""Each begins a part of a prompt, on a line of its own after the question."""
_REQUEST = re.compile(rf"\n(?:{RECALL}|{ANALYZE}|{SUMMARIZE}|{ANSWER})")
"""Begins a part of a prompt after the question."""


class Reasoning(NamedTuple):
    """The parts of a chain that was written as one text."""

    recall: str | None
    analyses: tuple[str, ...]
    """One per option in the question's order, or empty."""
    conclusion: str


@dataclass(frozen=True)
class Template:
    """The words around the knowledge. If a plan has no recall or no analyses, the prompts do not mention them.

    Source: METHOD section 1 for `paper`. `cloze` is how language models without training are asked ("Question: ...
    Answer:"); its question lists no options.
    """

    name: Literal["paper", "named", "cloze"] = "paper"
    """paper: as published; named: the analyze prompt also gives the option's text; cloze: no list of options."""
    answer: Form | None = None
    """How the answer is written; None: the option's text with `cloze`, its letter with the others."""

    @classmethod
    def of(cls, settings: StageSettings) -> Template:
        """The wording that settings ask for."""
        return cls(settings.template, settings.answer)

    @property
    def form(self) -> Form:
        """How the answer is written."""
        return self.answer or ("text" if self.name == "cloze" else "letter")

    def normalize(self, wanted: Normalize | None) -> Normalize:
        """How options of different lengths are compared: as wanted (`generate.normalize`), or as suits the form."""
        return wanted or ("characters" if self.form == "text" else "none")

    def conclusion(self, question: Question, label: str) -> str:
        """What the student writes to choose an option."""
        return conclusion(question.options[question.labels.index(label)], self.form)

    def read_conclusion(self, question: Question, text: str) -> str | None:
        """The label of the option that a conclusion chooses; None if it cannot be told."""
        return parse_answer(text, question.options)

    def recall_prompt(self, question: Question) -> str:
        """What the student reads before it recalls."""
        return f"{self._question(question)}\n{RECALL}"

    def analyze_prompt(self, question: Question, recall: str | None, label: str) -> str:
        """What the student reads before it analyzes one option."""
        return f"{self._known(question, recall)}\n{ANALYZE} {self._opening(question, label)}"

    def summarize_prompt(self, question: Question, recall: str | None, analyses: Sequence[str]) -> str:
        """What the student reads before it answers.

        Args:
            recall: general knowledge; None if the plan has none.
            analyses: one per option in the question's order; empty if the plan has none.
        """
        known = self._known(question, recall)
        if analyses:
            said = [
                f"{self._opening(question, label)} {finished(analysis)}"
                for label, analysis in zip(question.labels, analyses, strict=True)
            ]
            known += f"\n{ANALYZE} " + " ".join(said)
        return f"{known}\n{self.last}"

    def reasoning(self, question: Question, recall: str, analyses: Sequence[str], label: str | None) -> str:
        """A whole chain as one text that follows the recall prompt (plans `cot` and `multitask`).

        Args:
            label: the answer to end with; None leaves the answer out.
        """
        whole = self.summarize_prompt(question, recall, analyses).removeprefix(self.recall_prompt(question)).strip()
        if label is None:
            return whole.removesuffix(self.last).strip()
        return f"{whole} {self.conclusion(question, label)}"

    def before_answer(self, text: str) -> str:
        """What a student wrote in the form of `reasoning` before its answer."""
        return text.partition(self.last)[0].strip()

    def answer_prompt(self, question: Question, reasoning: str) -> str:
        """What the student reads before it answers, after a text of its own (`before_answer`)."""
        return f"{self.recall_prompt(question)} {reasoning}\n{self.last}"

    def with_answer(self, reasoning: str, concluded: str) -> str:
        """The text of `before_answer` with an answer, in the form of `reasoning`."""
        return f"{reasoning}\n{self.last} {concluded}"

    def told(self, question: Question, chain: Chain) -> tuple[str, str]:
        """A student's chain as one text, in two parts: the prompt of its first stage, and all that it wrote after that.

        What the student wrote of its answer stands at the end, readable or not.
        """
        prompt = self.recall_prompt(question)
        if chain.reasoning is not None:
            return prompt, chain.reasoning
        if chain.recall is None:
            prompt = f"{self._question(question)}\n{ANALYZE if chain.analyses else self.last}"
        whole = f"{self.summarize_prompt(question, chain.recall, chain.analyses)} {chain.conclusion}"
        return prompt, whole.removeprefix(prompt).strip()

    def read_reasoning(self, question: Question, text: str) -> Reasoning:
        """Split a student's text in the form of `reasoning` into its parts; white space does not matter.

        A part that is missing or misplaced is None (recall) or empty (analyses, conclusion).
        """
        known, _, concluded = " ".join(text.split()).partition(f" {self.last} ")
        recall, _, analyzed = known.partition(f" {ANALYZE} ")
        openings = [" ".join(self._opening(question, label).split()) for label in question.labels]
        pattern = " ".join(f"{re.escape(opening)} (.+?)" for opening in openings)
        match = re.fullmatch(pattern, analyzed)
        return Reasoning(recall or None, match.groups() if match else (), concluded)

    @property
    def opening(self) -> str:
        """How the analysis of an option begins; `{label}` and `{text}` stand for the option."""
        if self.name == "cloze":
            return "For {text},"
        return "For option {label}," if self.name == "paper" else "For option {label} ({text}),"

    def _opening(self, question: Question, label: str) -> str:
        return self.opening.format(label=label, text=question.text_of(label))

    @property
    def last(self) -> str:
        """What asks for the answer, on a line of its own."""
        return ANSWER if self.name == "cloze" else SUMMARIZE

    def _question(self, question: Question) -> str:
        if self.name == "cloze":
            return f"Question: {question.stem}"
        return f"{question.stem}\n" + " ".join(f"({option.label}) {option.text}" for option in question.options)

    def _known(self, question: Question, recall: str | None) -> str:
        return self._question(question) + ("" if recall is None else f"\n{RECALL} {finished(recall)}")


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
