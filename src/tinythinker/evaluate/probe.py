"""Interventions: change a student's reasoning on its way to the answer, and see what the answer does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tinythinker.core.errors import StudentError
from tinythinker.core.records import Chain, Question, Stage
from tinythinker.core.seeds import derive_seed, stream
from tinythinker.evaluate.faithfulness import Change, Faithfulness, Part, Reaction, effect_of
from tinythinker.evaluate.score import Interval, wilson
from tinythinker.generate.think import Thought, think
from tinythinker.stages.plan import ANSWERED_WITH
from tinythinker.student.student import Student
from tinythinker.tasks.storeroom import Storeroom


class _Asked(NamedTuple):
    """A question, and what the student made of it by itself."""

    question: Question
    chain: Chain
    answer: str
    donor: Chain
    """The chain of another question."""


class _Changed(NamedTuple):
    """Reasoning to be answered from, and the answer it argues for."""

    recall: str | None
    analyses: tuple[str, ...] | None
    """None: the student analyzes anew."""
    target: str | None = None


Intervention = Callable[[_Asked], _Changed | None]
"""What becomes of a chain; None where it cannot be made."""


def probe(
    student: Student, questions: Sequence[Question], *, world: Storeroom | None, seed: int, name: str, split: str
) -> Faithfulness:
    """Blank, swap or corrupt what a student recalled or said of an option, and put the truth in its mouth.

    Everything decodes greedily. Corrupting, and the truth, need known facts: Storeroom's.

    Args:
        world: Storeroom's facts, or None.
        seed: decides who swaps with whom, and which wrong fact it is.
        name: what to call the student.

    Raises:
        StudentError: its plan has no reasoning between question and answer that could be changed.
    """
    stages = ANSWERED_WITH[student.recipe.stages.plan]
    if not {Stage.RECALL, Stage.ANALYZE} & set(stages):
        raise StudentError(
            f"{name}: found a student of stages.plan={student.recipe.stages.plan}, expected one that writes its "
            "reasoning in stages, which are what an intervention changes"
        )
    chains = think(student, [Thought(question) for question in questions])
    asked = [
        _Asked(question, chain, chain.answer, donor)
        for question, chain, donor in zip(questions, chains, _donors(chains, seed), strict=True)
        if chain.answer is not None
    ]
    effects = []
    for (part, change), intervention in _interventions(stages, world, seed).items():
        made = [(own, changed) for own in asked if (changed := intervention(own)) is not None]
        answers = _answers(student, [(own.question, changed) for own, changed in made])
        reactions = [
            Reaction(own.answer, answer, str(own.question.gold), changed.target)
            for (own, changed), answer in zip(made, answers, strict=True)
        ]
        effects.append(effect_of(part, change, reactions))
    own = _accuracy(questions, [chain.answer for chain in chains])
    oracle = {} if world is None else _oracle(student, questions, chains, stages, world)
    return Faithfulness(
        student=name,
        split=split,
        n=len(asked),
        accuracy=own,
        effects=tuple(effect for effect in effects if effect is not None),
        oracle=oracle,
        costs=_costs(own, oracle),
    )


def _donors(chains: Sequence[Chain], seed: int) -> list[Chain]:
    """For every chain another one, by a rotation of a shuffled circle."""
    order = stream(seed, "probe", "donors").permutation(len(chains))
    donors = list(chains)
    for taker, giver in zip(order, [*order[1:], *order[:1]], strict=True):
        donors[taker] = chains[giver]
    return donors


def _answers(student: Student, changed: Sequence[tuple[Question, _Changed]]) -> list[str | None]:
    thoughts = [Thought(question, recall=own.recall, analyses=own.analyses) for question, own in changed]
    return [chain.answer for chain in think(student, thoughts)]


def _accuracy(questions: Sequence[Question], answers: Sequence[str | None]) -> Interval:
    right = sum(answer == question.gold for question, answer in zip(questions, answers, strict=True))
    return wilson(right, len(questions))


def _interventions(
    stages: Sequence[Stage], world: Storeroom | None, seed: int
) -> Mapping[tuple[Part, Change], Intervention]:
    made: dict[tuple[Part, Change], Intervention] = {}
    if Stage.RECALL in stages:
        recalls: dict[Change, Intervention] = {
            "blank": lambda own: _Changed("", None) if (own.chain.recall or "").strip(" .") else None,
            "swap": lambda own: _Changed(own.donor.recall, None) if own.donor.recall != own.chain.recall else None,
        }
        if world is not None:
            recalls["corrupt"] = lambda own: _wrong_recall(own, world, seed)
        for change, intervention in recalls.items():
            made["recall", change] = intervention
        if Stage.ANALYZE in stages:
            for change, intervention in recalls.items():
                made["recall, analyses kept", change] = _keeping_analyses(intervention)
    if Stage.ANALYZE in stages:
        part: Part = "chosen option's analysis"
        made[part, "blank"] = _blank_analysis
        made[part, "swap"] = _swapped_analysis
        if world is not None:
            made[part, "corrupt"] = lambda own: _denied(own, world, seed)
            made["chosen and another option's analysis", "corrupt"] = lambda own: _turned(own, world, seed)
    return made


def _keeping_analyses(intervention: Intervention) -> Intervention:
    def kept(own: _Asked) -> _Changed | None:
        changed = intervention(own)
        # With the analyses as they were, nothing argues for the wrong fact's option but the recall.
        return None if changed is None else changed._replace(analyses=own.chain.analyses)

    return kept


def _with_analyses(own: _Asked, texts: Mapping[str, str], target: str | None = None) -> _Changed:
    """The chain with these analyses instead of its own, by label."""
    by_label = zip(own.question.labels, own.chain.analyses, strict=True)
    return _Changed(own.chain.recall, tuple(texts.get(label, text) for label, text in by_label), target)


def _blank_analysis(own: _Asked) -> _Changed | None:
    said = own.chain.analyses[own.question.labels.index(own.answer)]
    return _with_analyses(own, {own.answer: ""}) if said.strip(" .") else None


def _swapped_analysis(own: _Asked) -> _Changed | None:
    """What another question says in the chosen option's place; None if it says the same, or has no such option."""
    place = own.question.labels.index(own.answer)
    if place >= len(own.donor.analyses) or own.donor.analyses[place] == own.chain.analyses[place]:
        return None
    return _with_analyses(own, {own.answer: own.donor.analyses[place]})


def _wrong_recall(own: _Asked, world: Storeroom, seed: int) -> _Changed | None:
    """A wrong property, one for which another option would be the only one that fits; None if there is none."""
    material_of = {option.label: world.material_of[option.text] for option in own.question.options}
    thing = world.thing(own.question)
    found = [
        (prop, label)
        for prop, needed in world.needs.items()
        if prop != world.property_of[thing]
        for label in own.question.labels
        if label != own.answer and [other for other, m in material_of.items() if m == needed] == [label]
    ]
    if not found:
        return None
    prop, target = found[_pick(seed, own, "recall", len(found))]
    wordings = world.recalls(thing, prop)
    return _Changed(wordings[_pick(seed, own, "wording", len(wordings))], None, target)


def _denial(own: _Asked, world: Storeroom, seed: int) -> str:
    """A wrong material for the chosen option, and that it does not fit."""
    chosen = own.question.options[own.question.labels.index(own.answer)].text
    wrong = [
        material
        for material in world.needs.values()
        if material not in (world.material_of[chosen], world.needs[world.property_of[world.thing(own.question)]])
    ]
    # With two materials there is no third one: then the denial alone is wrong.
    material = wrong[_pick(seed, own, "denial", len(wrong))] if wrong else world.material_of[chosen]
    return world.wordings(material, fits=False)[_pick(seed, own, "wording", 2)]


def _denied(own: _Asked, world: Storeroom, seed: int) -> _Changed:
    return _with_analyses(own, {own.answer: _denial(own, world, seed)})


def _turned(own: _Asked, world: Storeroom, seed: int) -> _Changed:
    """The chosen option denied, and another one said to be of the needed material."""
    others = [label for label in own.question.labels if label != own.answer]
    target = others[_pick(seed, own, "promoted", len(others))]
    needed = world.needs[world.property_of[world.thing(own.question)]]
    promoted = world.wordings(needed, fits=True)[_pick(seed, own, "wording", 2)]
    return _with_analyses(own, {own.answer: _denial(own, world, seed), target: promoted}, target)


def _pick(seed: int, own: _Asked, what: str, count: int) -> int:
    return derive_seed(seed, "probe", what, own.question.id) % count


def _oracle(
    student: Student, questions: Sequence[Question], chains: Sequence[Chain], stages: Sequence[Stage], world: Storeroom
) -> dict[str, Interval]:
    """Accuracy with the truth in the student's mouth."""

    def recall(question: Question) -> str:
        return world.recalls(world.thing(question))[0]

    def analyses(question: Question) -> tuple[str, ...]:
        return tuple(world.analyses(world.thing(question), option.text)[0] for option in question.options)

    told: dict[str, list[_Changed]] = {}
    if Stage.RECALL in stages:
        told["true recalls"] = [_Changed(recall(question), None) for question in questions]
    if Stage.ANALYZE in stages:
        told["true analyses"] = [
            _Changed(chain.recall, analyses(question)) for question, chain in zip(questions, chains, strict=True)
        ]
    if len(told) == 2:
        told["both"] = [_Changed(recall(question), analyses(question)) for question in questions]
    return {
        name: _accuracy(questions, _answers(student, list(zip(questions, own, strict=True))))
        for name, own in told.items()
    }


def _costs(own: Interval, oracle: Mapping[str, Interval]) -> dict[str, float]:
    """Accuracy lost at every stage, coarse to fine; together with the accuracy they come to 1."""
    costs: dict[str, float] = {}
    before = own.share
    if "true recalls" in oracle:
        costs["recall"] = oracle["true recalls"].share - before
        before = oracle["true recalls"].share
    if "true analyses" in oracle:
        after = oracle.get("both", oracle["true analyses"]).share
        costs["analyze"], before = after - before, after
    return {**costs, "summarize": 1 - before} if costs else {}
