"""What phase 1 trains on: the examples of every stage, batched in the order of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from tinythinker.core.errors import TeacherError
from tinythinker.core.records import Question, Rationale, Stage, StageExample
from tinythinker.core.seeds import derive_seed, stream
from tinythinker.settings.schema import RunSettings, StageSettings
from tinythinker.stages.examples import build_examples
from tinythinker.stages.plan import PLANS, order_batches
from tinythinker.stages.template import Template

MIXED = "mixed"
"""Name of a batch that mixes all stages."""

Batch = tuple[str, Sequence[StageExample]]
"""Name of the stage, and the examples."""


@dataclass(frozen=True)
class Curriculum:
    """What phase 1 trains on, epoch by epoch; every epoch depends only on the seed and its number."""

    settings: StageSettings
    questions: tuple[Question, ...]
    rationales: tuple[Rationale, ...]
    """All that the teacher gave; `used` are those that the student learns from."""
    batch_size: int
    seed: int
    batches: Literal["examples", "questions"] = "examples"
    """See `train.batches`."""

    @cached_property
    def used(self) -> list[Rationale]:
        """The rationales to learn from, according to `stages.rationales` and `stages.shuffle_rationales`."""
        kept: dict[str, list[Rationale]] = {}
        for rationale in self.rationales:
            kept.setdefault(rationale.question_id, []).append(rationale)
        chosen = {id_: given[: self.settings.rationales] for id_, given in kept.items()}
        if self.settings.shuffle_rationales:
            chosen = _dealt(chosen, self.questions, self.seed)
        return [rationale for given in chosen.values() for rationale in given]

    def turn(self) -> dict[str, int]:
        """Optimizer steps in each stage's turn: `interval`, for analyze times the mean number of options."""
        options = round(sum(len(q.options) for q in self.questions) / len(self.questions))
        return {
            str(stage): self.settings.interval * (options if stage is Stage.ANALYZE else 1)
            for stage in PLANS[self.settings.plan]
        }

    def examples(self, epoch: int) -> list[StageExample]:
        """The examples of an epoch, in data order; every epoch has the same number of examples.

        In one epoch, a question and its rationales use the same order of the options.
        """
        plan, template = self.settings.plan, Template.of(self.settings)
        if not self.settings.permute_options:
            return build_examples(plan, template, self.questions, self.used)
        orders = {question.id: self._order(question, epoch) for question in self.questions}
        return build_examples(
            plan,
            template,
            [question.permuted(orders[question.id]) for question in self.questions],
            [rationale.permuted(orders[rationale.question_id]) for rationale in self.used],
        )

    def _order(self, question: Question, epoch: int) -> list[int]:
        """An epoch's order of the options, which depends on the texts and not on positions or ids.

        Two questions with the same words get the same order, so repeats stay repeats in every epoch.
        """
        texts = [option.text for option in question.options]
        return sorted(
            range(len(texts)), key=lambda i: derive_seed(self.seed, "permute", epoch, question.stem, texts[i])
        )

    def _by_stage(self, epoch: int) -> dict[Stage, list[StageExample]]:
        plan = self.settings.plan
        by_stage: dict[Stage, list[StageExample]] = {stage: [] for stage in PLANS[plan]}
        for example in self.examples(epoch):
            by_stage[example.stage].append(example)
        for stage, examples in by_stage.items():
            if not examples:
                what = "chains of thought" if stage is Stage.REASON else str(stage)
                raise TeacherError(
                    f"stages.plan={plan}: found no rationale that teaches {what}, expected some; "
                    "use stages.plan=recall_summarize for recall-only rationales, or another teacher"
                )
        return by_stage

    def epoch(self, number: int) -> list[Batch]:
        """The batches of an epoch in training order: stages in turns or mixed, their examples shuffled.

        Raises:
            TeacherError: the data give no example for a stage of the plan.
        """
        by_stage = self._by_stage(number)
        items, turn = {str(stage): examples for stage, examples in by_stage.items()}, self.turn()
        if self.settings.order == "shuffled":
            items, turn = {MIXED: [example for examples in by_stage.values() for example in examples]}, {MIXED: 1}
        together = _siblings if self.batches == "questions" else None
        return order_batches(items, turn, batch_size=self.batch_size, seed=self.seed, epoch=number, together=together)

    def sequence(self, count_steps: int) -> list[Batch]:
        """The batches of a whole training, stage after stage, each with its share of an epoch's steps."""
        first = [stage for stage, _ in self.epoch(0)]
        batches: list[Batch] = []
        for stage in self.turn():
            per_epoch = first.count(stage)
            wanted = round(count_steps * per_epoch / len(first))
            epochs = (self.epoch(number) for number in range(-(-wanted // per_epoch)))
            batches += [batch for epoch in epochs for batch in epoch if batch[0] == stage][:wanted]
        return batches


def _siblings(example: StageExample) -> object:
    """What the examples made from one rationale have in common."""
    return example.question_id, example.rationale


def _dealt(
    by_question: Mapping[str, list[Rationale]], questions: Sequence[Question], seed: int
) -> dict[str, list[Rationale]]:
    """Every question's rationales replaced by those of another question with as many options."""
    groups: dict[int, list[str]] = {}
    for question in questions:
        if question.id in by_question:
            groups.setdefault(len(question.options), []).append(question.id)
    dealt = {}
    for size, ids in groups.items():
        order = [ids[i] for i in stream(seed, "deal", size).permutation(len(ids))]
        for taker, giver in zip(order, [*order[1:], *order[:1]], strict=True):
            dealt[taker] = [
                Rationale(question_id=taker, recall=given.recall, analyses=given.analyses)
                for given in by_question[giver]
            ]
    return dealt


def curriculum_of(settings: RunSettings, questions: Sequence[Question], rationales: Sequence[Rationale]) -> Curriculum:
    """What phase 1 of a run with these settings trains on."""
    return Curriculum(
        settings=settings.stages,
        questions=tuple(questions),
        rationales=tuple(rationales),
        batch_size=settings.train.batch_size,
        seed=settings.seed,
        batches=settings.train.batches,
    )
