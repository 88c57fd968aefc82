"""How long attention takes in training, against products with weights: `student.pieces.COMPARING`.

A student reads as many random tokens in long rows as in short ones. What a token takes more in a long row is attention.

    python -m experiments.attention_cost STUDENT_FOLDER --tokens 5504
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from tinythinker.student.load import load_student
from tinythinker.student.logps import Scorer
from tinythinker.student.pieces import COMPARING, costs_of
from tinythinker.student.reading import plant
from tinythinker.student.student import Student
from tinythinker.student.trees import Branch

SHORT, LONG, TURNS = 43, 688, 4


def main() -> None:
    """Print the seconds per token in short and in long rows, and what they mean."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("student", type=Path)
    arguments.add_argument("--tokens", type=int, default=5504, help="tokens of a pass, a multiple of 688")
    given = arguments.parse_args()
    student = load_student(given.student)
    short, long = (_seconds_per_token(student, given.tokens, length) for length in (SHORT, LONG))
    comparing = (long - short) / (LONG - SHORT)
    attending = comparing / (short - SHORT * comparing)
    assumed = costs_of(student).attending
    print(
        f"a token takes {short * 1e6:.0f} us in rows of {SHORT} and {long * 1e6:.0f} us in rows of {LONG}; comparing "
        f"two tokens takes {attending:.1e} of reading one, {COMPARING * attending / assumed:.1f} times what its "
        "operations would take in products with weights"
    )


def _seconds_per_token(student: Student, tokens: int, length: int) -> float:
    """Of a forward and backward pass over rows of one length, the best of a few."""
    draw = torch.Generator().manual_seed(0)
    words = min(400, int(student.model.config.vocab_size))
    rows = torch.randint(5, words, (tokens // length, length + 1), generator=draw).tolist()
    attending = 1.0  # so dear that no row joins another
    forest = plant(student, [Branch(row, length - 1) for row in rows], attending)
    score, best = Scorer(student.model.train()), float("inf")
    for _ in range(TURNS):
        started = time.perf_counter()
        score(forest).total.sum().backward()
        best = min(best, time.perf_counter() - started)
        student.model.zero_grad()
    return best / (tokens // length * length)


if __name__ == "__main__":
    main()
