"""How many tokens of T5's vocabulary CommonsenseQA's training examples have, with ECQA's explanations.

    python experiments/prompt_lengths.py --csqa DIR --ecqa DIR --vocabulary spiece.model

DIR holds the official files; the vocabulary is the SentencePiece file of google-t5/t5-small.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tinythinker.core.run import RunDirectory
from tinythinker.settings.resolve import load_settings
from tinythinker.stages.examples import build_examples
from tinythinker.stages.template import Template
from tinythinker.student.scratch import sentencepiece_tokenizer
from tinythinker.tasks.registry import load_task
from tinythinker.teacher.collect import collect_rationales

SHORT = 200
"""The limit whose cuts are counted."""


def main() -> None:
    """Count and print a line per plan and stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("csqa", "ecqa", "vocabulary"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    tokenizer = sentencepiece_tokenizer(given.vocabulary)
    settings = load_settings("csqa", [f"data_dir={given.csqa}", f"teacher.path={given.ecqa}"])
    task = load_task(settings)
    collected = collect_rationales(settings, task, RunDirectory(Path("unused")))
    for plan in ("full", "cot"):
        examples = build_examples(plan, Template("paper"), collected.questions, collected.rationales)
        for stage in dict.fromkeys(example.stage for example in examples):
            own = [example for example in examples if example.stage is stage]
            read, learned = (
                sorted(len(ids) for ids in tokenizer(texts)["input_ids"])
                for texts in ([example.prompt for example in own], [example.target for example in own])
            )
            long = sum(tokens > SHORT for tokens in read)
            print(
                f"{plan} {stage}: {len(own)} examples; prompts median {read[len(read) // 2]}, longest {read[-1]}, "
                f"{long} ({long / len(read):.1%}) over {SHORT}; targets median {learned[len(learned) // 2]}, "
                f"longest {learned[-1]}"
            )


if __name__ == "__main__":
    main()
