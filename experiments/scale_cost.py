"""Time and price of CommonsenseQA for students of four sizes on 1, 8 and 64 GPUs: computed, not measured.

Weights come from the models' published shapes, without allocating memory; texts are as long as ECQA's in T5's
vocabulary. Replace the assumptions below with your own.

    python -m experiments.scale_cost
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import T5Config, T5ForConditionalGeneration

from tinythinker.core.metrics import FLOPS_PER_WEIGHT, Weights
from tinythinker.student.flops import weights_by_side

SHAPES = {
    "T5-small": {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8},
    "T5-base": {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
    "T5-large": {"d_model": 1024, "d_kv": 64, "d_ff": 4096, "num_layers": 24, "num_heads": 16},
    "T5-3b": {"d_model": 1024, "d_kv": 128, "d_ff": 16384, "num_layers": 24, "num_heads": 32},
}
"""Raffel et al. 2020, arXiv:1910.10683, section 3.7, and the configurations published with the weights."""

QUESTIONS, OPTIONS, RATIONALES, EPOCHS, ROUNDS, SAMPLES = 8_520, 5, 8, 10, 5, 10
"""From METHOD: CommonsenseQA as published."""
CHOSEN_RECALLS = 3
"""Assumed: distinct recalls per question that lead to gold; each gets `SAMPLES` sets of analyses."""
PAIR_STEPS, PAIR_BATCH = 10 * 2 * 100, 32
"""Ten cycles of 100 steps on each kind of pair."""


@dataclass(frozen=True)
class Text:
    """Mean tokens of a stage's prompt and target."""

    prompt: int
    target: int


RECALL, ANALYZE, SUMMARIZE = Text(45, 15), Text(67, 16), Text(151, 8)
"""Measured: ECQA in T5's vocabulary, `phase-1/metrics.jsonl` of a run with 80 questions."""

PEAK = 989e12
"""Dense bfloat16 operations per second of one H100 or H200 (data sheet)."""
TRAINING_SHARE = {"T5-small": 0.15, "T5-base": 0.25, "T5-large": 0.40, "T5-3b": 0.40}
"""Assumed share of the peak in training; we have measured none of these."""
SAMPLING_SHARE = {"T5-small": 0.01, "T5-base": 0.02, "T5-large": 0.03, "T5-3b": 0.05}
"""Assumed share of the peak in sampling; decoding token by token is limited by memory bandwidth."""
EFFICIENCY = {1: 1.0, 8: 0.95, 64: 0.80}
"""Assumed parallel efficiency by number of GPUs."""
PRICE = 3.0
"""Assumed price, US dollars per GPU hour."""


def weights_of_shape(shape: dict[str, int]) -> Weights:
    """Weights by side, computed without allocating memory."""
    with torch.device("meta"):
        return weights_by_side(T5ForConditionalGeneration(T5Config(vocab_size=32128, **shape)))  # type: ignore[arg-type]


def training(weights: Weights) -> float:
    """Floating-point operations of phase 1 and of the training of all rounds."""
    rows = QUESTIONS * RATIONALES * EPOCHS
    phase_1 = sum(
        weights.flops(rows * count * text.prompt, rows * count * text.target)
        for text, count in ((RECALL, 1), (ANALYZE, OPTIONS), (SUMMARIZE, 1))
    )
    pairs = PAIR_STEPS * PAIR_BATCH // 2
    phase_2 = sum(weights.flops(pairs * text.prompt, 2 * pairs * text.target) for text in (RECALL, ANALYZE))
    return phase_1 + ROUNDS * phase_2


def sampling(weights: Weights) -> float:
    """Floating-point operations of all sampling, two per weight and token; a prompt is read once."""
    chains = QUESTIONS * SAMPLES
    sets = QUESTIONS * CHOSEN_RECALLS * SAMPLES
    prompts = QUESTIONS * RECALL.prompt + (chains + sets / SAMPLES) * OPTIONS * ANALYZE.prompt
    prompts += (chains + sets) * SUMMARIZE.prompt
    written = chains * RECALL.target + (chains + sets) * (OPTIONS * ANALYZE.target + SUMMARIZE.target)
    return ROUNDS * weights.flops(int(prompts), int(written)) * 2 / FLOPS_PER_WEIGHT


def main() -> None:
    """Print the table."""
    print("| student | training, sampling (operations) | 1 GPU | 8 GPUs | 64 GPUs | dollars on 8 |")
    print("|---|---|---|---|---|---|")
    for name, shape in SHAPES.items():
        weights = weights_of_shape(shape)
        learned, drawn = training(weights), sampling(weights)
        alone = learned / (PEAK * TRAINING_SHARE[name]) + drawn / (PEAK * SAMPLING_SHARE[name])
        hours = {gpus: alone / 3600 / gpus / share for gpus, share in EFFICIENCY.items()}
        times = " | ".join(f"{own:.1f} h" if own >= 1 else f"{60 * own:.0f} min" for own in hours.values())
        print(f"| {name} | {learned:.1e}, {drawn:.1e} | {times} | {8 * hours[8] * PRICE:.0f} |")


if __name__ == "__main__":
    main()
