"""Questions and rationales -> the supervised examples of every stage, batched in the order of training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tinythinker.core.errors import TeacherError
from tinythinker.core.records import Question, Rationale, Stage, StageExample
from tinythinker.core.seeds import derive_seed, stream
from tinythinker.settings.schema import StageSettings
from tinythinker.stages.plan import ANSWERED_WITH, PLANS, order_batches
from tinythinker.stages.template import Template, conclusion


def build_examples(
    plan: str, template: Template, questions: Sequence[Question], rationales: Sequence[Rationale]
) -> list[StageExample]:
    """Every example that the data give for a plan's stages, exact repeats dropped.

    A rationale without analyses gives no example that would need them. A plan that answers without a rationale learns
    the answer from every labelled question, with or without one.
    """
    by_id = {question.id: question for question in questions}
    made = [
        example
        for rationale in rationales
        for example in _examples(plan, template, by_id[rationale.question_id], rationale)
    ]
    if ANSWERED_WITH[plan] == (Stage.SUMMARIZE,):
        made += [
            StageExample(
                question_id=question.id,
                stage=Stage.SUMMARIZE,
                prompt=template.summarize_prompt(question, None, ()),
                target=conclusion(question.gold),
            )
            for question in questions
            if question.gold is not None
        ]
    # The question an example came from does not make it another example.
    return list({(example.stage, example.prompt, example.target): example for example in reversed(made)}.values())[::-1]


def _examples(plan: str, template: Template, question: Question, rationale: Rationale) -> list[StageExample]:
    """What one rationale teaches."""
    stages = PLANS[plan]
    if Stage.REASON in stages:
        texts = _whole(plan, template, question, rationale)
    else:
        texts = _staged(stages, template, question, rationale)
    return [
        StageExample(question_id=question.id, stage=stage, prompt=prompt, target=target)
        for stage, prompt, target in texts
    ]


Text = tuple[Stage, str, str]
"""Stage, prompt and target."""


def _whole(plan: str, template: Template, question: Question, rationale: Rationale) -> list[Text]:
    """Everything in one text; with the answer, where nothing else answers."""
    is_answer = ANSWERED_WITH[plan] == (Stage.REASON,)
    if is_answer and question.gold is None:
        return []
    label = question.gold if is_answer else None
    target = template.reasoning(question, rationale.recall, rationale.analyses, label)
    return [(Stage.REASON, template.recall_prompt(question), target)]


def _staged(stages: tuple[Stage, ...], template: Template, question: Question, rationale: Rationale) -> list[Text]:
    if stages == (Stage.SUMMARIZE,):
        return []
    recall = rationale.recall if Stage.RECALL in stages else None
    analyses = rationale.analyses if Stage.ANALYZE in stages else ()
    texts: list[Text] = []
    if recall is not None:
        texts.append((Stage.RECALL, template.recall_prompt(question), recall))
    for label, analysis in zip(question.labels, analyses, strict=False):
        texts.append((Stage.ANALYZE, template.analyze_prompt(question, recall, label), analysis))
    if question.gold is not None and (analyses or Stage.ANALYZE not in stages):
        texts.append(
            (Stage.SUMMARIZE, template.summarize_prompt(question, recall, analyses), conclusion(question.gold))
        )
    return texts


MIXED = "mixed"
"""What a batch of all stages is called."""

Batch = tuple[str, list[StageExample]]
"""Name of the stage, examples."""


@dataclass(frozen=True)
class Curriculum:
    """What phase 1 trains on, epoch by epoch; every epoch is a function of the seed and its number alone."""

    settings: StageSettings
    questions: tuple[Question, ...]
    rationales: tuple[Rationale, ...]
    """As many as the teacher gave; `used` are those that are learned from."""
    batch_size: int
    seed: int

    @cached_property
    def used(self) -> list[Rationale]:
        """The rationales that are learned from, as `stages.rationales` and `stages.shuffle_rationales` have it."""
        kept: dict[str, list[Rationale]] = {}
        for rationale in self.rationales:
            kept.setdefault(rationale.question_id, []).append(rationale)
        chosen = {id_: own[: self.settings.rationales] for id_, own in kept.items()}
        if self.settings.shuffle_rationales:
            chosen = _dealt(chosen, self.questions, self.seed)
        return [rationale for own in chosen.values() for rationale in own]

    def turn(self) -> dict[str, int]:
        """Optimizer steps of each stage's turn: `interval`, for analyze times the (mean) number of options."""
        options = round(sum(len(q.options) for q in self.questions) / len(self.questions))
        return {
            str(stage): self.settings.interval * (options if stage is Stage.ANALYZE else 1)
            for stage in PLANS[self.settings.plan]
        }

    def examples(self, epoch: int) -> list[StageExample]:
        """The examples of an epoch, in data order; their number is the same in every epoch.

        A question and its rationales share the epoch's order of the options.
        """
        plan, template = self.settings.plan, Template(self.settings.template)
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
        """A fresh order of the options, drawn from texts and not from positions or ids.

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
        """The batches of an epoch in training order: stages by turns or mixed, examples of a stage shuffled.

        Raises:
            TeacherError: the data give no example for a stage of the plan.
        """
        by_stage = self._by_stage(number)
        how: dict[str, int] = {"batch_size": self.batch_size, "seed": self.seed, "epoch": number}
        if self.settings.order == "shuffled":
            pooled = [example for own in by_stage.values() for example in own]
            return order_batches({MIXED: pooled}, {MIXED: 1}, **how)
        return order_batches({str(stage): own for stage, own in by_stage.items()}, self.turn(), **how)

    def sequence(self, count_steps: int) -> list[Batch]:
        """The batches of a whole training, stage after stage, each with the share of the steps it has in an epoch."""
        first = [stage for stage, _ in self.epoch(0)]
        batches: list[Batch] = []
        for stage in self.turn():
            own = first.count(stage)
            wanted = round(count_steps * own / len(first))
            epochs = (self.epoch(number) for number in range(-(-wanted // own)))
            batches += [batch for epoch in epochs for batch in epoch if batch[0] == stage][:wanted]
        return batches


def _dealt(
    by_question: Mapping[str, list[Rationale]], questions: Sequence[Question], seed: int
) -> dict[str, list[Rationale]]:
    """Every question with the rationales of another one that has as many options."""
    groups: dict[int, list[str]] = {}
    for question in questions:
        if question.id in by_question:
            groups.setdefault(len(question.options), []).append(question.id)
    dealt = {}
    for size, ids in groups.items():
        order = [ids[i] for i in stream(seed, "deal", size).permutation(len(ids))]
        for taker, giver in zip(order, [*order[1:], *order[:1]], strict=True):
            dealt[taker] = [
                Rationale(question_id=taker, recall=own.recall, analyses=own.analyses) for own in by_question[giver]
            ]
    return dealt


def count_by_stage(examples: Sequence[StageExample]) -> Mapping[Stage, int]:
    """How many examples every stage has that has any."""
    counts = Counter(example.stage for example in examples)
    return {stage: counts[stage] for stage in Stage if stage in counts}
