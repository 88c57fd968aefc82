"""Do chains sampled in bfloat16 follow the same distribution as chains sampled in float32?

Two answers: how far the next token's distribution moves along greedy recalls (Kullback-Leibler divergence
from float32, nats), and a permutation test on sampled answers. For every question, `--samples` chains are
drawn in each precision, with independent random numbers. The statistic is the mean over questions of the
total variation between the two precisions' answers; its null distribution comes from permuting the chains
within each question.

    tinythinker run storeroom --out RUN reflect.rounds=0
    python -m experiments.bf16_sampling RUN
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tinythinker.core.files import read_records
from tinythinker.core.records import Question, Stage
from tinythinker.core.run import RunDirectory, last_student
from tinythinker.core.seeds import stream
from tinythinker.generate.attention import one_token_attention
from tinythinker.generate.choose import best_tokens
from tinythinker.generate.state import begin
from tinythinker.generate.think import Draws, Thought, think
from tinythinker.student.encode import prompt_ids
from tinythinker.student.load import load_student
from tinythinker.student.precision import decoding
from tinythinker.student.student import Student

STEPS = 16
"""Number of tokens along which distributions are compared."""


def told(student: Student, bf16: str) -> Student:
    """The student, decoding in bfloat16 (`always`) or float32 (`never`)."""
    how = student.recipe.generate.model_copy(update={"bf16": bf16})
    return Student(student.model, student.tokenizer, student.recipe.model_copy(update={"generate": how}))


@torch.inference_mode()
def divergence(student: Student, questions: Sequence[Question], *, one_token: bool) -> float:
    """Mean divergence of bfloat16's next-token distribution from float32's, nats; both read float32 recalls.

    Args:
        one_token: compute attention of new tokens as sampling does; False: use the library's kernel.
    """
    rows = prompt_ids(student, [student.recipe.template.recall_prompt(question) for question in questions]).ids
    exact, rounded = begin(student, rows), decoding(told(student, "always"), is_sampled=True)
    found = []
    with torch.no_grad():
        state = begin(rounded, rows)
        for _ in range(STEPS):
            p, q = (one.logits.double().log_softmax(dim=1) for one in (exact, state))
            found.append((p.exp() * (p - q)).sum(dim=1).mean().item())
            tokens = best_tokens(exact.logits).unsqueeze(1)
            exact.feed(tokens)
            if one_token:
                with one_token_attention(rounded.model):
                    state.feed(tokens)
            else:
                state.feed(tokens)
    return float(np.mean(found))


def answers(student: Student, questions: Sequence[Question], samples: int, seed: int) -> NDArray[np.int_]:
    """Sampled answers, shape (questions, samples): the position of the option, -1 if unreadable."""
    thoughts = [Thought(question, i) for question in questions for i in range(samples)]
    chains = think(student, thoughts, draws=Draws(1.0, seed, frozenset({Stage.RECALL, Stage.ANALYZE})))
    found = [
        -1 if chain.answer is None else thought.question.labels.index(chain.answer)
        for thought, chain in zip(thoughts, chains, strict=True)
    ]
    return np.array(found).reshape(len(questions), samples)


def apart(one: NDArray[np.int_], other: NDArray[np.int_]) -> float:
    """Mean over questions of the total variation between two sets of answers, each (questions, samples)."""
    values = np.arange(-1, max(one.max(), other.max()) + 1)
    shares = [(values[:, None] == own[..., None, :]).mean(axis=-1) for own in (one, other)]
    return float(0.5 * np.abs(shares[0] - shares[1]).sum(axis=-1).mean())


def main() -> None:
    """Print both answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--samples", type=int, default=30)
    asked = parser.parse_args()
    student = load_student(last_student(asked.run))
    questions = read_records(RunDirectory(asked.run).questions("train"), Question)[: asked.questions]
    for name, one_token in (("two products", True), ("library's kernel", False)):
        print(f"divergence, {name}: {divergence(student, questions, one_token=one_token):.2e} nats per token")
    single, half = (
        answers(told(student, how), questions, asked.samples, seed) for seed, how in enumerate(("never", "always"))
    )
    rng = stream(0, "permutations")
    together = np.concatenate([single, half], axis=1)
    found = apart(single, half)
    null = []
    for _ in range(2000):
        mixed = rng.permuted(together, axis=1)
        null.append(apart(mixed[:, : asked.samples], mixed[:, asked.samples :]))
    p = (1 + sum(value >= found for value in null)) / (1 + len(null))
    print(f"answers: total variation {found:.4f}, by chance {np.mean(null):.4f}; p {p:.3f}")


if __name__ == "__main__":
    main()
