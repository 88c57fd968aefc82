"""Interventions: change a student's reasoning before it answers, and see how the answer changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, get_args

from tinythinker.core.errors import StudentError
from tinythinker.core.records import Chain, Question, Stage
from tinythinker.core.seeds import derive_seed, stream
from tinythinker.evaluate.faithfulness import Change, Faithfulness, Part, Reaction, effect_of
from tinythinker.evaluate.score import Interval, wilson
from tinythinker.generate.think import Thought, think
from tinythinker.stages.plan import ANSWERED_WITH
from tinythinker.student.student import Student
from tinythinker.tasks.benchmark import Facts, Pick

_UNTRAINED_TOKENS = 32
"""Most tokens that an untrained student recalls; it does not end by itself."""


class _Asked(NamedTuple):
    """A question, and how the student answered it without intervention."""

    question: Question
    chain: Chain
    answer: str
    donor: Chain
    """The chain of another question."""


class _Changed(NamedTuple):
    """The changed reasoning to answer from, and the answer it argues for."""

    recall: str | None
    analyses: tuple[str, ...] | None
    """None: the student writes new analyses."""
    target: str | None = None


Intervention = Callable[[_Asked], _Changed | None]
"""The changed reasoning for a chain; None if the intervention does not apply to it."""


def probe(
    student: Student, questions: Sequence[Question], *, facts: Facts | None, seed: int, name: str, split: str
) -> Faithfulness:
    """How a student's answers react when parts of its reasoning are changed.

    A recall or an analysis is blanked, swapped with another question's, corrupted, or replaced by the truth.
    All decoding is greedy. Corruption and truth need known facts.

    Args:
        facts: those of the benchmark; None where they are not known.
        seed: decides which chains are swapped and which wrong facts are used.
        name: the student's name in the result.

    Raises:
        StudentError: the student's plan has no reasoning between question and answer that could be changed.
    """
    if not student.recipe.is_trained:
        student = _thinking(student)
    stages = ANSWERED_WITH[student.recipe.stages.plan]
    if not {Stage.RECALL, Stage.ANALYZE} & set(stages):
        raise StudentError(
            f"{name}: found a student of stages.plan={student.recipe.stages.plan}, expected one that writes its "
            "reasoning in stages; an intervention changes a stage"
        )
    chains = think(student, [Thought(question) for question in questions])
    asked = [
        _Asked(question, chain, chain.answer, donor)
        for question, chain, donor in zip(questions, chains, _donors(chains, seed), strict=True)
        if chain.answer is not None
    ]
    effects = []
    for (part, change), intervention in _interventions(stages, facts, seed).items():
        made = [(case, changed) for case in asked if (changed := intervention(case)) is not None]
        answers = _answers(student, [(case.question, changed) for case, changed in made])
        reactions = [
            Reaction(case.answer, answer, str(case.question.gold), changed.target)
            for (case, changed), answer in zip(made, answers, strict=True)
        ]
        effects.append(effect_of(part, change, reactions))
    accuracy = _accuracy(questions, [chain.answer for chain in chains])
    oracle = {} if facts is None else _oracle(student, questions, chains, stages, facts)
    return Faithfulness(
        student=name,
        split=split,
        n=len(asked),
        accuracy=accuracy,
        effects=tuple(effect for effect in effects if effect is not None),
        oracle=oracle,
        costs=_costs(accuracy, oracle),
    )


def _thinking(student: Student) -> Student:
    """An untrained student that recalls something before it answers."""
    recipe = student.recipe
    stages = recipe.stages.model_copy(update={"plan": "recall_summarize"})
    generate = recipe.generate.model_copy(update={"max_recall_tokens": _UNTRAINED_TOKENS})
    return Student(student.model, student.tokenizer, recipe.model_copy(update={"stages": stages, "generate": generate}))


def _donors(chains: Sequence[Chain], seed: int) -> list[Chain]:
    """A different chain for every chain: its successor in a shuffled circle."""
    order = stream(seed, "probe", "donors").permutation(len(chains))
    donors = list(chains)
    for taker, giver in zip(order, [*order[1:], *order[:1]], strict=True):
        donors[taker] = chains[giver]
    return donors


def _answers(student: Student, changed: Sequence[tuple[Question, _Changed]]) -> list[str | None]:
    thoughts = [Thought(question, recall=one.recall, analyses=one.analyses) for question, one in changed]
    return [chain.answer for chain in think(student, thoughts)]


def _accuracy(questions: Sequence[Question], answers: Sequence[str | None]) -> Interval:
    right = sum(answer == question.gold for question, answer in zip(questions, answers, strict=True))
    return wilson(right, len(questions))


def _interventions(
    stages: Sequence[Stage], facts: Facts | None, seed: int
) -> Mapping[tuple[Part, Change], Intervention]:
    made: dict[tuple[Part, Change], Intervention] = {}
    if Stage.RECALL in stages:
        recalls: dict[Change, Intervention] = {"blank": _blank_recall, "swap": _swapped_recall}
        if facts is not None:
            recalls["corrupt"] = lambda case: _wrong_recall(case, facts, seed)
        for change, intervention in recalls.items():
            made["recall", change] = intervention
            if Stage.ANALYZE in stages:
                made["recall, analyses kept", change] = _keeping_analyses(intervention)
    if Stage.ANALYZE in stages:
        part: Part = "chosen option's analysis"
        made[part, "blank"] = _blank_analysis
        made[part, "swap"] = _swapped_analysis
        if facts is not None:
            made[part, "corrupt"] = lambda case: _denied(case, facts, seed)
            made["chosen and another option's analysis", "corrupt"] = lambda case: _turned(case, facts, seed)
    order: Sequence[Part] = get_args(Part)
    return dict(sorted(made.items(), key=lambda item: order.index(item[0][0])))


def _keeping_analyses(intervention: Intervention) -> Intervention:
    def kept(case: _Asked) -> _Changed | None:
        changed = intervention(case)
        # The original analyses do not support the wrong fact's option; only the recall argues for it.
        return None if changed is None else changed._replace(analyses=case.chain.analyses)

    return kept


def _blank_recall(case: _Asked) -> _Changed | None:
    return _Changed("", None) if (case.chain.recall or "").strip(" .") else None


def _swapped_recall(case: _Asked) -> _Changed | None:
    return _Changed(case.donor.recall, None) if case.donor.recall != case.chain.recall else None


def _wrong_recall(case: _Asked, facts: Facts, seed: int) -> _Changed | None:
    claim = facts.wrong_recall(case.question, case.answer, _picker(case, seed))
    return None if claim is None else _Changed(claim.text, None, claim.label)


def _with_analyses(case: _Asked, texts: Mapping[str, str], target: str | None = None) -> _Changed:
    """The chain with some analyses replaced, given by label."""
    by_label = zip(case.question.labels, case.chain.analyses, strict=True)
    return _Changed(case.chain.recall, tuple(texts.get(label, text) for label, text in by_label), target)


def _blank_analysis(case: _Asked) -> _Changed | None:
    said = case.chain.analyses[case.question.labels.index(case.answer)]
    return _with_analyses(case, {case.answer: ""}) if said.strip(" .") else None


def _swapped_analysis(case: _Asked) -> _Changed | None:
    """What another question says of the option in the same place; None if it says the same or has no such option."""
    place = case.question.labels.index(case.answer)
    if place >= len(case.donor.analyses) or case.donor.analyses[place] == case.chain.analyses[place]:
        return None
    return _with_analyses(case, {case.answer: case.donor.analyses[place]})


def _denied(case: _Asked, facts: Facts, seed: int) -> _Changed:
    """A false analysis of the chosen option, against it."""
    return _with_analyses(case, {case.answer: facts.denial(case.question, case.answer, _picker(case, seed))})


def _turned(case: _Asked, facts: Facts, seed: int) -> _Changed:
    """The chosen option denied, and another one said to fit."""
    pick = _picker(case, seed)
    others = [label for label in case.question.labels if label != case.answer]
    target = others[pick("promoted", len(others))]
    denial, promotion = facts.denial(case.question, case.answer, pick), facts.promotion(case.question, pick)
    return _with_analyses(case, {case.answer: denial, target: promotion}, target)


def _picker(case: _Asked, seed: int) -> Pick:
    """Seeded choices that depend on the question and on what is chosen, and on nothing else."""
    return lambda what, count: derive_seed(seed, "probe", what, case.question.id) % count


def _oracle(
    student: Student, questions: Sequence[Question], chains: Sequence[Chain], stages: Sequence[Stage], facts: Facts
) -> dict[str, Interval]:
    """Accuracy when the truth replaces what the student wrote."""
    told: dict[str, list[_Changed]] = {}
    if Stage.RECALL in stages:
        told["true recalls"] = [_Changed(facts.true_recall(question), None) for question in questions]
    if Stage.ANALYZE in stages:
        told["true analyses"] = [
            _Changed(chain.recall, facts.true_analyses(question))
            for question, chain in zip(questions, chains, strict=True)
        ]
    if len(told) == 2:
        told["both"] = [_Changed(facts.true_recall(question), facts.true_analyses(question)) for question in questions]
    return {
        name: _accuracy(questions, _answers(student, list(zip(questions, changes, strict=True))))
        for name, changes in told.items()
    }


def _costs(accuracy: Interval, oracle: Mapping[str, Interval]) -> dict[str, float]:
    """Accuracy lost at every stage, coarse to fine; the losses and the accuracy add up to 1."""
    costs: dict[str, float] = {}
    before = accuracy.share
    if "true recalls" in oracle:
        costs["recall"] = oracle["true recalls"].share - before
        before = oracle["true recalls"].share
    if "true analyses" in oracle:
        after = oracle.get("both", oracle["true analyses"]).share
        costs["analyze"], before = after - before, after
    return {**costs, "summarize": 1 - before} if costs else {}
