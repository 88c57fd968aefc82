"""Chains of reasoning for many questions at once: recall, every option's analysis, the answer.

A ladder of small steps over a frozen `Draft`: `recall` and `analyze` add what is missing, `conclude` turns drafts into
chains. Every step handles all drafts in one call of the writer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

from tinythinker.core.records import Chain, Question, Stage
from tinythinker.core.seeds import derive_seed
from tinythinker.generate.decode import Decoded, Sampling
from tinythinker.generate.label_logps import LabelLogps
from tinythinker.generate.writer import StudentWriter, Writer
from tinythinker.stages.plan import ANSWERED_WITH
from tinythinker.stages.template import Template
from tinythinker.student.student import Recipe, Student


@dataclass(frozen=True)
class Thought:
    """A chain still to be written: the question, the chain's number, and any reasoning already given."""

    question: Question
    sample: int = 0
    recall: str | None = None
    analyses: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Draws:
    """Which stages are sampled, at which temperature and from which seed; the others decode greedily."""

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


GREEDY = Draws(1.0, 0, frozenset())
"""No stage is sampled."""


@dataclass(frozen=True)
class Draft:
    """A chain that is being written."""

    thought: Thought
    recall: str | None
    """None where the plan has no recall, or it is still to be written."""
    analyses: tuple[str, ...] | None
    """One per option; None as long as they are to be written."""
    written: tuple[Decoded, ...] = ()
    """Every text that was generated for it; given reasoning is not among them."""

    @classmethod
    def of(cls, thought: Thought) -> Draft:
        """A draft that holds what its thought brings."""
        return cls(thought, thought.recall, thought.analyses)

    @property
    def question(self) -> Question:
        """The question it is about."""
        return self.thought.question


Watch = Callable[[Sequence[Draft]], None]
"""Sees the drafts after each stage, before the next one begins."""


def look_away(_: Sequence[Draft]) -> None:
    """Watch nothing."""


def think(
    student: Student,
    thoughts: Sequence[Thought],
    *,
    draws: Draws | None = None,
    score: bool = False,
    watch: Watch = look_away,
) -> list[Chain]:
    """Reason through every thought, stage by stage, in batches across questions.

    Args:
        thoughts: a recall or analyses given in a thought are kept; missing ones are generated.
        draws: None for greedy chains.
        score: also compute how likely each label was (`Chain.answer_logp`, `option_logps`).
        watch: sees the drafts after recall and after analyze, those of one batch at a time.

    Returns:
        One chain per thought, in order.
    """
    if not thoughts:
        return []
    writer = StudentWriter(student, is_sampled=draws is not None)
    chains = []
    for some in _portions(student, thoughts):
        chains += reason(writer, student.recipe, some, draws=draws or GREEDY, score=score, watch=watch)
        writer.forget()
    return chains


def _portions(student: Student, thoughts: Sequence[Thought]) -> Iterator[Sequence[Thought]]:
    """The thoughts that go through all stages together.

    An encoder reads each stage anew, so all go together. A causal student remembers what it read, so there are only as
    many as it decodes at once; thoughts on one question, which stand next to each other, stay together.
    """
    if not student.is_causal:
        yield thoughts
        return
    some: list[Thought] = []
    for _, group in groupby(thoughts, key=lambda thought: thought.question.id):
        own = list(group)
        if some and len(some) + len(own) > student.recipe.generate.batch_size:
            yield some
            some = []
        some += own
    yield some


def reason(
    writer: Writer,
    recipe: Recipe,
    thoughts: Sequence[Thought],
    *,
    draws: Draws = GREEDY,
    score: bool = False,
    watch: Watch = look_away,
) -> list[Chain]:
    """`think` with any writer.

    Args:
        recipe: the plan, the wording and the limits to write with.
    """
    stages = ANSWERED_WITH[recipe.stages.plan]
    drafts = [Draft.of(thought) for thought in thoughts]
    if Stage.REASON in stages:
        return reason_in_one_text(writer, recipe, drafts, draws)
    if Stage.RECALL in stages:
        drafts = recall(writer, recipe, drafts, draws)
        watch(drafts)
    if Stage.ANALYZE in stages:
        drafts = analyze(writer, recipe, drafts, draws)
        watch(drafts)
    return conclude(writer, recipe, drafts, score=score)


def recall(writer: Writer, recipe: Recipe, drafts: Sequence[Draft], draws: Draws) -> list[Draft]:
    """The drafts, each with a recall."""
    missing = [draft for draft in drafts if draft.recall is None]
    prompts = [recipe.template.recall_prompt(draft.question) for draft in missing]
    sampling = draws.of(Stage.RECALL, [draft.thought for draft in missing])
    made = writer.write(prompts, recipe.generate.max_recall_tokens, sampling, [True] * len(prompts)) if prompts else []
    texts = iter(made)
    return [_with_recall(recipe, draft, next(texts)) if draft.recall is None else draft for draft in drafts]


def _with_recall(recipe: Recipe, draft: Draft, text: Decoded) -> Draft:
    # A student without training goes on and on; what it knows of the question ends with the line.
    said = text.text if recipe.is_trained else text.text.strip().partition("\n")[0]
    return replace(draft, recall=said, written=(*draft.written, text))


def analyze(writer: Writer, recipe: Recipe, drafts: Sequence[Draft], draws: Draws) -> list[Draft]:
    """The drafts, each with an analysis of every option."""
    missing = [draft for draft in drafts if draft.analyses is None]
    prompts = [
        recipe.template.analyze_prompt(draft.question, draft.recall, label)
        for draft in missing
        for label in draft.question.labels
    ]
    sampling = draws.of(Stage.ANALYZE, [draft.thought for draft in missing])
    # The summarize prompt goes on from the first option's analysis; the others stand after it there.
    is_continued = [label == draft.question.labels[0] for draft in missing for label in draft.question.labels]
    made = writer.write(prompts, recipe.generate.max_analysis_tokens, sampling, is_continued) if prompts else []
    texts = iter(made)
    return [
        _with_analyses(draft, [next(texts) for _ in draft.question.options]) if draft.analyses is None else draft
        for draft in drafts
    ]


def _with_analyses(draft: Draft, texts: Sequence[Decoded]) -> Draft:
    return replace(draft, analyses=tuple(text.text for text in texts), written=(*draft.written, *texts))


def conclude(writer: Writer, recipe: Recipe, drafts: Sequence[Draft], *, score: bool) -> list[Chain]:
    """A chain from every draft: the conclusion written or, if constrained, the most likely option."""
    prompts = [recipe.template.summarize_prompt(draft.question, draft.recall, draft.analyses or ()) for draft in drafts]
    questions, template = [draft.question for draft in drafts], recipe.template
    if recipe.generate.answer == "constrained":
        known = writer.score_labels(prompts, questions)
        chosen = [_likeliest(template, *both) for both in zip(drafts, known, strict=True)]
        return [_chain(*parts) for parts in zip(drafts, chosen, known, strict=True)]
    limit = recipe.generate.max_conclusion_tokens
    scores: Sequence[LabelLogps | None] = [None] * len(drafts)
    if score:
        both = writer.write_and_score(prompts, questions, limit)
        texts, scores = [text for text, _ in both], [one for _, one in both]
    else:
        texts = writer.write(prompts, limit)
    ended = [
        Ended(text, template.read_conclusion(question, text.text))
        for text, question in zip(texts, questions, strict=True)
    ]
    return [_chain(*parts) for parts in zip(drafts, ended, scores, strict=True)]


class Ended(NamedTuple):
    """How a chain ends."""

    text: Decoded
    answer: str | None
    """Label of the option it chooses; None if it cannot be told."""


def _likeliest(template: Template, draft: Draft, scores: LabelLogps) -> Ended:
    label = max(scores.logps, key=scores.logps.__getitem__)
    return Ended(Decoded(template.conclusion(draft.question, label), 1, is_cut=scores.is_cut), label)


def _chain(draft: Draft, ended: Ended, scores: LabelLogps | None) -> Chain:
    concluded, answer = ended
    texts = (*draft.written, concluded)
    return Chain(
        question_id=draft.question.id,
        sample=draft.thought.sample,
        recall=draft.recall,
        analyses=draft.analyses or (),
        conclusion=concluded.text,
        answer=answer,
        answer_logp=scores.logps[answer] if scores is not None and answer is not None else None,
        option_logps=scores.logps if scores is not None else None,
        count_tokens=sum(text.count_tokens for text in texts),
        count_cut=sum(text.is_cut for text in texts),
        count_stopped=sum(text.is_stopped for text in texts),
    )


def reason_in_one_text(writer: Writer, recipe: Recipe, drafts: Sequence[Draft], draws: Draws) -> list[Chain]:
    """Chains of a plan that writes everything at once (`cot`), read from the text.

    If constrained, the text counts up to its answer, and the most likely option after it is taken.
    """
    template = recipe.template
    prompts = [template.recall_prompt(draft.question) for draft in drafts]
    sampling = draws.of(Stage.REASON, [draft.thought for draft in drafts])
    texts = writer.write(prompts, recipe.max_target_tokens, sampling)
    if recipe.generate.answer != "constrained":
        return [_chain_in(recipe, draft, text) for draft, text in zip(drafts, texts, strict=True)]
    reasons = [template.before_answer(text.text) for text in texts]
    ready = [template.answer_prompt(draft.question, reason) for draft, reason in zip(drafts, reasons, strict=True)]
    chains = []
    for draft, text, reason, scores in zip(
        drafts, texts, reasons, writer.score_labels(ready, [draft.question for draft in drafts]), strict=True
    ):
        ended = _likeliest(template, draft, scores)
        whole = template.with_answer(reason, ended.text.text)
        read = replace(text, text=whole, is_cut=text.is_cut or scores.is_cut)
        chains.append(_chain_in(recipe, draft, read, scores, ended.answer))
    return chains


def _chain_in(
    recipe: Recipe, draft: Draft, text: Decoded, scores: LabelLogps | None = None, answer: str | None = None
) -> Chain:
    found = recipe.template.read_reasoning(draft.question, text.text)
    return Chain(
        question_id=draft.question.id,
        sample=draft.thought.sample,
        recall=found.recall,
        analyses=found.analyses,
        reasoning=text.text,
        conclusion=found.conclusion,
        answer=answer or recipe.template.read_conclusion(draft.question, found.conclusion),
        answer_logp=scores.logps[answer] if scores is not None and answer is not None else None,
        option_logps=scores.logps if scores is not None else None,
        count_tokens=text.count_tokens,
        count_cut=int(text.is_cut),
        count_stopped=int(text.is_stopped),
    )
