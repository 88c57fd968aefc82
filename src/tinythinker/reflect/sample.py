"""Sampling from the student, and the pairs of one round; chains are written to disk as they are made."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice, pairwise
from pathlib import Path
from typing import NamedTuple

from tinythinker.core import ranks
from tinythinker.core.files import read_record, whole_file, write_record
from tinythinker.core.progress import say
from tinythinker.core.records import Chain, PreferencePair, Question, Rationale, Stage
from tinythinker.core.run import RoundFolder
from tinythinker.core.seeds import stream
from tinythinker.core.stored import OnDemand, Stored, complete, pick
from tinythinker.core.text import finished
from tinythinker.generate.think import Draws, Thought, think
from tinythinker.reflect.given import read_pairs
from tinythinker.reflect.losses import PREFERENCE_LOSSES
from tinythinker.reflect.pairs import (
    Backup,
    PairCounts,
    analyze_pairs,
    chosen_and_rejected,
    recall_pairs,
    share_out,
    solved,
    summarize_pairs,
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

    def recalls(self, questions: Sequence[Question]) -> Sequence[Sequence[Chain]]:
        """Chains with a sampled recall, by question."""
        is_even = self.settings.sampling == "even"
        first = self.count if is_even else -(-self.count // 2)
        chains = Grouped(
            self._sample(self.folder.chains, Drawn(questions, first), Stage.RECALL), [first] * len(questions)
        )
        if is_even:
            return chains
        budget = len(questions) * (self.count - first)
        shares = [solved(some, question) for some, question in zip(chains, questions, strict=True)]
        extra = share_out(budget, shares, MOST_EXTRA * self.count)
        thoughts = [
            Thought(question, first + i) for question, more in zip(questions, extra, strict=True) for i in range(more)
        ]
        added = Grouped(self._sample(self.folder.more_chains, thoughts, Stage.RECALL), extra)
        return Joined(chains, added)

    def analyses(self, questions: Sequence[Question], recalled: Sequence[Recalled]) -> Sequence[Sequence[Chain]]:
        """Chains with sampled analyses, by recall; those of one question follow each other."""
        thoughts = Continued(questions, recalled, self.count)
        chains = self._sample(self.folder.analyze_chains, thoughts, Stage.ANALYZE)
        return Grouped(chains, [self.count] * len(recalled))

    def answers(self, questions: Sequence[Question]) -> Sequence[Sequence[Chain]]:
        """The answer of a plan that does not reason, by question."""
        chains = self._sample(self.folder.chains, Drawn(questions, 1), Stage.SUMMARIZE)
        return Grouped(chains, [1] * len(questions))

    def _sample(self, file: Path, thoughts: Sequence[Thought], stage: Stage) -> Stored[Chain]:
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


class Drawn(OnDemand[Thought]):
    """The same number of thoughts on each question; each is made when it is needed."""

    def __init__(self, questions: Sequence[Question], count: int) -> None:
        self._questions, self._count = questions, count

    def __len__(self) -> int:
        return len(self._questions) * self._count

    def _at(self, place: int) -> Thought:
        question, sample = divmod(place, self._count)
        return Thought(self._questions[question], sample)


class Recalled(NamedTuple):
    """A recall under which analyses are drawn."""

    place: int
    """Of its question."""
    recall: str | None


class Continued(OnDemand[Thought]):
    """The same number of thoughts on each recall; each is made when it is needed.

    A question's thoughts are numbered across all its recalls, so that no two share a random stream.
    """

    def __init__(self, questions: Sequence[Question], recalled: Sequence[Recalled], count: int) -> None:
        self._questions, self._recalled, self._count = questions, recalled, count
        first: dict[int, int] = {}
        self._first = array("q", (first.setdefault(one.place, i) for i, one in enumerate(recalled)))

    def __len__(self) -> int:
        return len(self._recalled) * self._count

    def _at(self, place: int) -> Thought:
        i, sample = divmod(place, self._count)
        one = self._recalled[i]
        return Thought(self._questions[one.place], (i - self._first[i]) * self._count + sample, one.recall)


class Grouped(OnDemand[Sequence[Chain]]):
    """Chains on disk in groups: of a question, or of a recall.

    Args:
        sizes: chains in each group, in order.
    """

    def __init__(self, chains: Stored[Chain], sizes: Sequence[int]) -> None:
        self._chains, self._ends = chains, array("q", accumulate(sizes, initial=0))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[Sequence[Chain]]:
        chains = iter(self._chains)
        for begin, end in pairwise(self._ends):
            yield list(islice(chains, end - begin))

    def _at(self, place: int) -> Sequence[Chain]:
        return self._chains[self._ends[place] : self._ends[place + 1]]


class Joined(OnDemand[Sequence[Chain]]):
    """Each group with what was drawn for it later."""

    def __init__(self, first: Sequence[Sequence[Chain]], more: Sequence[Sequence[Chain]]) -> None:
        self._first, self._more = first, more

    def __len__(self) -> int:
        return len(self._first)

    def __iter__(self) -> Iterator[Sequence[Chain]]:
        for one, other in zip(self._first, self._more, strict=True):
            yield [*one, *other]

    def _at(self, place: int) -> Sequence[Chain]:
        return [*self._first[place], *self._more[place]]


def draw_questions(questions: Sequence[Question], settings: ReflectSettings, seed: int) -> Sequence[Question]:
    """The questions of one round: all with a known gold label, or a seeded draw of them, in order."""
    known = [place for place, question in enumerate(questions) if question.gold is not None]
    return draw(pick(questions, known), settings.questions, seed, "round")


def make_pairs(
    sampler: Sampler,
    questions: Sequence[Question],
    rationales: Sequence[Rationale],
    earlier: Sequence[PreferencePair],
) -> Sequence[PreferencePair]:
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
            _sample_pairs(sampler, questions, rationales, earlier)
        else:
            _take_pairs(sampler, read_pairs(sampler.settings.pairs), earlier)
    own = Stored(file, PreferencePair)
    return list(_distinct([*own, *earlier])) if earlier else own


def _distinct(pairs: Iterable[PreferencePair]) -> Iterator[PreferencePair]:
    """Pairs without repeats: of equal texts, the first pair stays."""
    seen: set[bytes] = set()
    for pair in pairs:
        texts = "\0".join((pair.prompt, pair.chosen, pair.rejected))
        digest = hashlib.blake2b(texts.encode(), digest_size=16).digest()
        if digest not in seen:
            seen.add(digest)
            yield pair


class Explained:
    """A question's rationales by its id; they stay where they are until they are needed."""

    def __init__(self, rationales: Sequence[Rationale]) -> None:
        self._rationales = rationales
        self._places: dict[str, array[int]] = {}
        for place, rationale in enumerate(rationales):
            self._places.setdefault(rationale.question_id, array("l")).append(place)

    def of(self, question: Question) -> Sequence[Rationale]:
        """The rationales of a question, in their order; empty if it has none."""
        return pick(self._rationales, self._places.get(question.id, ()))[:]


def _sample_pairs(
    sampler: Sampler,
    questions: Sequence[Question],
    rationales: Sequence[Rationale],
    earlier: Sequence[PreferencePair],
) -> None:
    settings = sampler.settings
    asked = draw_questions(questions, settings, sampler.seed)
    stages = PLANS[sampler.student.recipe.stages.plan]
    given = Explained(rationales)
    made: list[Iterable[PreferencePair]] = []
    sampled: list[Sequence[Sequence[Chain]]] = []
    answers_are_paired = "summarize" in settings.stages
    draws_analyses = Stage.ANALYZE in stages and (
        "analyze" in settings.stages or (answers_are_paired and Stage.RECALL not in stages)
    )
    under = [Recalled(place, None) for place in range(len(asked))] if draws_analyses else []
    recalls: Sequence[Sequence[Chain]] | None = None
    if Stage.RECALL in stages:
        recalls = sampler.recalls(asked)
        sampled.append(recalls)
        if draws_analyses:
            under = list(_under(sampler, asked, recalls, given))
        if "recall" in settings.stages:
            made.append(pair for own in _pairs_of_recalls(sampler, asked, recalls, given) for pair in own)
    if draws_analyses:
        chains = sampler.analyses(asked, under)
        sampled.append(chains)
        if "analyze" in settings.stages:
            made.append(_pairs_of_analyses(sampler, asked, under, chains, recalls, given))
    if answers_are_paired:
        if not sampled:
            sampled.append(sampler.answers(asked))
        made.append(_pairs_of_answers(sampler, asked, sampled[0]))
    counts = _store(sampler, len(asked), sampled, chain.from_iterable(made), earlier)
    say(
        f"{sampler.folder.name}: {counts.in_words()} from {counts.questions_with_pairs} of {counts.questions} questions"
    )


def _pairs_of_answers(
    sampler: Sampler, asked: Sequence[Question], chains: Sequence[Sequence[Chain]]
) -> Iterator[PreferencePair]:
    """Summarize pairs under the chains of each question."""
    template = sampler.student.recipe.template
    for question, some in zip(asked, chains, strict=True):
        yield from summarize_pairs(question, some, template, stream(sampler.seed, "pairs", "summarize", question.id))


def _under(
    sampler: Sampler,
    asked: Sequence[Question],
    chains: Sequence[Sequence[Chain]],
    given: Explained,
) -> Iterator[Recalled]:
    pairs = _pairs_of_recalls(sampler, asked, chains, given)
    for place, (question, some, own) in enumerate(zip(asked, chains, pairs, strict=True)):
        for recall in _recalls_to_analyze(sampler.settings, question, some, own):
            yield Recalled(place, recall)


def _take_pairs(sampler: Sampler, given: Sequence[PreferencePair], earlier: Sequence[PreferencePair]) -> None:
    counts = _store(sampler, len({pair.question_id for pair in given}), [], given, earlier)
    say(f"{sampler.folder.name}: {counts.in_words()} from {sampler.settings.pairs} (reflect.pairs); nothing is sampled")


def _store(
    sampler: Sampler,
    questions: int,
    sampled: Sequence[Sequence[Sequence[Chain]]],
    made: Iterable[PreferencePair],
    earlier: Sequence[PreferencePair],
) -> PairCounts:
    """Write the pairs without repeats as they are made, and then what was sampled for them."""
    folder = sampler.folder

    def write() -> None:
        tally = PairTally(sampler.student)
        with whole_file(folder.pairs) as file:  # appears last: it marks the sampling as done
            for pair in _distinct(made):
                file.add(pair)
                tally.add(pair)
            own = Stored(folder.pairs.with_name(f".{folder.pairs.name}.tmp"), PreferencePair) if earlier else ()
            replayed = sum(1 for _ in _distinct([*own, *earlier])) - tally.count if earlier else 0
            write_record(folder.counts, tally.counts(questions, sampled, replayed))

    ranks.on_first(write)
    return read_record(folder.counts, PairCounts)


class PairTally:
    """Counts pairs one by one."""

    def __init__(self, student: Student) -> None:
        self._student = student
        self._seen: Counter[str] = Counter()
        self._questions: set[str] = set()
        self._tokens = [0, 0]
        self._waiting: list[PreferencePair] = []

    @property
    def count(self) -> int:
        """Pairs so far."""
        return sum(self._seen[stage] for stage in Stage)

    def add(self, pair: PreferencePair) -> None:
        """Count a pair."""
        self._seen[pair.stage] += 1
        self._seen["teacher"] += pair.is_from_teacher
        self._questions.add(pair.question_id)
        self._waiting.append(pair)
        if len(self._waiting) == CHUNK:
            self._measure()

    def _measure(self) -> None:
        for side, texts in enumerate(([p.chosen for p in self._waiting], [p.rejected for p in self._waiting])):
            self._tokens[side] += sum(map(len, target_ids(self._student, texts).ids)) if texts else 0
        self._waiting = []

    def counts(self, questions: int, sampled: Sequence[Sequence[Sequence[Chain]]], replayed: int) -> PairCounts:
        """What was counted, with what was sampled, by kind and group."""
        self._measure()
        samples = repeated = unreadable = 0
        for group in (group for kind in sampled for group in kind):
            samples += len(group)
            repeated += len(group) - len({(chain.recall, chain.analyses) for chain in group})
            unreadable += sum(chain.answer is None for chain in group)
        chosen, rejected = (tokens / self.count if self.count else 0.0 for tokens in self._tokens)
        return PairCounts(
            questions=questions,
            questions_with_pairs=len(self._questions),
            samples=samples,
            repeated=repeated,
            unreadable=unreadable,
            recall_pairs=self._seen[Stage.RECALL],
            analyze_pairs=self._seen[Stage.ANALYZE],
            summarize_pairs=self._seen[Stage.SUMMARIZE],
            from_teacher=self._seen["teacher"],
            replayed=replayed,
            chosen_tokens=chosen,
            rejected_tokens=rejected,
        )


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
    given: Explained,
) -> Iterator[list[PreferencePair]]:
    """Recall pairs, by question.

    Args:
        chains: by question.
    """
    template, settings = sampler.student.recipe.template, sampler.settings
    is_over_all = PREFERENCE_LOSSES[settings.loss].is_over_all
    for question, some in zip(questions, chains, strict=True):
        rng = stream(sampler.seed, "pairs", "recall", question.id)
        known = [rationale.recall for rationale in given.of(question)]
        yield recall_pairs(question, some, known, template, rng, on_policy=settings.on_policy, is_over_all=is_over_all)


def _pairs_of_analyses(
    sampler: Sampler,
    asked: Sequence[Question],
    under: Sequence[Recalled],
    chains: Sequence[Sequence[Chain]],
    recalls: Sequence[Sequence[Chain]] | None,
    given: Explained,
) -> Iterator[PreferencePair]:
    """Analyze pairs.

    Args:
        chains: those drawn under each recall.
        recalls: those with a sampled recall, by question; None: the plan has no recall.
    """
    template = sampler.student.recipe.template
    is_over_all = PREFERENCE_LOSSES[sampler.settings.loss].is_over_all
    for i, ((place, recall), some) in enumerate(zip(under, chains, strict=True)):
        question, backups = asked[place], list[Backup]()
        if sampler.settings.fallback and recall is not None and recalls is not None:
            backups = _backups(recall, recalls[place], given.of(question))
        rng = stream(sampler.seed, "pairs", "analyze", question.id, i)
        yield from analyze_pairs(question, some, template, rng, backups, is_over_all=is_over_all)
