"""What a benchmark is: how its questions are read and divided, and what is known about them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from tinythinker.core.records import Question
from tinythinker.settings.schema import RunSettings


@dataclass(frozen=True)
class Entry:
    """A question of a benchmark and, where its file has them, the knowledge it was made from and what explains it."""

    question: Question
    knowledge: str | None = None
    analyses: tuple[str, ...] = ()
    """One per option in the question's order; empty if the file has none."""


@dataclass(frozen=True)
class Entries:
    """What a benchmark's files hold, before it is divided into our splits."""

    parts: Mapping[str, Sequence[Entry]]
    """By the benchmark's own names, such as `train` and `dev`."""
    inputs: tuple[Path, ...] = ()
    """Files that were read."""
    revisions: Mapping[str, str] = field(default_factory=dict)
    """Of data sets from elsewhere, by name."""
    about: tuple[str, ...] = ()
    """What was recognised and found in files of your own, for people."""


class Claim(NamedTuple):
    """A statement that argues for an option."""

    text: str
    label: str
    """Label of the option that it argues for."""


Pick = Callable[[str, int], int]
"""A seeded choice: a name for it and the number of alternatives, to the position of one."""


class Facts(Protocol):
    """All that scoring and probing know about a benchmark whose every fact is known, such as Storeroom."""

    def recall_is_fact(self, question: Question, recall: str) -> bool:
        """Is this recall true?"""

    def analysis_is_fact(self, question: Question, label: str, analysis: str) -> bool:
        """Is this analysis of an option true?"""

    def true_recall(self, question: Question) -> str:
        """A true recall."""

    def true_analyses(self, question: Question) -> tuple[str, ...]:
        """A true analysis of every option, in the question's order."""

    def wrong_recall(self, question: Question, answer: str, pick: Pick) -> Claim | None:
        """A false recall that argues for exactly one option, another than `answer`; None if there is none."""

    def denial(self, question: Question, label: str, pick: Pick) -> str:
        """A false analysis that argues against an option."""

    def promotion(self, question: Question, pick: Pick) -> str:
        """An analysis that argues for an option, whichever it is put in front of."""


class Benchmark(ABC):
    """One benchmark. A new one is a subclass in a file of its own and one line in `tasks.registry`.

    The knowledge of an entry becomes the recall that `teacher.source=facts` teaches.
    """

    title = ""
    """Its name in a model card; empty: it has none of its own."""
    dataset: str | None = None
    """Its data set on the Hugging Face Hub; None: it is not there."""

    @abstractmethod
    def read(self, settings: RunSettings) -> Entries:
        """Read or make all questions.

        Raises:
            DataError: a file is missing or wrong; the message names it, and the line.
            SettingsError: the settings ask for what the benchmark cannot give.
        """

    @abstractmethod
    def split(self, parts: Mapping[str, Sequence[Entry]], settings: RunSettings) -> Mapping[str, Sequence[Question]]:
        """Divide what `read` gave into `train`, `valid` and `test`."""

    def facts(self, settings: RunSettings) -> Facts | None:
        """The facts that chains are judged by, the same for the same settings; None if they are not known."""
        return None

    def prompt_family(self, questions: Sequence[Question]) -> str:
        """Which instruction and examples a language-model teacher gets: `commonsense`, `science` or `yes_no`."""
        pairs = {tuple(option.text.strip().lower().rstrip(".") for option in q.options) for q in questions}
        return "yes_no" if pairs and pairs <= {("yes", "no"), ("no", "yes"), ("true", "false")} else "commonsense"


def questions_of(entries: Sequence[Entry]) -> list[Question]:
    """The questions alone, in order."""
    return [entry.question for entry in entries]
