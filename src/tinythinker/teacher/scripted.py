"""Storeroom's teacher: knows every fact of the world, and errs only when told to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from tinythinker.core.records import Question, Rationale, Rejected
from tinythinker.core.seeds import stream
from tinythinker.settings.schema import TeacherSettings
from tinythinker.tasks.storeroom import Storeroom
from tinythinker.teacher.llm.parse import parse_completion, render_completion


def scripted_rationales(
    world: Storeroom, questions: Iterable[Question], settings: TeacherSettings, seed: int, *, per_question: int = 1
) -> Iterator[Rationale | Rejected]:
    """Rationales for every question about an annotated thing, in a seeded choice of wordings.

    A share `settings.wrong` states a wrong fact yet still defends the gold label, as a teacher does that was shown
    the answer; a share `settings.malformed` loses a line and is rejected by the parser.
    """
    for question in questions:
        if world.thing(question) in world.annotated:
            for number in range(per_question):
                # The first one is what it would be alone.
                yield _rationale(
                    world, question, settings, stream(seed, "scripted", question.id, *([number] if number else []))
                )


def _rationale(
    world: Storeroom, question: Question, settings: TeacherSettings, rng: np.random.Generator
) -> Rationale | Rejected:
    is_wrong, is_malformed = rng.random() < settings.wrong, rng.random() < settings.malformed
    rationale = _wrong(world, question, rng) if is_wrong else _true(world, question, rng)
    lines = render_completion(question, rationale).split("\n")
    if is_malformed:
        del lines[int(rng.integers(len(lines)))]
    return parse_completion("\n".join(lines), question)


def _true(world: Storeroom, question: Question, rng: np.random.Generator) -> Rationale:
    thing = world.thing(question)
    return Rationale(
        question_id=question.id,
        recall=str(rng.choice(world.recalls(thing))),
        analyses=tuple(str(rng.choice(world.analyses(thing, option.text))) for option in question.options),
    )


def _wrong(world: Storeroom, question: Question, rng: np.random.Generator) -> Rationale:
    """A wrong property of the thing, and a gold option bent to match it."""
    thing = world.thing(question)
    others = [prop for prop in world.needs if prop != world.property_of[thing]]
    prop = str(rng.choice(others))
    analyses = []
    for option in question.options:
        is_gold = option.label == question.gold
        material = world.needs[prop] if is_gold else world.material_of[option.text]
        analyses.append(str(rng.choice(world.wordings(material, fits=is_gold))))
    return Rationale(
        question_id=question.id, recall=str(rng.choice(world.recalls(thing, prop))), analyses=tuple(analyses)
    )
