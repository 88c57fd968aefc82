"""Chains of reasoning for many questions at once: recall, every option's analysis, the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinythinker.core.records import Chain, Question, Stage
from tinythinker.core.seeds import derive_seed
from tinythinker.generate.decode import Decoded, LabelLogps, Sampling, decode, label_logps
from tinythinker.stages.plan import ANSWERED_WITH
from tinythinker.stages.template import Template, conclusion, parse_answer
from tinythinker.student.precision import decoding
from tinythinker.student.student import Student

MAX_CONCLUSION_TOKENS = 16
"""A conclusion is one fixed sentence."""


@dataclass(frozen=True)
class Draws:
    """Which stages are sampled, how hot, and under which name; the others decode greedily."""

    temperature: float
    seed: int
    stages: frozenset[Stage]

    def of(self, stage: Stage, thoughts: Sequence[Thought]) -> Sampling | None:
        """How this stage is sampled for these thoughts, one named stream per option; None if it is greedy."""
        if stage not in self.stages:
            return None
        names = [
            (t.question.id, t.sample, i)
            for t in thoughts
            for i in range(len(t.question.options) if stage is Stage.ANALYZE else 1)
        ]
        return Sampling(self.temperature, [derive_seed(self.seed, "sample", stage, *name) for name in names])


@dataclass(frozen=True)
class Thought:
    """A chain to be: the question, which of its chains this is, and the reasoning that is already there."""

    question: Question
    sample: int = 0
    recall: str | None = None
    analyses: tuple[str, ...] | None = None


def think(
    student: Student, thoughts: Sequence[Thought], *, draws: Draws | None = None, score: bool = False
) -> list[Chain]:
    """Reason through every thought, stage by stage, in batches across questions.

    Args:
        thoughts: a recall or analyses that a thought brings along are kept; the others are generated.
        draws: None for greedy chains.
        score: also ask how likely the answer's label was (`Chain.answer_logp`).

    Returns:
        One chain per thought, in order.
    """
    if not thoughts:
        return []
    student = decoding(student, is_sampled=draws is not None)
    recipe = student.recipe
    stages, template, how = ANSWERED_WITH[recipe.stages.plan], recipe.template, recipe.generate

    def write(stage: Stage, prompts: list[str], max_tokens: int, asked: Sequence[Thought]) -> list[Decoded]:
        sampling = None if draws is None else draws.of(stage, asked)
        return decode(student, prompts, max_tokens=max_tokens, batch_size=how.batch_size, sampling=sampling)

    if Stage.REASON in stages:
        prompts = [template.recall_prompt(thought.question) for thought in thoughts]
        whole = write(Stage.REASON, prompts, recipe.max_target_tokens, thoughts)
        return [_read(template, thought, text) for thought, text in zip(thoughts, whole, strict=True)]

    written: list[list[Decoded]] = [[] for _ in thoughts]
    recalls: list[str | None] = [thought.recall for thought in thoughts]
    if Stage.RECALL in stages:
        missing = [i for i, recall in enumerate(recalls) if recall is None]
        asked = [thoughts[i] for i in missing]
        prompts = [template.recall_prompt(thought.question) for thought in asked]
        for i, recall in zip(missing, write(Stage.RECALL, prompts, how.max_recall_tokens, asked), strict=True):
            recalls[i] = recall.text
            written[i].append(recall)

    analyses = [thought.analyses or () for thought in thoughts]
    if Stage.ANALYZE in stages:
        missing = [i for i, thought in enumerate(thoughts) if thought.analyses is None]
        asked = [thoughts[i] for i in missing]
        prompts = [
            template.analyze_prompt(thoughts[i].question, recalls[i], label)
            for i in missing
            for label in thoughts[i].question.labels
        ]
        texts = iter(write(Stage.ANALYZE, prompts, how.max_analysis_tokens, asked))
        for i in missing:
            own = [next(texts) for _ in thoughts[i].question.options]
            analyses[i] = tuple(analysis.text for analysis in own)
            written[i].extend(own)

    prompts = [
        template.summarize_prompt(thought.question, recall, analysis)
        for thought, recall, analysis in zip(thoughts, recalls, analyses, strict=True)
    ]
    labels = [thought.question.labels for thought in thoughts]
    scores: list[LabelLogps] | None = None
    if score or how.answer == "constrained":
        scores = label_logps(student, prompts, labels, batch_size=how.batch_size)
    if how.answer == "constrained" and scores is not None:
        conclusions = [
            Decoded(conclusion(max(own.logps, key=own.logps.__getitem__)), 1, is_cut=own.is_cut) for own in scores
        ]
    else:
        conclusions = decode(student, prompts, max_tokens=MAX_CONCLUSION_TOKENS, batch_size=how.batch_size)

    chains = []
    for i, thought in enumerate(thoughts):
        answer = parse_answer(conclusions[i].text, thought.question.labels)
        chains.append(
            Chain(
                question_id=thought.question.id,
                sample=thought.sample,
                recall=recalls[i],
                analyses=analyses[i],
                conclusion=conclusions[i].text,
                answer=answer,
                answer_logp=scores[i].logps[answer] if scores is not None and answer is not None else None,
                count_tokens=sum(text.count_tokens for text in (*written[i], conclusions[i])),
                count_cut=sum(text.is_cut for text in (*written[i], conclusions[i])),
                count_stopped=sum(text.is_stopped for text in (*written[i], conclusions[i])),
            )
        )
    return chains


def _read(template: Template, thought: Thought, text: Decoded) -> Chain:
    """The chain that a student wrote as one text, its answer included: nothing is left to constrain or to score."""
    recall, analyses, concluded = template.read_reasoning(thought.question, text.text)
    return Chain(
        question_id=thought.question.id,
        sample=thought.sample,
        recall=recall,
        analyses=analyses,
        reasoning=text.text,
        conclusion=concluded,
        answer=parse_answer(concluded, thought.question.labels),
        count_tokens=text.count_tokens,
        count_cut=int(text.is_cut),
        count_stopped=int(text.is_stopped),
    )
