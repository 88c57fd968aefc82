"""Questions and rationales -> the supervised examples of every stage, batched in the order of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinythinker.core.errors import TeacherError
from tinythinker.core.records import Question, Rationale, Stage, StageExample
from tinythinker.core.seeds import derive_seed
from tinythinker.stages.plan import PLANS, order_batches
from tinythinker.stages.template import Template, conclusion


def build_examples(
    plan: str, template: Template, questions: Sequence[Question], rationales: Sequence[Rationale]
) -> list[StageExample]:
    """Every example that the data give for a plan's stages, exact repeats dropped.

    A rationale without analyses gives no example that would need them. A plan without recall and analyze learns from
    every labelled question, with or without a rationale.
    """
    stages = PLANS[plan]
    if stages == (Stage.SUMMARIZE,):
        made = [
            StageExample(
                question_id=question.id,
                stage=Stage.SUMMARIZE,
                prompt=template.summarize_prompt(question, None, ()),
                target=conclusion(question.gold),
            )
            for question in questions
            if question.gold is not None
        ]
    else:
        by_id = {question.id: question for question in questions}
        made = [
            example
            for rationale in rationales
            for example in _examples(stages, template, by_id[rationale.question_id], rationale)
        ]
    # The question an example came from does not make it another example.
    return list({(example.stage, example.prompt, example.target): example for example in reversed(made)}.values())[::-1]


def _examples(
    stages: tuple[Stage, ...], template: Template, question: Question, rationale: Rationale
) -> list[StageExample]:
    recall = rationale.recall if Stage.RECALL in stages else None
    analyses = rationale.analyses if Stage.ANALYZE in stages else ()
    texts: list[tuple[Stage, str, str]] = []
    if recall is not None:
        texts.append((Stage.RECALL, template.recall_prompt(question), recall))
    for label, analysis in zip(question.labels, analyses, strict=False):
        texts.append((Stage.ANALYZE, template.analyze_prompt(question, recall, label), analysis))
    if question.gold is not None and (analyses or Stage.ANALYZE not in stages):
        texts.append(
            (Stage.SUMMARIZE, template.summarize_prompt(question, recall, analyses), conclusion(question.gold))
        )
    return [
        StageExample(question_id=question.id, stage=stage, prompt=prompt, target=target)
        for stage, prompt, target in texts
    ]


@dataclass(frozen=True)
class Curriculum:
    """What phase 1 trains on, epoch by epoch; every epoch is a function of the seed and its number alone."""

    plan: str
    template: Template
    questions: tuple[Question, ...]
    rationales: tuple[Rationale, ...]
    batch_size: int
    interval: int
    permute_options: bool
    seed: int

    def turn(self) -> dict[Stage, int]:
        """Optimizer steps of each stage's turn: `interval`, for analyze times the (mean) number of options."""
        options = round(sum(len(q.options) for q in self.questions) / len(self.questions))
        return {stage: self.interval * (options if stage is Stage.ANALYZE else 1) for stage in PLANS[self.plan]}

    def examples(self, epoch: int) -> list[StageExample]:
        """The examples of an epoch, in data order; their number is the same in every epoch.

        A question and its rationales share the epoch's order of the options.
        """
        if not self.permute_options:
            return build_examples(self.plan, self.template, self.questions, self.rationales)
        orders = {question.id: self._order(question, epoch) for question in self.questions}
        return build_examples(
            self.plan,
            self.template,
            [question.permuted(orders[question.id]) for question in self.questions],
            [rationale.permuted(orders[rationale.question_id]) for rationale in self.rationales],
        )

    def _order(self, question: Question, epoch: int) -> list[int]:
        """A fresh order of the options, drawn from texts and not from positions or ids.

        Two questions with the same words get the same order, so repeats stay repeats in every epoch.
        """
        texts = [option.text for option in question.options]
        return sorted(
            range(len(texts)), key=lambda i: derive_seed(self.seed, "permute", epoch, question.stem, texts[i])
        )

    def epoch(self, number: int) -> list[tuple[Stage, list[StageExample]]]:
        """The batches of an epoch in training order: stages by turns, examples of a stage shuffled.

        Raises:
            TeacherError: the data give no example for a stage of the plan.
        """
        by_stage: dict[Stage, list[StageExample]] = {stage: [] for stage in PLANS[self.plan]}
        for example in self.examples(number):
            by_stage[example.stage].append(example)
        for stage, examples in by_stage.items():
            if not examples:
                raise TeacherError(
                    f"stages.plan={self.plan}: found no rationale that teaches {stage}, expected some; "
                    "use stages.plan=recall_summarize for recall-only rationales, or another teacher"
                )
        return order_batches(by_stage, self.turn(), batch_size=self.batch_size, seed=self.seed, epoch=number)


def count_by_stage(examples: Sequence[StageExample]) -> Mapping[Stage, int]:
    """How many examples every stage has."""
    return {stage: sum(example.stage is stage for example in examples) for stage in Stage}
