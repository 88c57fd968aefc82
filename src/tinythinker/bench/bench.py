"""Compares baseline and product on the same weights and texts, in turns, in one process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stderr
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch

from tinythinker import session
from tinythinker.acquire.phase_1 import phase_1_training
from tinythinker.bench import baseline
from tinythinker.bench.arguments import SECTIONS, Section, parts_of, run_beside
from tinythinker.bench.counting import Positions, counted
from tinythinker.bench.machine import Machine, measure_machine, peak_memory, wait_for
from tinythinker.bench.needed import Text, flops_needed, texts_of_chain, training_needs
from tinythinker.bench.workload import PASSES, Size, Work
from tinythinker.core.files import read_records, resolved, write_text
from tinythinker.core.metrics import read_metrics
from tinythinker.core.progress import Progress
from tinythinker.core.records import Chain, Question, Record, Stage
from tinythinker.core.run import RoundFolder, TrainingFolder, last_student, run_around
from tinythinker.core.seeds import derive_seed
from tinythinker.evaluate.verdicts import answer_all
from tinythinker.generate.think import Draws, Thought, think
from tinythinker.reflect.objective import pair_pieces
from tinythinker.reflect.reference import reference_scores
from tinythinker.reflect.rounds import train_round
from tinythinker.reflect.sample import Recalled, Sampler, make_pairs
from tinythinker.student.student import Student
from tinythinker.train.loop import fit


class Side(Record):
    """Measurements of one side, baseline or product, in one kind of work."""

    seconds: tuple[float, ...]
    """Seconds of every turn."""
    tokens: int
    """Useful tokens: generated, or learned from (both sides of a pair)."""
    padding: float
    """Share of the computed prompt positions that held no token."""
    matmul_share: float
    """Floating-point operations of matrix products per second, as a share of the machine's best rate."""
    needed_share: float | None = None
    """Operations that the work needs (`needed.flops_needed`), as a share of those done with its weights. None in older
    files."""
    memory_share: float
    """Bytes of decoder weights, read once per call, per second, as a share of the machine's bandwidth."""
    distinct: float | None = None
    """Share of the sampled recalls that are new to their question; the product analyzes equal recalls once.
    None: not sampling."""

    @property
    def tokens_per_second(self) -> float:
        """Useful tokens per second in the fastest turn."""
        return self.tokens / min(self.seconds)


class Speedup(Record):
    """One kind of work, done by both sides."""

    ratio: float
    """Baseline divided by product, in seconds (memory: bytes); geometric mean over the turns."""
    low: float
    """Smallest ratio of any turn."""
    high: float
    baseline: Side | int
    """Peak bytes if the work is memory."""
    product: Side | int


class Bench(Record):
    """Results of `tinythinker bench`."""

    student: str
    weights: int
    size: Size
    machine: Machine
    sampling: Speedup | None = None
    phase_1: Speedup | None = None
    phase_2: Speedup | None = None
    round: Speedup | None = None
    evaluate: Speedup | None = None
    votes: Speedup | None = None
    memory: Speedup | None = None

    def lines(self) -> Iterator[str]:
        """The results as a printed table."""
        machine = self.machine
        yield (
            f"{self.student}: {self.weights:,} weights; {machine.name}, {machine.threads} threads, at best "
            f"{machine.matmul_flops / 1e9:.0f} GFLOPS and {machine.bytes_per_second / 1e9:.0f} GB/s"
        )
        yield "speedup, lowest to highest (memory: ratio of peak bytes); then baseline -> product"
        yield (
            f"{'':<10}{'':>22}{'tokens/s':>18}{'padding':>14}{'of matmul rate':>17}{'of bandwidth':>15}"
            f"{'needed of done':>17}"
        )
        for name in SECTIONS:
            found: Speedup | None = getattr(self, name)
            if found is not None:
                yield f"{name:<10}{f'{found.ratio:.2f} ({found.low:.2f}-{found.high:.2f})':>22}{_columns(found)}"
        if self.sampling is not None and isinstance(self.sampling.product, Side):
            share = self.sampling.product.distinct or 0.0
            yield f"{100 * share:.0f}% of the sampled recalls were new to their question; equal ones are analyzed once"


def _columns(found: Speedup) -> str:
    old, new = found.baseline, found.product
    if not isinstance(old, Side) or not isinstance(new, Side):
        return f"    {int(str(old)) / 1e6:.0f} -> {int(str(new)) / 1e6:.0f} MB"
    speed = f"{old.tokens_per_second:,.0f} -> {new.tokens_per_second:,.0f}"
    padding, matmul = _shares(old.padding, new.padding), _shares(old.matmul_share, new.matmul_share)
    memory = _shares(old.memory_share, new.memory_share)
    needed = "" if old.needed_share is None or new.needed_share is None else _shares(old.needed_share, new.needed_share)
    return f"{speed:>18}{padding:>14}{matmul:>17}{memory:>15}{needed:>17}"


def _shares(old: float, new: float) -> str:
    return f"{100 * old:.0f}% -> {100 * new:.0f}%"


class Done(NamedTuple):
    """Measurements of one turn of one side."""

    seconds: float
    tokens: int
    distinct: float | None = None
    """See `Side.distinct`."""
    needed: float = 0.0
    """Floating-point operations that the work needs."""


Doer = Callable[[Work, Student], Done]
"""Does one kind of work once, with a fresh student."""


def _timed(work: Callable[[], int], device: torch.device) -> Done:
    """Time `work`, which returns its number of useful tokens."""
    wait_for(device)
    started = time.perf_counter()
    tokens = work()
    wait_for(device)
    return Done(time.perf_counter() - started, tokens)


def _count(student: Student, texts: Sequence[str]) -> int:
    return sum(map(len, student.tokenizer(list(texts))["input_ids"])) if texts else 0


def _plainly(
    work: Work,
    student: Student,
    questions: Sequence[Question],
    *,
    votes: int,
    hot: bool,
    recalls: Sequence[str] | None = None,
    sample_analyses: bool = False,
) -> tuple[Done, list[list[baseline.PlainChain]]]:
    """Chains of the baseline, by vote and question. Tokens of given recalls are not counted.

    Args:
        votes: chains per question.
        hot: sample, and do not decode greedily.
        recalls: by question, where they are given.
        sample_analyses: sample the analyses too.
    """
    made: list[list[baseline.PlainChain]] = []
    how, seed = work.plain(hot=hot), work.settings.seed

    def think_plainly() -> int:
        made.extend(
            baseline.chains(student, questions, how, votes, seed, recalls=recalls, sample_analyses=sample_analyses)
        )
        return 0

    done = _timed(think_plainly, student.device)
    is_given = recalls is not None
    written = [text for chains in made for chain in chains for text in chain.texts()[int(is_given) :]]
    texts = [
        text
        for chains in made
        for question, (recall, analyses, conclusion, _) in zip(questions, chains, strict=True)
        for text in texts_of_chain(student, question, recall, analyses, conclusion, is_given=is_given)
    ]
    return done._replace(tokens=_count(student, written), needed=flops_needed(student, texts)), made


def _needed_for(
    student: Student, questions: Sequence[Question], chains: Iterable[Chain], *, is_given: bool = False
) -> float:
    """Operations that the product's chains need; `is_given`: their recalls were not written."""
    asked = {question.id: question for question in questions}
    return flops_needed(
        student,
        [
            text
            for chain in chains
            for text in texts_of_chain(
                student,
                asked[chain.question_id],
                chain.recall or "",
                chain.analyses,
                chain.conclusion,
                is_given=is_given,
            )
        ],
    )


def _sampling_baseline(work: Work, student: Student) -> Done:
    done, made = _plainly(work, student, work.train, votes=work.size.samples, hot=True)
    drawn = ((question.id, c.recall) for chains in made for question, c in zip(work.train, chains, strict=True))
    return done._replace(distinct=_distinct(drawn))


def _analyses_baseline(work: Work, student: Student) -> Done:
    """Sample sets of analyses for given recalls."""
    questions, recalls = [question for question, _ in work.recalled], [recall for _, recall in work.recalled]
    votes = work.size.samples
    done, _ = _plainly(work, student, questions, votes=votes, hot=True, recalls=recalls, sample_analyses=True)
    return done


def _distinct(recalls: Iterable[tuple[str, str | None]]) -> float:
    """Share of the (question, recall) pairs that remain without repeats."""
    every = list(recalls)
    return len(set(every)) / len(every)


def _sampling_product(work: Work, student: Student) -> Done:
    thoughts = [Thought(question, i) for question in work.train for i in range(work.size.samples)]
    draws = Draws(work.temperature, derive_seed(work.settings.seed, "bench"), frozenset({Stage.RECALL}))
    made: list[Chain] = []

    def sample() -> int:
        made.extend(think(student, thoughts, draws=draws))
        return sum(chain.count_tokens for chain in made)

    done = _timed(sample, student.device)
    distinct = _distinct((chain.question_id, chain.recall) for chain in made)
    return done._replace(distinct=distinct, needed=_needed_for(student, work.train, made))


def _phase_1_baseline(work: Work, student: Student) -> Done:
    seconds = _timed(
        lambda: len(
            baseline.train_phase_1(student, [batch for _, batch in work.batches], work.settings.train.learning_rate)
        ),
        student.device,
    ).seconds
    tokens = _count(student, [example.target for _, batch in work.batches for example in batch])
    return Done(seconds, tokens, needed=_phase_1_needs(work, student))


def _phase_1_needs(work: Work, student: Student) -> float:
    return training_needs(student, [[Text(e.prompt, e.target) for e in batch] for _, batch in work.batches])


def _phase_1_product(work: Work, student: Student) -> Done:
    settings = work.settings.train.model_copy(update={"max_steps": len(work.batches), "micro_batch_size": None})
    training = phase_1_training(
        student,
        work.settings.model_copy(update={"train": settings}),
        lambda number: work.batches,
        cycle=len(work.batches),
        validate=lambda: 0.0,
    )
    with TemporaryDirectory() as root:
        folder = TrainingFolder(Path(root, "phase-1"))
        fit(student, training, settings, seed=work.settings.seed, folder=folder)
        return _stepped(folder)._replace(needed=_phase_1_needs(work, student))


def _stepped(folder: TrainingFolder) -> Done:
    """Seconds and tokens of a training's steps, without saving and validation."""
    steps = read_metrics(folder.metrics).steps
    return Done(sum(step.seconds or 0.0 for step in steps), sum(step.target_tokens for step in steps))


def _phase_2_baseline(work: Work, student: Student) -> Done:
    settings = work.reflect
    passes = [batch for _ in range(PASSES) for batch in work.pair_batches]
    seconds = _timed(
        lambda: len(baseline.train_phase_2(student, passes, settings.learning_rate, settings.beta, settings.alpha)),
        student.device,
    ).seconds
    tokens = _count(student, [text for batch in passes for pair in batch for text in (pair.chosen, pair.rejected)])
    return Done(seconds, tokens, needed=_phase_2_needs(work, student))


def _phase_2_needs(work: Work, student: Student) -> float:
    """Operations of all passes over the pairs, and of the reference, which need score each pair only once."""
    batches = [
        [Text(pair.prompt, side) for pair in batch for side in (pair.chosen, pair.rejected)]
        for batch in work.pair_batches
    ]
    return PASSES * training_needs(student, batches) + sum(flops_needed(student, batch) for batch in batches)


def _phase_2_product(work: Work, student: Student) -> Done:
    with TemporaryDirectory() as parent:
        root = RoundFolder(Path(parent, "round-1"))
        pieces = pair_pieces(student, None)
        batches = [piece for batch in work.pair_batches for piece in pieces(batch)]

        def score() -> int:  # training finds the file and does not score again
            reference_scores(root.reference, lambda: student, lambda: iter(batches), work.reflect)
            return 0

        reference = _timed(score, student.device)
        train_round(root, student, None, work.pairs, lambda _: 0.0, work.reflect, 0)
        stepped = _stepped(root)._replace(needed=_phase_2_needs(work, student))
        return stepped._replace(seconds=reference.seconds + stepped.seconds)


def _round_baseline(work: Work, student: Student) -> Done:
    parts = [_sampling_baseline(work, student)]
    if "analyze" in work.reflect.stages:
        parts.append(_analyses_baseline(work, student))
    parts.append(_phase_2_baseline(work, student))
    with TemporaryDirectory() as folder:

        def save() -> int:
            student.save(Path(folder, "student"))
            return 0

        saved = _timed(save, student.device)
    seconds = saved.seconds + sum(part.seconds for part in parts)
    return Done(seconds, sum(part.tokens for part in parts), needed=sum(part.needed for part in parts))


def _round_product(work: Work, student: Student) -> Done:
    settings = work.reflect.model_copy(
        update={
            "stages": ("recall",),
            "samples_per_question": (work.size.samples,),
            "questions": None,
            "sampling": "even",
        }
    )
    with TemporaryDirectory() as parent:
        root = RoundFolder(Path(parent, "round-1"))

        sampled: list[Chain] = []
        continued: list[Chain] = []

        def do_round() -> int:
            sampler = Sampler(student, settings, root, 1, derive_seed(work.settings.seed, "bench"))
            make_pairs(sampler, work.train, work.rationales, [])
            sampled.extend(read_records(root.chains, Chain))
            if "analyze" in work.reflect.stages:
                # Which recalls get chosen is random, so both sides take the same given ones.
                asked = [question for question, _ in work.recalled]
                recalls = [Recalled(place, recall) for place, (_, recall) in enumerate(work.recalled)]
                continued.extend(chain for chains in sampler.analyses(asked, recalls) for chain in chains)
            train_round(root, student, None, work.pairs, lambda _: 0.0, settings, 0)
            return sum(chain.count_tokens for chain in (*sampled, *continued)) + _stepped(root).tokens

        done = _timed(do_round, student.device)
        needed = (
            _needed_for(student, work.train, sampled)
            + _needed_for(student, work.train, continued, is_given=True)
            + _phase_2_needs(work, student)
        )
        return done._replace(needed=needed)


def _evaluate_baseline(work: Work, student: Student) -> Done:
    return _plainly(work, student, work.test, votes=1, hot=False)[0]


def _votes_baseline(work: Work, student: Student) -> Done:
    return _plainly(work, student, work.test, votes=work.size.samples, hot=True, sample_analyses=True)[0]


def _evaluate_product(work: Work, student: Student) -> Done:
    return _answered(work, student, votes=1)


def _votes_product(work: Work, student: Student) -> Done:
    return _answered(work, student, votes=work.size.samples)


def _answered(work: Work, student: Student, votes: int) -> Done:
    how = work.settings.evaluate.model_copy(update={"votes": votes, "temperature": work.temperature})
    chains: list[Chain] = []

    def answer() -> int:
        verdicts = answer_all(student, work.test, how, work.settings.seed, None)
        chains.extend(chain for verdict in verdicts for chain in verdict.chains)
        return sum(chain.count_tokens for chain in chains)

    done = _timed(answer, student.device)
    return done._replace(needed=_needed_for(student, work.test, chains))


DOERS: dict[Section, tuple[Doer, Doer]] = {
    "sampling": (_sampling_baseline, _sampling_product),
    "phase_1": (_phase_1_baseline, _phase_1_product),
    "phase_2": (_phase_2_baseline, _phase_2_product),
    "round": (_round_baseline, _round_product),
    "evaluate": (_evaluate_baseline, _evaluate_product),
    "votes": (_votes_baseline, _votes_product),
}
"""Baseline and product of every kind of work."""


def compare(work: Work, machine: Machine, section: Section, turns: int) -> Speedup:
    """Do one kind of work with both sides in turns; an untimed extra turn first counts operations."""
    counts: list[Positions] = []
    first: list[Done] = []
    seconds: tuple[list[float], list[float]] = ([], [])
    with Progress(f"bench: {section}", 2 * (1 + turns)) as progress:
        for doer in DOERS[section]:
            student = work.student()
            with counted(student) as positions, _silence():
                first.append(doer(work, student))
            counts.append(positions)
            progress.advance()
        for _ in range(turns):
            for side, doer in zip(seconds, DOERS[section], strict=True):
                with _silence():
                    side.append(doer(work, work.student()).seconds)
                progress.advance()
    ratios = [old / new for old, new in zip(*seconds, strict=True)]
    sides = [
        Side(
            seconds=tuple(side),
            tokens=done.tokens,
            distinct=done.distinct,
            padding=1 - positions.prompt_tokens / positions.prompts,
            matmul_share=positions.flops / min(side) / machine.matmul_flops,
            needed_share=done.needed / positions.weight_flops,
            memory_share=positions.weight_bytes / min(side) / machine.bytes_per_second,
        )
        for side, done, positions in zip(seconds, first, counts, strict=True)
    ]
    return Speedup(
        ratio=math.exp(sum(map(math.log, ratios)) / len(ratios)),
        low=min(ratios),
        high=max(ratios),
        baseline=sides[0],
        product=sides[1],
    )


def _silence() -> redirect_stderr[StringIO]:
    """Hide the progress output of training and sampling, which does not belong to a bench."""
    return redirect_stderr(StringIO())


def compare_memory(work: Work) -> Speedup:
    """Peak memory of phase 1 and a whole round together, each side in a separate process."""
    peaks = []
    with Progress("bench: memory", 2) as progress:
        for side in (0, 1):
            with get_context("spawn").Pool(1) as pool:
                peaks.append(pool.apply(_peak, (work.folder, work.run.root, work.size, side)))
            progress.advance()
    ratio = peaks[0] / peaks[1]
    return Speedup(ratio=ratio, low=ratio, high=ratio, baseline=peaks[0], product=peaks[1])


def _peak(folder: Path, run: Path, size: Size, side: int) -> int:
    work = Work.of(folder, run, size)
    with _silence():
        for section in ("phase_1", "round"):
            DOERS[section][side](work, work.student())
    return peak_memory()


def bench(
    overrides: Sequence[str] = (),
    *,
    student: Path | None,
    task: str,
    out: Path,
    parts: Sequence[str],
    size: Size,
    turns: int,
) -> Bench:
    """Compare baseline and product in some kinds of work, or in all, and write the results to `out`.

    Args:
        overrides: settings to train a student with, where none is given.
        student: a run directory or a student's folder in one; None trains one on `task`, next to `out`.
        parts: kinds of work; none does all.

    Raises:
        SettingsError: there is no such part.
        StudentError: the student has adapters, or did not learn all three stages.
    """
    sections = parts_of(parts)
    work = work_of_task(task, overrides, out, size) if student is None else work_of_student(student, size)
    return measure(work, out, sections, turns)


def measure(work: Work, out: Path, sections: Sequence[Section] = SECTIONS, turns: int = 3) -> Bench:
    """Compare baseline and product in every section, and write the results to `out` as they come."""
    loaded = work.student()
    machine = measure_machine(loaded.device)
    found = Bench(student=str(work.folder), weights=loaded.count_parameters(), size=work.size, machine=machine)
    for section in sections:
        measured = compare_memory(work) if section == "memory" else compare(work, machine, section, turns)
        found = found.model_copy(update={section: measured})
        write_text(out, found.model_dump_json(indent=2, exclude_none=True) + "\n")
    return found


def work_of_student(student: Path, size: Size) -> Work:
    """The work that a student's own run provides.

    Args:
        student: its folder, or a run directory (then its last student).

    Raises:
        StudentError, SettingsError, DataError: the student or its run cannot be read or used.
    """
    folder = resolved(last_student(student))
    return Work.of(folder, run_around(folder).root, size)


def work_of_task(task: str, overrides: Sequence[str], out: Path, size: Size) -> Work:
    """The work that a task provides, with a student trained next to `out` unless it exists already.

    Raises:
        TinyThinkerError: the student cannot be trained.
    """
    run = session.start(task, run_beside(out).root, *overrides, "reflect.rounds=0")
    session.teach(run)
    session.train(run)
    return Work.of(run.phase_1.student, run.root, size)
