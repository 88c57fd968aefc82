"""How long a step of phase 1 takes in float32 and in bfloat16, with torch's attention and with the product's.

python -m experiments.training_precision RUN --steps 12 --turns 3
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from tinythinker.acquire.sft import sft_objective, sft_pieces
from tinythinker.bench.workload import Size, Work
from tinythinker.core.records import StageExample
from tinythinker.core.run import last_student
from tinythinker.student.logps import Scorer
from tinythinker.student.student import Student
from tinythinker.train.mixed_precision import short_attention_in_float32

WAYS = ("float32", "bfloat16", "bfloat16, short attention in float32")


def main() -> None:
    """Print the seconds per step of each way, and how many times faster than float32 it is."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("run", type=Path)
    arguments.add_argument("--steps", type=int, default=12)
    arguments.add_argument("--turns", type=int, default=3)
    given = arguments.parse_args()
    work = Work.of(last_student(given.run), given.run, Size(steps=given.steps))
    batches = [batch for _, batch in work.batches]
    student = work.student()
    _seconds_per_step(student, batches[:1], WAYS[0])
    taken = np.array([[_seconds_per_step(student, batches, way) for way in WAYS] for _ in range(given.turns)])
    for number, way in enumerate(WAYS):
        ratios = taken[:, 0] / taken[:, number]
        print(
            f"{way}: {taken[:, number].mean():.3f} s per step, {np.exp(np.log(ratios).mean()):.2f} times "
            f"({ratios.min():.2f} to {ratios.max():.2f}) as fast as float32"
        )


def _seconds_per_step(student: Student, batches: Sequence[Sequence[StageExample]], way: str) -> float:
    objective, pieces, score = sft_objective(student), sft_pieces(student, None), Scorer(student.model.train())
    optimizer = torch.optim.AdamW(student.model.parameters(), lr=0.0)
    started = time.perf_counter()
    with short_attention_in_float32() if way == WAYS[2] else nullcontext():
        for batch in batches:
            for piece in pieces(batch):
                with torch.autocast("cpu", torch.bfloat16, enabled=way != WAYS[0]):
                    loss = objective(score, piece)
                torch.autograd.backward(loss.total / len(batch))
            optimizer.step()
            optimizer.zero_grad()
    return (time.perf_counter() - started) / len(batches)


if __name__ == "__main__":
    main()
