"""A loaded student that answers questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Self

from tinythinker.core.records import Question, Stage
from tinythinker.evaluate.verdicts import chains_on
from tinythinker.generate.think import Draft, Thought, think
from tinythinker.settings.schema import EvaluateSettings
from tinythinker.stages.plan import ANSWERED_WITH
from tinythinker.student.student import Student
from tinythinker.use.prediction import Prediction, prediction_of
from tinythinker.use.questions import Posed, SoFar, as_question

BATCH = 64
"""Questions that are answered together."""
Tell = Callable[[int, SoFar], None]
"""Hears of a question, by its place in the batch, what has been written so far."""


class LoadedStudent(Student):
    """A student to ask many questions: `student.answer("Which is heavier?", ["cow", "fox"])`."""

    @classmethod
    def of(cls, student: Student) -> Self:
        """The same student, ready to be asked."""
        made = cls(student.model, student.tokenizer, student.recipe)
        made.can_read_trees = student.can_read_trees
        return made

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What it does before it has answered, in order."""
        return ANSWERED_WITH[self.recipe.stages.plan]

    def answer(
        self,
        question: str,
        options: Sequence[str],
        *,
        recall: str | None = None,
        analyses: Sequence[str] | None = None,
    ) -> Prediction:
        """The answer to one question, with its reasoning.

        Args:
            options: 2 to 26 texts; they get the labels A, B, C ... in this order.
            recall: knowledge to go on from, instead of what the student would recall.
            analyses: one per option, to go on from; with the recall, if the student writes one.

        Raises:
            DataError: a text is empty, there are too few or too many options or analyses, or the student never reads
                what is given.
        """
        given = None if analyses is None else tuple(analyses)
        asked = Posed(as_question(question, options), recall, given)
        asked.refuse_foreign(self.stages)
        return self.answer_together([asked])[0]

    def answer_all(self, questions: Iterable[Question | tuple[str, Sequence[str]]]) -> list[Prediction]:
        """The answers to many questions, in order.

        Args:
            questions: each a `Question`, or a text and its options.

        Raises:
            DataError: as for `answer`.
        """
        asked = [
            Posed(one if isinstance(one, Question) else as_question(*one, f"asked-{number}"))
            for number, one in enumerate(questions, start=1)
        ]
        parts = [asked[start : start + BATCH] for start in range(0, len(asked), BATCH)]
        return [made for part in parts for made in self.answer_together(part)]

    def answer_together(self, asked: Sequence[Posed], tell: Tell | None = None) -> list[Prediction]:
        """The answers to some questions, thought together by greedy chains.

        Args:
            tell: hears of each question after every stage.
        """
        thoughts = [Thought(one.question, i, one.recall, one.analyses) for i, one in enumerate(asked)]

        def watch(drafts: Sequence[Draft]) -> None:
            for draft in drafts:
                if tell is not None:
                    tell(draft.thought.sample, SoFar(draft.recall, draft.analyses))

        chains = think(self, thoughts, score=True, watch=watch)
        return [prediction_of(one.question, [chain]) for one, chain in zip(asked, chains, strict=True)]

    def predict(self, questions: Sequence[Question], settings: EvaluateSettings, seed: int) -> list[Prediction]:
        """Predictions on some questions, thought together: by greedy chains, or by a vote over sampled ones.

        Args:
            settings: how many chains vote, and which stages are used; its split does not matter.
            seed: decides the chains that vote.
        """
        chains = chains_on(self, questions, settings, seed, score=True)
        return [prediction_of(question, own) for question, own in zip(questions, chains, strict=True)]
