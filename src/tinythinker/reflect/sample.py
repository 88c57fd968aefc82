"""Sampling from the student, and the pairs of one round; every chain lands on disk as it comes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinythinker.core import ranks
from tinythinker.core.files import complete, read_records, write_json, write_records
from tinythinker.core.progress import say
from tinythinker.core.records import Chain, PreferencePair, Question, Rationale, Stage
from tinythinker.core.seeds import stream
from tinythinker.generate.think import Draws, Thought, think
from tinythinker.reflect.pairs import (
    PairCounts,
    analyze_pairs,
    chosen_and_rejected,
    recall_pairs,
    share_out,
    solved,
)
from tinythinker.settings.schema import ReflectSettings, in_round
from tinythinker.stages.plan import PLANS
from tinythinker.student.encode import target_ids
from tinythinker.student.student import Student
from tinythinker.tasks.registry import draw

CHUNK = 512
"""Chains between two writes to disk."""
MOST_EXTRA = 4
"""A question that samples are spent on gets at most so many times the usual number on top."""


@dataclass(frozen=True)
class Sampler:
    """Draws the chains of one round."""

    student: Student
    settings: ReflectSettings
    folder: Path
    """The round's."""
    number: int
    """The round's, from 1."""
    seed: int
    """The round's own."""

    @property
    def count(self) -> int:
        """Samples per question in this round."""
        return in_round(self.settings.samples_per_question, self.number)

    def recalls(self, questions: Sequence[Question]) -> list[list[Chain]]:
        """Chains with a sampled recall, by question."""
        is_even = self.settings.sampling == "even"
        first = self.count if is_even else -(-self.count // 2)
        chains = self._first(questions, first)
        if is_even:
            return chains
        budget = len(questions) * (self.count - first)
        shares = [solved(own, question) for own, question in zip(chains, questions, strict=True)]
        extra = share_out(budget, shares, MOST_EXTRA * self.count)
        thoughts = [
            Thought(question, first + i) for question, more in zip(questions, extra, strict=True) for i in range(more)
        ]
        added = iter(self._sample("more-chains.jsonl", thoughts, Stage.RECALL))
        return [[*own, *(next(added) for _ in range(more))] for own, more in zip(chains, extra, strict=True)]

    def _first(self, questions: Sequence[Question], count: int) -> list[list[Chain]]:
        thoughts = [Thought(question, i) for question in questions for i in range(count)]
        return list(_groups(self._sample("chains.jsonl", thoughts, Stage.RECALL), count))

    def analyses(self, recalled: Sequence[tuple[Question, str | None]]) -> list[list[Chain]]:
        """Chains with sampled analyses, by question and recall."""
        # One number per chain of a question, also across its recalls, so that no two share a random stream.
        numbers: dict[str, int] = defaultdict(int)
        thoughts = []
        for question, recall in recalled:
            for _ in range(self.count):
                thoughts.append(Thought(question, numbers[question.id], recall))
                numbers[question.id] += 1
        return list(_groups(self._sample("analyze-chains.jsonl", thoughts, Stage.ANALYZE), self.count))

    def _sample(self, file: str, thoughts: Sequence[Thought], stage: Stage) -> list[Chain]:
        draws = Draws(in_round(self.settings.temperature, self.number), self.seed, frozenset({stage}))

        def work(some: Sequence[Thought]) -> list[Chain]:
            return think(self.student, some, draws=draws)

        name = f"{self.folder.name}: sampling to {stage}"
        chains = complete(self.folder / file, Chain, thoughts, work, chunk=CHUNK, name=name)
        if cut := sum(chain.count_cut > 0 for chain in chains):
            say(
                f"{self.folder.name}: {cut} of {len(chains)} chains had a prompt that lost its front "
                "(student.max_prompt_tokens)"
            )
        return chains


def _groups(chains: Sequence[Chain], size: int) -> Iterator[list[Chain]]:
    for start in range(0, len(chains), size):
        yield list(chains[start : start + size])


def draw_questions(questions: Sequence[Question], settings: ReflectSettings, seed: int) -> list[Question]:
    """The questions of one round: those with a known answer, or a seeded draw of them in their own order."""
    return draw([question for question in questions if question.gold is not None], settings.questions, seed, "round")


def make_pairs(
    sampler: Sampler,
    questions: Sequence[Question],
    rationales: Sequence[Rationale],
    earlier: Sequence[PreferencePair],
) -> list[PreferencePair]:
    """Sample and pair, or read the pairs if that is done.

    Args:
        questions: of the training split.
        earlier: pairs of earlier rounds to train on, too.

    Returns:
        The round's own pairs, which are also in `pairs.jsonl`, then those of the earlier rounds; no pair twice.
    """
    file = sampler.folder / "pairs.jsonl"
    if not ranks.on_first(file.exists):
        _write_pairs(file, sampler, questions, rationales, earlier)
    return _distinct([*read_records(file, PreferencePair), *earlier])


def _distinct(pairs: Iterable[PreferencePair]) -> list[PreferencePair]:
    """The pairs, the first one of those that say the same."""
    first: dict[tuple[str, str, str], PreferencePair] = {}
    for pair in pairs:
        first.setdefault((pair.prompt, pair.chosen, pair.rejected), pair)
    return list(first.values())


def _write_pairs(
    file: Path,
    sampler: Sampler,
    questions: Sequence[Question],
    rationales: Sequence[Rationale],
    earlier: Sequence[PreferencePair],
) -> None:
    student, settings, seed = sampler.student, sampler.settings, sampler.seed
    asked = draw_questions(questions, settings, seed)
    stages, template = PLANS[student.recipe.stages.plan], student.recipe.template
    pairs: list[PreferencePair] = []
    sampled: list[list[Chain]] = []
    chosen: list[tuple[Question, str | None]] = [(question, None) for question in asked]

    if Stage.RECALL in stages:
        teacher: Mapping[str, list[str]] = defaultdict(list)
        for rationale in rationales:
            teacher[rationale.question_id].append(rationale.recall)
        chosen = []
        by_question = sampler.recalls(asked)
        sampled += by_question
        for question, own in zip(asked, by_question, strict=True):
            chosen += [(question, recall) for recall in chosen_and_rejected(own, question)[0]]
            if "recall" in settings.stages:
                rng, known = stream(seed, "pairs", "recall", question.id), teacher.get(question.id, [])
                pairs += recall_pairs(question, own, known, template, rng, on_policy=settings.on_policy)

    if Stage.ANALYZE in stages and "analyze" in settings.stages:
        by_recall = sampler.analyses(chosen)
        sampled += by_recall
        for i, ((question, _), own) in enumerate(zip(chosen, by_recall, strict=True)):
            pairs += analyze_pairs(question, own, template, stream(seed, "pairs", "analyze", question.id, i))

    pairs = _distinct(pairs)
    counts = _count(student, len(asked), sampled, pairs, len(_distinct([*pairs, *earlier])) - len(pairs))

    def write() -> None:
        write_json(sampler.folder / "counts.json", counts.model_dump())
        write_records(file, pairs)  # last: with it the sampling is done

    ranks.on_first(write)
    say(
        f"{sampler.folder.name}: {counts.recall_pairs} recall and {counts.analyze_pairs} analyze pairs from "
        f"{counts.questions_with_pairs} of {counts.questions} questions"
    )


def _count(
    student: Student,
    questions: int,
    sampled: Sequence[Sequence[Chain]],
    pairs: Sequence[PreferencePair],
    replayed: int,
) -> PairCounts:
    def mean_tokens(texts: list[str]) -> float:
        return sum(map(len, target_ids(student, texts).ids)) / len(texts) if texts else 0.0

    return PairCounts(
        questions=questions,
        questions_with_pairs=len({pair.question_id for pair in pairs}),
        samples=sum(map(len, sampled)),
        repeated=sum(len(own) - len({(chain.recall, chain.analyses) for chain in own}) for own in sampled),
        unreadable=sum(chain.answer is None for own in sampled for chain in own),
        recall_pairs=sum(pair.stage is Stage.RECALL for pair in pairs),
        analyze_pairs=sum(pair.stage is Stage.ANALYZE for pair in pairs),
        from_teacher=sum(pair.is_from_teacher for pair in pairs),
        replayed=replayed,
        chosen_tokens=mean_tokens([pair.chosen for pair in pairs]),
        rejected_tokens=mean_tokens([pair.rejected for pair in pairs]),
    )
