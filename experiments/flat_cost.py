"""Seconds per question and peak memory of phase 2 and evaluation, for 100, 1,000 and 10,000 questions.

Each number of questions runs in a separate process. The questions are the run's, with options in any order.

    tinythinker run storeroom --out RUN reflect.rounds=0
    python -m experiments.flat_cost RUN
"""

from __future__ import annotations

import argparse
import itertools
import time
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from tinythinker.bench.machine import peak_memory
from tinythinker.core.files import read_records
from tinythinker.core.records import Question
from tinythinker.core.run import RoundFolder, RunDirectory, last_student
from tinythinker.evaluate.verdicts import write_verdicts
from tinythinker.reflect.sample import Sampler, make_pairs
from tinythinker.settings.resolve import validate
from tinythinker.settings.schema import EvaluateSettings
from tinythinker.student.load import load_student
from tinythinker.tasks.split import draw
from tinythinker.teacher.rationales import read_rationales

COUNTS = (100, 1_000, 10_000)


def questions(own: list[Question], count: int) -> list[Question]:
    """A draw of `count` questions with options in any order, each with its own id."""
    every = [
        question.permuted(order).model_copy(update={"id": f"{question.id}/{number}"})
        for question in own
        for number, order in enumerate(itertools.permutations(range(len(question.options))))
    ]
    return draw(every, count, 0, "flat cost")


def measure(root: Path, count: int) -> tuple[float, float, int]:
    """Seconds per question to sample and pair, seconds per question to answer, and peak bytes."""
    run = RunDirectory(root)
    asked = questions(read_records(run.questions("train"), Question), count)
    rationales = read_rationales(run.rationales)[1]
    student = load_student(last_student(root))
    settings = validate(run.manifest().settings)
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        reflect = settings.reflect.model_copy(update={"questions": None})
        make_pairs(
            Sampler(student, reflect, RoundFolder(Path(folder, "round-1")), 1, settings.seed), asked, rationales, []
        )
        sampled = time.perf_counter()
        write_verdicts(Path(folder, "verdicts.jsonl"), student, asked, EvaluateSettings(), settings.seed, None)
        answered = time.perf_counter()
    return (sampled - started) / count, (answered - sampled) / count, peak_memory()


def main() -> None:
    """Print one line per number of questions."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("run", type=Path)
    root = arguments.parse_args().run
    print("questions  ms to sample and pair  ms to answer  peak MB")
    for count in COUNTS:
        with get_context("spawn").Pool(1) as pool:
            sample, answer, peak = pool.apply(measure, (root, count))
        print(f"{count:>9}{1e3 * sample:>23.1f}{1e3 * answer:>14.1f}{peak / 1e6:>9.0f}")


if __name__ == "__main__":
    main()
