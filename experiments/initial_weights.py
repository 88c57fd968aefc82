"""How much the spread of initial relative position biases matters to a student that learns from scratch.

Trains the Storeroom student on its summarize examples only, once with biases as the library draws them and
once as `student/scratch.py` does. Prints the loss of the label token as a share of the loss of guessing
(log 4).

    python experiments/initial_weights.py [--seed N] [--steps N]
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch

from tinythinker.acquire.curriculum import Curriculum, curriculum_of
from tinythinker.acquire.sft import sft_objective
from tinythinker.core.records import Stage, StageExample
from tinythinker.core.run import RunDirectory
from tinythinker.core.seeds import stream
from tinythinker.settings.resolve import load_settings
from tinythinker.student import scratch
from tinythinker.student.logps import Scorer
from tinythinker.student.make import make_student
from tinythinker.tasks.registry import load_task
from tinythinker.teacher.collect import collect_rationales

BATCH = 64
CONCLUSION_TOKENS = 8


def curve(std: float, seed: int, steps: int) -> list[float]:
    """Mean loss of every 20 steps as a share of the loss of guessing the label."""
    scratch.BIAS_STD = std
    settings = load_settings("storeroom", [f"seed={seed}"])
    task = load_task(settings)
    collected = collect_rationales(settings, task, RunDirectory(Path("unused")))
    questions, rationales = collected.questions, collected.rationales
    student = make_student(settings, questions, rationales)
    curriculum = curriculum_of(settings, questions, rationales)
    objective = sft_objective(student)
    optimizer = torch.optim.AdamW(student.model.parameters(), lr=1e-3, weight_decay=0.0)
    losses: list[float] = []
    while len(losses) < steps:
        for examples in batches(curriculum, len(losses), seed):
            loss = objective(Scorer(student.model), examples)
            (loss.total / loss.weight).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(student.model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.total.item() / loss.weight * CONCLUSION_TOKENS / math.log(4))
    return [sum(losses[i : i + 20]) / 20 for i in range(0, steps, 20)]


def batches(curriculum: Curriculum, epoch: int, seed: int) -> list[list[StageExample]]:
    """The summarize examples of an epoch in a fresh order."""
    examples = [example for example in curriculum.examples(epoch) if example.stage is Stage.SUMMARIZE]
    order = stream(seed, "experiment", epoch).permutation(len(examples))
    return [[examples[i] for i in order[start : start + BATCH]] for start in range(0, len(order) - BATCH, BATCH)]


def main() -> None:
    """Print one line per spread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=240)
    arguments = parser.parse_args()
    for std in (128**-0.5, scratch.BIAS_STD):
        shares = curve(std, arguments.seed, arguments.steps)
        print(f"std {std:.3f}: " + " ".join(f"{share:.3f}" for share in shares), flush=True)


if __name__ == "__main__":
    main()
