"""Storeroom: the built-in benchmark, generated in memory from a seed.

Each invented *thing* has a property, each invented *container* is made of a material, and each property needs
a material. To answer "What should you keep a {thing} in?" takes two facts that no model can have seen before,
and a rule. Every pair of thing and container belongs to one split only, so test questions combine known facts
in new ways. Because every fact is known, we can check whether a recall or an analysis is true.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinythinker.core.errors import SettingsError, expected
from tinythinker.core.records import LABELS, SPLITS, Option, Question
from tinythinker.core.seeds import stream
from tinythinker.settings.schema import RunSettings, StoreroomSettings
from tinythinker.tasks.benchmark import Benchmark, Claim, Entries, Entry, Pick, questions_of

PROPERTIES = ("damp", "brittle", "oily", "hot", "sticky", "sharp", "magnetic", "dusty")
MATERIALS = ("tin", "felt", "clay", "wood", "wax", "cork", "glass", "linen")
_ONSETS = "b bl d dr f fl g gr k kl l m n p pl r s sk st t tr v z".split()
_VOWELS, _CODAS = list("aeiou"), list("bdfgklmnprstvz")
_STEM = "What should you keep a {} in?"

# The student never learns to write the name of a thing that no rationale mentions, so recalls name no thing.
_RECALLS = (
    "it is {kinds}{property} and needs {material}.",
    "being {kinds}{property}, it needs {material}.",
)
_KIND = "a {}, so "
# The verdict closely follows the option's label, within reach of a small student's exact relative positions.
_FITTING = ("its {material} fits.", "the {material} fits.")
_UNFITTING = ("its {material} does not fit.", "the {material} does not fit.")


@dataclass(frozen=True)
class Storeroom:
    """All facts of one invented world."""

    property_of: dict[str, str]
    """Property of every thing."""
    material_of: dict[str, str]
    """Material of every container."""
    needs: dict[str, str]
    """Material that every property needs."""
    kinds_of: dict[str, tuple[str, ...]]
    """Kinds that lead from every thing to its property, nearest first; empty with one hop."""
    annotated: frozenset[str]
    """The things that the teacher mentions; the others occur only in labelled questions."""

    def thing(self, question: Question) -> str:
        """The thing that a question is about."""
        before, after = _STEM.split("{}")
        return question.stem.removeprefix(before).removesuffix(after)

    def recalls(self, thing: str, prop: str | None = None) -> list[str]:
        """Every wording of a recall about a thing: with its true property, or with `prop` if given."""
        prop = prop or self.property_of[thing]
        kinds = "".join(_KIND.format(kind) for kind in self.kinds_of[thing])
        return [text.format(kinds=kinds, property=prop, material=self.needs[prop]) for text in _RECALLS]

    def analyses(self, thing: str, container: str) -> list[str]:
        """Every wording of a true analysis of whether a container fits a thing."""
        material = self.material_of[container]
        return self.wordings(material, fits=material == self.needs[self.property_of[thing]])

    @staticmethod
    def wordings(material: str, *, fits: bool) -> list[str]:
        """Every wording of a claim, true or not, about a container's material and whether it fits."""
        return [text.format(material=material) for text in (_FITTING if fits else _UNFITTING)]

    def true_recall(self, question: Question) -> str:
        """See `Facts.true_recall`."""
        return self.recalls(self.thing(question))[0]

    def true_analyses(self, question: Question) -> tuple[str, ...]:
        """See `Facts.true_analyses`."""
        thing = self.thing(question)
        return tuple(self.analyses(thing, option.text)[0] for option in question.options)

    def wrong_recall(self, question: Question, answer: str, pick: Pick) -> Claim | None:
        """A wrong property, one for which only one option fits, and not `answer`; None if there is none."""
        material_of = {option.label: self.material_of[option.text] for option in question.options}
        thing = self.thing(question)
        found = [
            (prop, label)
            for prop, needed in self.needs.items()
            if prop != self.property_of[thing]
            for label in question.labels
            if label != answer and [other for other, m in material_of.items() if m == needed] == [label]
        ]
        if not found:
            return None
        prop, label = found[pick("recall", len(found))]
        wordings = self.recalls(thing, prop)
        return Claim(wordings[pick("wording", len(wordings))], label)

    def denial(self, question: Question, label: str, pick: Pick) -> str:
        """A wrong material for an option, and that it does not fit."""
        container = question.text_of(label)
        wrong = [
            material
            for material in self.needs.values()
            if material not in (self.material_of[container], self.needed(question))
        ]
        # With two materials there is no third one: then the denial alone is wrong.
        material = wrong[pick("denial", len(wrong))] if wrong else self.material_of[container]
        return self.wordings(material, fits=False)[pick("wording", 2)]

    def promotion(self, question: Question, pick: Pick) -> str:
        """That an option is of the needed material."""
        return self.wordings(self.needed(question), fits=True)[pick("wording", 2)]

    def needed(self, question: Question) -> str:
        """The material that the question's thing needs."""
        return self.needs[self.property_of[self.thing(question)]]

    def recall_is_fact(self, question: Question, recall: str) -> bool:
        """Does this recall truly state, in a known wording, the thing's property and what that needs?"""
        return recall in self.recalls(self.thing(question))

    def analysis_is_fact(self, question: Question, label: str, analysis: str) -> bool:
        """Does this analysis truly state, in a known wording, the option's material and whether it fits?"""
        container = question.text_of(label)
        return analysis in self.analyses(self.thing(question), container)


class StoreroomBenchmark(Benchmark):
    """Questions and facts made from `storeroom.*` and the seed; nothing is read."""

    title = "Storeroom"

    def read(self, settings: RunSettings) -> Entries:
        """See `Benchmark.read`: parts `train`, `valid` and `test`."""
        world = build_storeroom(settings.storeroom, settings.seed)
        made = build_questions(world, settings.storeroom, settings.seed)
        return Entries({name: [Entry(question) for question in questions] for name, questions in made.items()})

    def split(self, parts: Mapping[str, Sequence[Entry]], settings: RunSettings) -> Mapping[str, Sequence[Question]]:
        """See `Benchmark.split`."""
        return {name: questions_of(part) for name, part in parts.items()}

    def facts(self, settings: RunSettings) -> Storeroom:
        """See `Benchmark.facts`."""
        return build_storeroom(settings.storeroom, settings.seed)


def _names(rng: np.random.Generator, taken: Iterable[str] = ()) -> Iterator[str]:
    """Invented two-syllable words, all different."""
    seen = set(taken)
    while True:
        name = "".join(str(rng.choice(letters)) for letters in (_ONSETS, _VOWELS, _CODAS, _VOWELS, _CODAS))
        if name not in seen:
            seen.add(name)
            yield name


def _shuffled(items: Iterable[str], rng: np.random.Generator) -> list[str]:
    listed = list(items)
    return [listed[i] for i in rng.permutation(len(listed))]


def build_storeroom(settings: StoreroomSettings, seed: int) -> Storeroom:
    """The world of a seed; the same settings and seed give the same facts."""
    rng = stream(seed, "storeroom", "world")
    names = _names(rng)
    things = [next(names) for _ in range(settings.things)]
    containers = [next(names) for _ in range(settings.containers)]
    properties = _shuffled(PROPERTIES, rng)[: settings.materials]
    materials = _shuffled(MATERIALS, rng)[: settings.materials]
    count_annotated = round(settings.annotated * settings.things)
    property_of = {thing: properties[i % settings.materials] for i, thing in enumerate(_shuffled(things, rng))}
    return Storeroom(
        property_of=property_of,
        kinds_of=_kinds(property_of, settings.hops, [*things, *containers], seed),
        material_of={c: materials[i % settings.materials] for i, c in enumerate(_shuffled(containers, rng))},
        needs=dict(zip(properties, materials, strict=True)),
        annotated=frozenset(_shuffled(things, rng)[:count_annotated]),
    )


def _kinds(property_of: dict[str, str], hops: int, taken: Iterable[str], seed: int) -> dict[str, tuple[str, ...]]:
    """Kinds from which every thing's property follows in `hops` steps, drawn from two at every step.

    Args:
        taken: names that are in use already.
    """
    rng = stream(seed, "storeroom", "kinds")
    names = _names(rng, taken)
    kinds: dict[tuple[str, ...], tuple[str, str]] = {}

    def lineage(prop: str) -> tuple[str, ...]:
        path = [prop]
        while len(path) < hops:
            two = kinds.setdefault(tuple(path), (next(names), next(names)))
            path.append(two[int(rng.integers(2))])
        return tuple(path[:0:-1])

    return {thing: lineage(property_of[thing]) for thing in sorted(property_of)}


def build_questions(world: Storeroom, settings: StoreroomSettings, seed: int) -> dict[str, list[Question]]:
    """Questions of every split; no pair of thing and container occurs in two splits.

    Raises:
        SettingsError: too few containers for the options, or too few combinations for the questions.
    """
    pools = {thing: _divide(world, thing, settings, seed) for thing in world.property_of}
    counts = {"train": settings.train, "valid": settings.valid, "test": settings.test}
    return {split: list(_draw(world, pools, split, counts[split], settings.options, seed)) for split in SPLITS}


Pool = tuple[list[str], list[str]]
"""Containers for one thing in one split: those that fit, and those that do not."""


def _divide(world: Storeroom, thing: str, settings: StoreroomSettings, seed: int) -> dict[str, Pool]:
    """Divide the containers for a thing among train, valid and test: three fifths, one fifth, one fifth."""
    rng = stream(seed, "storeroom", "pool", thing)
    needed = world.needs[world.property_of[thing]]
    shares: dict[str, Pool] = {split: ([], []) for split in SPLITS}
    for which, fits in enumerate((True, False)):
        containers = _shuffled([c for c, m in world.material_of.items() if (m == needed) == fits], rng)
        for i, container in enumerate(containers):
            split = ("test", "valid", "train", "train", "train")[i % 5]
            shares[split][which].append(container)
    for split, (fitting, others) in shares.items():
        if not fitting or len(others) < settings.options - 1:
            raise SettingsError(
                expected(
                    f"storeroom.containers ({split} questions)",
                    settings.containers,
                    f"more, for {settings.materials} materials and {settings.options} options",
                )
            )
    return shares


def _draw(
    world: Storeroom, pools: dict[str, dict[str, Pool]], split: str, count: int, options: int, seed: int
) -> Iterator[Question]:
    rng = stream(seed, "storeroom", "questions", split)
    things = list(world.property_of)
    most = len(things) * min(
        len(pool[split][0]) * math.comb(len(pool[split][1]), options - 1) for pool in pools.values()
    )
    if count > most:
        raise SettingsError(expected(f"storeroom.{split}", count, f"at most {most} different questions"))
    seen: set[tuple[str, ...]] = set()
    while len(seen) < count:
        thing = things[len(seen) % len(things)]
        fitting, others = pools[thing][split]
        gold = str(rng.choice(fitting))
        offered = _shuffled([gold, *rng.choice(others, size=options - 1, replace=False)], rng)
        key = (thing, *sorted(offered))
        if key in seen:
            continue
        seen.add(key)
        yield Question(
            id=f"storeroom-{split}-{len(seen):05d}",
            stem=_STEM.format(thing),
            options=tuple(Option(label=label, text=str(text)) for label, text in zip(LABELS, offered, strict=False)),
            gold=LABELS[offered.index(gold)],
        )
