"""Seconds per question and peak memory of phase 2's pairs and of evaluation, for a few and for many questions.

Each number of questions runs in a separate process. The questions are the run's, in all orders of their options, again
and again; every one has an id of its own.

    tinythinker run storeroom --out RUN reflect.rounds=0
    python -m experiments.flat_cost RUN
    python -m experiments.flat_cost RUN --questions 1000 100000 --samples 2 --pairs-only
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from tinythinker.bench.machine import peak_memory
from tinythinker.core.files import iterate_records, write_records
from tinythinker.core.records import Question
from tinythinker.core.run import RoundFolder, RunDirectory, last_student
from tinythinker.core.stored import Stored
from tinythinker.evaluate.verdicts import write_verdicts
from tinythinker.reflect.sample import Sampler, make_pairs
from tinythinker.settings.resolve import validate
from tinythinker.settings.schema import EvaluateSettings
from tinythinker.student.load import load_student
from tinythinker.teacher.taught import read_questions, read_taught


def questions(file: Path, count: int) -> Iterator[Question]:
    """As many questions as wanted, each with its own id."""
    for number in range(count):
        for question in iterate_records(file, Question):
            for order in itertools.permutations(range(len(question.options))):
                name = f"{question.id}/{number}-{''.join(map(str, order))}"
                yield question.permuted(order).model_copy(update={"id": name})


def measure(root: Path, count: int, samples: int, *, are_answered: bool) -> tuple[float, float, int, int]:
    """Seconds per question to sample and pair, seconds per question to answer, peak bytes of each and all before."""
    run = RunDirectory(root)
    rationales = read_taught(run, read_questions(run, "train"))
    student = load_student(last_student(root))
    settings = validate(run.manifest().settings)
    reflect = settings.reflect.model_copy(update={"questions": None, "samples_per_question": (samples,)})
    with TemporaryDirectory() as folder:
        file = Path(folder, "questions.jsonl")
        write_records(file, itertools.islice(questions(run.questions("train"), count), count))
        asked = Stored(file, Question)
        started = time.perf_counter()
        make_pairs(
            Sampler(student, reflect, RoundFolder(Path(folder, "round-1")), 1, settings.seed), asked, rationales, []
        )
        sampled, paired = time.perf_counter(), peak_memory()
        if are_answered:
            write_verdicts(Path(folder, "verdicts.jsonl"), student, asked, EvaluateSettings(), settings.seed, None)
        answered = time.perf_counter()
    return (sampled - started) / count, (answered - sampled) / count, paired, peak_memory()


def main() -> None:
    """Print one line per number of questions."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("run", type=Path)
    arguments.add_argument("--questions", type=int, nargs="+", default=[100, 1_000, 10_000])
    arguments.add_argument("--samples", type=int, default=8, help="recalls per question")
    arguments.add_argument("--pairs-only", action="store_true", help="answer no questions")
    given = arguments.parse_args()
    print("questions  ms to sample and pair  ms to answer  peak MB after pairs  peak MB at the end", flush=True)
    for count in given.questions:
        with get_context("spawn").Pool(1) as pool:
            sample, answer, paired, peak = pool.apply(
                measure, (given.run, count, given.samples), {"are_answered": not given.pairs_only}
            )
        print(
            f"{count:>9}{1e3 * sample:>23.1f}{1e3 * answer:>14.1f}{paired / 1e6:>21.0f}{peak / 1e6:>20.0f}", flush=True
        )


if __name__ == "__main__":
    main()
