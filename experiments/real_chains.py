"""Are our greedy chains those of the library's `generate`, token for token? Counts texts that differ.

    python -m experiments.real_chains RUN --questions 40

RUN holds a trained student with stages.plan=full. Every text of a chain is compared: recall, analyses, conclusion.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tinythinker.bench import baseline
from tinythinker.bench.bench import work_of_student
from tinythinker.bench.workload import Size
from tinythinker.generate.think import Thought, think


def main() -> None:
    """Print the number of texts, of different texts among them, and of those that are not the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--questions", type=int, default=40)
    given = parser.parse_args()
    work = work_of_student(given.run, Size(questions=given.questions))
    (plain,) = baseline.chains(work.student(), work.test, work.plain(hot=False), 1, seed=0)
    ours = think(work.student(), [Thought(question) for question in work.test])
    texts = [text for own in plain for text in own.texts()]
    made = [text for chain in ours for text in (str(chain.recall), *chain.analyses, chain.conclusion)]
    unlike = sum(one != other for one, other in zip(texts, made, strict=True))
    print(f"{len(texts)} texts, {len(set(texts))} different ones; {unlike} not the same")


if __name__ == "__main__":
    main()
