"""Baseline against product: the same weights and texts, in turns, in one process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stderr
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple, get_args

import torch

from tinythinker import api
from tinythinker.acquire.objective import sft_objective, sft_pieces
from tinythinker.bench import baseline
from tinythinker.bench.counting import Positions, counted
from tinythinker.bench.machine import Machine, measure_machine, peak_memory, wait_for
from tinythinker.bench.workload import Size, Work
from tinythinker.core.errors import SettingsError, expected
from tinythinker.core.files import read_records, write_text
from tinythinker.core.metrics import read_metrics
from tinythinker.core.progress import Progress
from tinythinker.core.records import Chain, Question, Record, Stage
from tinythinker.core.seeds import derive_seed
from tinythinker.evaluate.answer import answer_all
from tinythinker.generate.think import Draws, Thought, think
from tinythinker.reflect.losses import pair_pieces
from tinythinker.reflect.reference import score_reference
from tinythinker.reflect.rounds import train_round
from tinythinker.reflect.sample import Sampler, make_pairs
from tinythinker.student.student import Student
from tinythinker.train.loop import Job, fit

Section = Literal["sampling", "phase_1", "phase_2", "round", "evaluate", "votes", "memory"]
SECTIONS: tuple[Section, ...] = get_args(Section)


class Side(Record):
    """What one side, baseline or product, did in one kind of work."""

    seconds: tuple[float, ...]
    """By turn."""
    tokens: int
    """Useful ones: written, or learned from (both sides of a pair)."""
    padding: float
    """Share of the prompt positions that were computed and held no token."""
    matmul_share: float
    """Of what the machine does at best: floating-point operations of matrix products per second."""
    memory_share: float
    """Of the machine's bandwidth: the decoder's weights, read once per call of it, per second."""
    distinct: float | None = None
    """Sampling: share of the recalls that are new to their question; the product analyzes equal ones once."""

    @property
    def tokens_per_second(self) -> float:
        """Of the fastest turn."""
        return self.tokens / min(self.seconds)


class Comparison(Record):
    """One kind of work, both ways."""

    ratio: float
    """How many times less the product needs: geometric mean over the turns."""
    low: float
    """The smallest ratio of a turn."""
    high: float
    baseline: Side | int
    """For memory: peak bytes."""
    product: Side | int


class Bench(Record):
    """What `tinythinker bench` finds out."""

    student: str
    weights: int
    size: Size
    machine: Machine
    sampling: Comparison | None = None
    phase_1: Comparison | None = None
    phase_2: Comparison | None = None
    round: Comparison | None = None
    evaluate: Comparison | None = None
    votes: Comparison | None = None
    memory: Comparison | None = None

    def lines(self) -> Iterator[str]:
        """The table a person reads."""
        own = self.machine
        yield (
            f"{self.student}: {self.weights:,} weights; {own.name}, {own.threads} threads: at best "
            f"{own.matmul_flops / 1e9:.0f} GFLOPS, {own.bytes_per_second / 1e9:.0f} GB/s"
        )
        yield "times less time (memory: fewer bytes); then baseline -> product"
        yield f"{'':<10}{'':>22}{'tokens/s':>18}{'padding':>14}{'of matmul rate':>17}{'of bandwidth':>15}"
        for name in SECTIONS:
            found: Comparison | None = getattr(self, name)
            if found is not None:
                yield f"{name:<10}{f'{found.ratio:.2f} ({found.low:.2f}-{found.high:.2f})':>22}{_columns(found)}"
        if self.sampling is not None and isinstance(self.sampling.product, Side):
            share = self.sampling.product.distinct or 0.0
            yield f"{100 * share:.0f}% of the sampled recalls were new to their question; equal ones are analyzed once"


def _columns(found: Comparison) -> str:
    old, new = found.baseline, found.product
    if not isinstance(old, Side) or not isinstance(new, Side):
        return f"    {int(str(old)) / 1e6:.0f} -> {int(str(new)) / 1e6:.0f} MB"
    speed = f"{old.tokens_per_second:,.0f} -> {new.tokens_per_second:,.0f}"
    shares = [(old.padding, new.padding), (old.matmul_share, new.matmul_share), (old.memory_share, new.memory_share)]
    padding, matmul, memory = (f"{100 * a:.0f}% -> {100 * b:.0f}%" for a, b in shares)
    return f"{speed:>18}{padding:>14}{matmul:>17}{memory:>15}"


class Done(NamedTuple):
    """One turn of one side."""

    seconds: float
    tokens: int
    distinct: float | None = None
    """See `Side.distinct`."""


Doer = Callable[[Work, Student], Done]
"""Does a kind of work once with a fresh student."""


def _timed(work: Callable[[], int], device: torch.device) -> Done:
    """Time it; it returns its useful tokens."""
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
    """Chains of the baseline, so many per question, by vote and question; tokens of a recall that is given are none."""
    made: list[list[baseline.PlainChain]] = []
    how, seed = work.plain(hot=hot), work.settings.seed

    def think_plainly() -> int:
        made.extend(
            baseline.chains(student, questions, how, votes, seed, recalls=recalls, sample_analyses=sample_analyses)
        )
        return 0

    done = _timed(think_plainly, student.device)
    written = [text for own in made for chain in own for text in chain.texts()[0 if recalls is None else 1 :]]
    return done._replace(tokens=_count(student, written)), made


def _sampling_baseline(work: Work, student: Student) -> Done:
    done, made = _plainly(work, student, work.train, votes=work.size.samples, hot=True)
    drawn = ((question.id, c.recall) for own in made for question, c in zip(work.train, own, strict=True))
    return done._replace(distinct=_distinct(drawn))


def _analyses_baseline(work: Work, student: Student) -> Done:
    """Sets of analyses of given recalls."""
    questions, recalls = [question for question, _ in work.recalled], [recall for _, recall in work.recalled]
    return _plainly(work, student, questions, votes=work.size.samples, hot=True, recalls=recalls, sample_analyses=True)[
        0
    ]


def _distinct(recalls: Iterable[tuple[str, str | None]]) -> float:
    """Share of the recalls, each with its question, that say something new."""
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
    return done._replace(distinct=_distinct((chain.question_id, chain.recall) for chain in made))


def _phase_1_baseline(work: Work, student: Student) -> Done:
    seconds = _timed(
        lambda: len(
            baseline.train_phase_1(student, [batch for _, batch in work.batches], work.settings.train.learning_rate)
        ),
        student.device,
    ).seconds
    return Done(seconds, _count(student, [example.target for _, batch in work.batches for example in batch]))


def _phase_1_product(work: Work, student: Student) -> Done:
    job = Job(
        name="phase-1",
        epoch=lambda number: work.batches,
        objective=sft_objective(student, work.settings.stages.rationale_weight),
        pieces=sft_pieces(student, None),
        cycle=len(work.batches),
        validate=lambda: 0.0,
        dropout=True,
        keep_start=False,
    )
    with TemporaryDirectory() as folder:
        settings = work.settings.train.model_copy(update={"max_steps": len(work.batches)})
        fit(student, job, settings, seed=work.settings.seed, folder=Path(folder, "phase-1"))
        return _stepped(Path(folder, "phase-1"))


def _stepped(folder: Path) -> Done:
    """Seconds and tokens of a training's steps; saving and validating are not among them."""
    lines = [line for line in read_metrics(folder / "metrics.jsonl") if "target_tokens" in line]
    return Done(
        sum(float(str(line["seconds"])) for line in lines), sum(int(str(line["target_tokens"])) for line in lines)
    )


def _phase_2_baseline(work: Work, student: Student) -> Done:
    own = work.reflect
    passes = [batch for _ in range(own.epochs) for batch in work.pair_batches]
    seconds = _timed(
        lambda: len(baseline.train_phase_2(student, passes, own.learning_rate, own.beta, own.alpha)), student.device
    ).seconds
    return Done(
        seconds, _count(student, [text for batch in passes for pair in batch for text in (pair.chosen, pair.rejected)])
    )


def _phase_2_product(work: Work, student: Student) -> Done:
    with TemporaryDirectory() as folder:
        root = Path(folder, "round-1")
        pieces = pair_pieces(student, None)
        batches = [piece for batch in work.pair_batches for piece in pieces(batch)]
        reference = _timed(lambda: len(score_reference(student, batches)), student.device)
        train_round(root, student, None, work.pairs, lambda _: 0.0, work.reflect, 0)
        stepped = _stepped(root)
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
    return Done(saved.seconds + sum(part.seconds for part in parts), sum(part.tokens for part in parts))


def _round_product(work: Work, student: Student) -> Done:
    settings = work.reflect.model_copy(
        update={
            "stages": ("recall",),
            "samples_per_question": (work.size.samples,),
            "questions": None,
            "sampling": "even",
        }
    )
    with TemporaryDirectory() as folder:
        root = Path(folder, "round-1")

        def do_round() -> int:
            sampler = Sampler(student, settings, root, 1, derive_seed(work.settings.seed, "bench"))
            make_pairs(sampler, work.train, work.rationales, [])
            sampled = read_records(root / "chains.jsonl", Chain)
            if "analyze" in work.reflect.stages:
                # The chosen recalls are chance; both sides take the same.
                sampled += [chain for own in sampler.analyses(work.recalled) for chain in own]
            train_round(root, student, None, work.pairs, lambda _: 0.0, settings, 0)
            return sum(chain.count_tokens for chain in sampled) + _stepped(root).tokens

        return _timed(do_round, student.device)


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

    def answer() -> int:
        verdicts = answer_all(student, work.test, how, work.settings.seed, None)
        return sum(chain.count_tokens for verdict in verdicts for chain in verdict.chains)

    return _timed(answer, student.device)


DOERS: dict[Section, tuple[Doer, Doer]] = {
    "sampling": (_sampling_baseline, _sampling_product),
    "phase_1": (_phase_1_baseline, _phase_1_product),
    "phase_2": (_phase_2_baseline, _phase_2_product),
    "round": (_round_baseline, _round_product),
    "evaluate": (_evaluate_baseline, _evaluate_product),
    "votes": (_votes_baseline, _votes_product),
}
"""Baseline and product of every kind of work."""


def compare(work: Work, machine: Machine, section: Section, turns: int) -> Comparison:
    """Do a kind of work both ways in turns; a first turn, which is not timed, counts what is computed."""
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
            for own, doer in zip(seconds, DOERS[section], strict=True):
                with _silence():
                    own.append(doer(work, work.student()).seconds)
                progress.advance()
    ratios = [old / new for old, new in zip(*seconds, strict=True)]
    sides = [
        Side(
            seconds=tuple(own),
            tokens=done.tokens,
            distinct=done.distinct,
            padding=1 - positions.prompt_tokens / positions.prompts,
            matmul_share=positions.flops / min(own) / machine.matmul_flops,
            memory_share=positions.weight_bytes / min(own) / machine.bytes_per_second,
        )
        for own, done, positions in zip(seconds, first, counts, strict=True)
    ]
    return Comparison(
        ratio=math.exp(sum(map(math.log, ratios)) / len(ratios)),
        low=min(ratios),
        high=max(ratios),
        baseline=sides[0],
        product=sides[1],
    )


def _silence() -> redirect_stderr[StringIO]:
    """What training and sampling tell of themselves says nothing about a bench."""
    return redirect_stderr(StringIO())


def compare_memory(work: Work) -> Comparison:
    """Peak memory of a whole round and of phase 1, each side in a process of its own."""
    peaks = []
    with Progress("bench: memory", 2) as progress:
        for side in (0, 1):
            with get_context("spawn").Pool(1) as pool:
                peaks.append(pool.apply(_peak, (work.folder, work.run.root, work.size, side)))
            progress.advance()
    ratio = peaks[0] / peaks[1]
    return Comparison(ratio=ratio, low=ratio, high=ratio, baseline=peaks[0], product=peaks[1])


def _peak(folder: Path, run: Path, size: Size, side: int) -> int:
    work = Work.of(folder, run, size)
    with _silence():
        for section in ("phase_1", "round"):
            DOERS[section][side](work, work.student())
    return peak_memory()


def bench(work: Work, out: Path, sections: Sequence[Section] = SECTIONS, turns: int = 3) -> Bench:
    """Compare baseline and product in every section, and write what came out.

    Raises:
        StudentError: the student is no encoder-decoder, which the baseline is made for.
    """
    student = work.student()
    machine = measure_machine(student.device)
    found = Bench(student=str(work.folder), weights=student.count_parameters(), size=work.size, machine=machine)
    for section in sections:
        own = compare_memory(work) if section == "memory" else compare(work, machine, section, turns)
        found = found.model_copy(update={section: own})
        write_text(out, found.model_dump_json(indent=2, exclude_none=True) + "\n")
    return found


def parts_of(words: str) -> tuple[Section, ...]:
    """Sections from `a,b`; all from nothing. Raises SettingsError."""
    wanted = [word for word in words.split(",") if word]
    for word in wanted:
        if word not in SECTIONS:
            raise SettingsError(expected("parts", word, f"some of {', '.join(SECTIONS)}"))
    return tuple(section for section in SECTIONS if not wanted or section in wanted)


def work_of_student(student: Path, size: Size) -> Work:
    """What a student's own run gives to do.

    Args:
        student: its folder, or a run directory (its last student).

    Raises:
        StudentError, SettingsError, DataError: it cannot be had.
    """
    folder = api.last_student(student).resolve()
    return Work.of(folder, api.run_around(folder).root, size)


def work_of_task(task: str, overrides: Sequence[str], out: Path, size: Size) -> Work:
    """What a student of a task gives to do, trained beside the results unless it is there already.

    Raises:
        TinyThinkerError: it cannot be trained.
    """
    run = api.start(task, out.with_suffix(".run"), *overrides, "reflect.rounds=0")
    api.teach(run)
    api.train(run)
    return Work.of(run.phase_1 / "student", run.root, size)
