"""Where greedy chains of a T5 spend their time: matrix products with weights, their rate, and the rest.

The student has the shape of T5-small and random weights, so every text is as long as its limit.

    python -m experiments.t5_products CSQA_QUESTIONS.jsonl spiece.model
"""

from __future__ import annotations

import argparse
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from tinythinker.bench.counting import counted
from tinythinker.bench.machine import measure_machine
from tinythinker.core.files import read_records
from tinythinker.core.records import Question
from tinythinker.generate.decode import decode
from tinythinker.settings.resolve import load_settings
from tinythinker.student.make import make_student

RECALL = "People keep things that they need where they find them again."
TOKENS = 30
PRODUCTS = ("aten::mm", "aten::addmm")


def main() -> None:
    """Print one line per kind of operation, and the rate of the products."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("questions", type=Path)
    arguments.add_argument("sentencepiece", type=Path)
    arguments.add_argument("--count", type=int, default=64, help="questions")
    given = arguments.parse_args()
    settings = load_settings(
        "storeroom", ["student.size=t5-small", f"student.sentencepiece={given.sentencepiece}", "generate.bf16=never"]
    )
    student = make_student(settings, [], [])
    template = student.recipe.template
    asked = read_records(given.questions, Question)[: given.count]
    prompts = [template.analyze_prompt(question, RECALL, label) for question in asked for label in question.labels]

    def work() -> None:
        decode(student, prompts, max_tokens=TOKENS, batch_size=128)

    with counted(student) as positions:
        work()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        work()
    best = measure_machine(student.device).matmul_flops
    every = sorted(found.key_averages(), key=lambda one: one.self_cpu_time_total, reverse=True)
    total = sum(one.self_cpu_time_total for one in every) / 1e6
    in_products = sum(one.self_cpu_time_total for one in every if one.key in PRODUCTS) / 1e6
    for one in every[:6]:
        print(f"{one.key:<45}{one.self_cpu_time_total / 1e6:>8.2f}s{one.self_cpu_time_total / 1e6 / total:>7.0%}")
    rate = positions.weight_flops / in_products
    print(
        f"{len(prompts)} prompts, {positions.prompt_tokens:,} prompt tokens, {TOKENS} written each: {total:.1f} s; "
        f"products with weights {in_products:.1f} s at {rate / 1e9:.0f} of {best / 1e9:.0f} GFLOPS"
    )


if __name__ == "__main__":
    main()
