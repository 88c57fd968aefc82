"""Questions and rationales -> the supervised examples of every stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tinythinker.core.records import Question, Rationale, Stage, StageExample
from tinythinker.core.text import finished
from tinythinker.stages.plan import ANSWERED_WITH, PLANS
from tinythinker.stages.template import Template


def build_examples(
    plan: str, template: Template, questions: Sequence[Question], rationales: Sequence[Rationale]
) -> list[StageExample]:
    """Every example that the data give for a plan's stages, without exact repeats.

    A rationale without analyses gives no example that needs them. A plan that answers without a rationale
    learns the answer from every labelled question, whether or not the question has a rationale.
    """
    by_id = {question.id: question for question in questions}
    made = [
        example
        for number, rationale in enumerate(rationales)
        for example in _examples(plan, template, by_id[rationale.question_id], rationale, number)
    ]
    if ANSWERED_WITH[plan] == (Stage.SUMMARIZE,):
        made += [
            StageExample(
                question_id=question.id,
                stage=Stage.SUMMARIZE,
                prompt=template.summarize_prompt(question, None, ()),
                target=template.conclusion(question, question.gold),
            )
            for question in questions
            if question.gold is not None
        ]
    # Examples with the same texts are repeats, even if they come from different questions.
    return list({(example.stage, example.prompt, example.target): example for example in reversed(made)}.values())[::-1]


def _examples(
    plan: str, template: Template, question: Question, rationale: Rationale, number: int
) -> list[StageExample]:
    """The examples that one rationale gives."""
    stages = PLANS[plan]
    if Stage.REASON in stages:
        texts = _whole(plan, template, question, rationale)
    else:
        texts = _staged(stages, template, question, rationale)
    return [
        StageExample(question_id=question.id, stage=stage, prompt=prompt, target=target, rationale=number)
        for stage, prompt, target in texts
    ]


Text = tuple[Stage, str, str]
"""Stage, prompt and target."""


def _whole(plan: str, template: Template, question: Question, rationale: Rationale) -> list[Text]:
    """The one text of a plan that writes everything at once, with the answer if no other stage answers."""
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
        texts.append((Stage.RECALL, template.recall_prompt(question), finished(recall)))
    for label, analysis in zip(question.labels, analyses, strict=False):
        texts.append((Stage.ANALYZE, template.analyze_prompt(question, recall, label), finished(analysis)))
    if question.gold is not None and (analyses or Stage.ANALYZE not in stages):
        answer = template.conclusion(question, question.gold)
        texts.append((Stage.SUMMARIZE, template.summarize_prompt(question, recall, analyses), answer))
    return texts


def count_by_stage(examples: Sequence[StageExample]) -> Mapping[Stage, int]:
    """The number of examples of every stage that has any."""
    counts = Counter(example.stage for example in examples)
    return {stage: counts[stage] for stage in Stage if stage in counts}
