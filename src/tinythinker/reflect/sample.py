"""Sampling from the student, and the pairs of one round; chains are written to disk as they are made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinythinker.core import ranks
from tinythinker.core.files import complete, read_records, write_record, write_records
from tinythinker.core.progress import say
from tinythinker.core.records import Chain, PreferencePair, Question, Rationale, Stage
from tinythinker.core.run import RoundFolder
from tinythinker.core.seeds import stream
from tinythinker.core.text import finished
from tinythinker.generate.think import Draws, Thought, think
from tinythinker.reflect.given import read_pairs
from tinythinker.reflect.pairs import (
    Backup,
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
from tinythinker.tasks.split import draw

CHUNK = 512
"""Chains between two writes to disk."""
MOST_EXTRA = 4
"""Most extra samples that one question can get, as a multiple of the usual number."""


@dataclass(frozen=True)
class Sampler:
    """Draws the chains of one round."""

    student: Student
    settings: ReflectSettings
    folder: RoundFolder
    """Folder of the round."""
    number: int
    """Number of the round, from 1."""
    seed: int
    """Seed of the round."""

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
        shares = [solved(some, question) for some, question in zip(chains, questions, strict=True)]
        extra = share_out(budget, shares, MOST_EXTRA * self.count)
        thoughts = [
            Thought(question, first + i) for question, more in zip(questions, extra, strict=True) for i in range(more)
        ]
        added = iter(self._sample(self.folder.more_chains, thoughts, Stage.RECALL))
        return [[*some, *(next(added) for _ in range(more))] for some, more in zip(chains, extra, strict=True)]

    def _first(self, questions: Sequence[Question], count: int) -> list[list[Chain]]:
        thoughts = [Thought(question, i) for question in questions for i in range(count)]
        return list(_groups(self._sample(self.folder.chains, thoughts, Stage.RECALL), count))

    def analyses(self, recalled: Sequence[tuple[Question, str | None]]) -> list[list[Chain]]:
        """Chains with sampled analyses, by question and recall."""
        # A question's chains are numbered across all its recalls, so that no two share a random stream.
        numbers: dict[str, int] = defaultdict(int)
        thoughts = []
        for question, recall in recalled:
            for _ in range(self.count):
                thoughts.append(Thought(question, numbers[question.id], recall))
                numbers[question.id] += 1
        return list(_groups(self._sample(self.folder.analyze_chains, thoughts, Stage.ANALYZE), self.count))

    def _sample(self, file: Path, thoughts: Sequence[Thought], stage: Stage) -> list[Chain]:
        draws = Draws(in_round(self.settings.temperature, self.number), self.seed, frozenset({stage}))

        def work(some: Sequence[Thought]) -> list[Chain]:
            return think(self.student, some, draws=draws)

        name = f"{self.folder.name}: sampling to {stage}"
        chains = complete(file, Chain, thoughts, work, fits=_fits, chunk=CHUNK, name=name)
        if cut := sum(chain.count_cut > 0 for chain in chains):
            say(
                f"{self.folder.name}: {cut} of {len(chains)} chains had too long a prompt, "
                "which lost part of its reasoning (student.max_prompt_tokens)"
            )
        return chains


def _fits(thought: Thought, chain: Chain) -> bool:
    return (chain.question_id, chain.sample) == (thought.question.id, thought.sample)


def _groups(chains: Sequence[Chain], size: int) -> Iterator[list[Chain]]:
    for start in range(0, len(chains), size):
        yield list(chains[start : start + size])


def draw_questions(questions: Sequence[Question], settings: ReflectSettings, seed: int) -> list[Question]:
    """The questions of one round: all with a known gold label, or a seeded draw of them, in order."""
    return draw([question for question in questions if question.gold is not None], settings.questions, seed, "round")


def make_pairs(
    sampler: Sampler,
    questions: Sequence[Question],
    rationales: Sequence[Rationale],
    earlier: Sequence[PreferencePair],
) -> list[PreferencePair]:
    """The pairs to train on in a round, sampled now or read if that is already done.

    Args:
        questions: the training split.
        earlier: pairs of earlier rounds to train on as well.

    Returns:
        The round's own pairs, which are also in `pairs.jsonl`, then those of earlier rounds, without repeats.
    """
    file = sampler.folder.pairs
    if not ranks.on_first(file.exists):
        if sampler.settings.pairs is None:
            _write_pairs(file, sampler, questions, rationales, earlier)
        else:
            _take_pairs(file, sampler, read_pairs(sampler.settings.pairs), earlier)
    return _distinct([*read_records(file, PreferencePair), *earlier])


def _distinct(pairs: Iterable[PreferencePair]) -> list[PreferencePair]:
    """Pairs without repeats: of equal texts, the first pair stays."""
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
    settings = sampler.settings
    asked = draw_questions(questions, settings, sampler.seed)
    stages = PLANS[sampler.student.recipe.stages.plan]
    given: dict[str, list[Rationale]] = defaultdict(list)
    for rationale in rationales:
        given[rationale.question_id].append(rationale)
    pairs: list[PreferencePair] = []
    sampled: list[list[Chain]] = []
    under: list[tuple[Question, str | None, Sequence[Backup]]] = [(question, None, ()) for question in asked]
    if Stage.RECALL in stages:
        chains = sampler.recalls(asked)
        sampled += chains
        made = _pairs_of_recalls(sampler, asked, chains, given)
        under = [
            (question, recall, _backups(recall, some, given[question.id]) if settings.fallback else ())
            for question, some, own in zip(asked, chains, made, strict=True)
            for recall in _recalls_to_analyze(settings, question, some, own)
        ]
        if "recall" in settings.stages:
            pairs += [pair for own in made for pair in own]
    if Stage.ANALYZE in stages and "analyze" in settings.stages:
        chains = sampler.analyses([(question, recall) for question, recall, _ in under])
        sampled += chains
        pairs += _pairs_of_analyses(sampler, [(question, backups) for question, _, backups in under], chains)
    counts = _store(file, sampler, len(asked), sampled, pairs, earlier)
    say(
        f"{sampler.folder.name}: {counts.recall_pairs} recall and {counts.analyze_pairs} analyze pairs from "
        f"{counts.questions_with_pairs} of {counts.questions} questions"
    )


def _take_pairs(
    file: Path, sampler: Sampler, given: Sequence[PreferencePair], earlier: Sequence[PreferencePair]
) -> None:
    counts = _store(file, sampler, len({pair.question_id for pair in given}), [], given, earlier)
    say(
        f"{sampler.folder.name}: {counts.recall_pairs} recall and {counts.analyze_pairs} analyze pairs from "
        f"{sampler.settings.pairs} (reflect.pairs); nothing is sampled"
    )


def _store(
    file: Path,
    sampler: Sampler,
    questions: int,
    sampled: Sequence[Sequence[Chain]],
    made: Sequence[PreferencePair],
    earlier: Sequence[PreferencePair],
) -> PairCounts:
    """Write the pairs without repeats, and what was sampled for them."""
    pairs = _distinct(made)
    counts = _count(sampler.student, questions, sampled, pairs, len(_distinct([*pairs, *earlier])) - len(pairs))

    def write() -> None:
        write_record(sampler.folder.counts, counts)
        write_records(file, pairs)  # last: this file marks the sampling as done

    ranks.on_first(write)
    return counts


def _recalls_to_analyze(
    settings: ReflectSettings, question: Question, chains: Sequence[Chain], pairs: Sequence[PreferencePair]
) -> list[str]:
    """The recalls of a question under which analyses are drawn (`reflect.analyze_under`)."""
    if settings.analyze_under == "paired":
        return list(dict.fromkeys(pair.chosen for pair in pairs))
    return chosen_and_rejected(chains, question)[0]


def _backups(recall: str, chains: Sequence[Chain], rationales: Sequence[Rationale]) -> list[Backup]:
    """The sets of analyses that are known to go with a recall: those of the student's chains, else the teacher's.

    Args:
        recall: with its full stop, chosen: all chains that have it led to the gold label.
    """
    own = [chain.analyses for chain in chains if chain.recall and finished(chain.recall) == recall and chain.analyses]
    if own:
        return [Backup(analyses, is_from_teacher=False) for analyses in own]
    teachers = [rationale.analyses for rationale in rationales if finished(rationale.recall) == recall]
    return [Backup(analyses, is_from_teacher=True) for analyses in teachers if analyses]


def _pairs_of_recalls(
    sampler: Sampler,
    questions: Sequence[Question],
    chains: Sequence[Sequence[Chain]],
    rationales: Mapping[str, Sequence[Rationale]],
) -> list[list[PreferencePair]]:
    """Recall pairs, by question.

    Args:
        chains: by question.
        rationales: of each question, by its id.
    """
    template, on_policy = sampler.student.recipe.template, sampler.settings.on_policy
    pairs = []
    for question, some in zip(questions, chains, strict=True):
        rng = stream(sampler.seed, "pairs", "recall", question.id)
        known = [rationale.recall for rationale in rationales.get(question.id, ())]
        pairs.append(recall_pairs(question, some, known, template, rng, on_policy=on_policy))
    return pairs


def _pairs_of_analyses(
    sampler: Sampler, asked: Sequence[tuple[Question, Sequence[Backup]]], chains: Sequence[Sequence[Chain]]
) -> list[PreferencePair]:
    """Analyze pairs; a question with its backups, and its chains, for every recall."""
    template = sampler.student.recipe.template
    pairs: list[PreferencePair] = []
    for i, ((question, backups), some) in enumerate(zip(asked, chains, strict=True)):
        rng = stream(sampler.seed, "pairs", "analyze", question.id, i)
        pairs += analyze_pairs(question, some, template, rng, backups)
    return pairs


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
        repeated=sum(len(some) - len({(chain.recall, chain.analyses) for chain in some}) for some in sampled),
        unreadable=sum(chain.answer is None for some in sampled for chain in some),
        recall_pairs=sum(pair.stage is Stage.RECALL for pair in pairs),
        analyze_pairs=sum(pair.stage is Stage.ANALYZE for pair in pairs),
        from_teacher=sum(pair.is_from_teacher for pair in pairs),
        replayed=replayed,
        chosen_tokens=mean_tokens([pair.chosen for pair in pairs]),
        rejected_tokens=mean_tokens([pair.rejected for pair in pairs]),
    )
