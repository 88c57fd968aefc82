"""PaLM-540B's rationales for CommonsenseQA -> a file of recalls for `teacher.source=recorded`.

The first sentence of each says what the answer must be like, and names no option: "The answer must be a place where
beavers live." It is true of the question whether PaLM then chose the right option or not, so all are kept.

    python experiments/real/palm.py csqa_palm540b_cot.jsonl RECALLS.jsonl
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

FIRST_SENTENCE = re.compile(r"The answer .*?\.(?=\s|$)")


def main() -> None:
    """Write a recall for every training question."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("palm", type=Path)
    arguments.add_argument("recalls", type=Path)
    given = arguments.parse_args()
    with given.palm.open(encoding="utf-8") as lines, given.recalls.open("w", encoding="utf-8") as written:
        for row in map(json.loads, lines):
            found = FIRST_SENTENCE.match(row["rationale"])
            if row["split"] == "train" and found:
                written.write(json.dumps({"question_id": row["id"], "recall": found.group()}) + "\n")


if __name__ == "__main__":
    main()
