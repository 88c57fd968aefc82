"""Dividing questions into splits, and drawing some of them: both seeded, both in file order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinythinker.core.errors import DataError, expected
from tinythinker.core.records import Question
from tinythinker.core.seeds import stream
from tinythinker.core.stored import pick


def draw(questions: Sequence[Question], limit: int | None, seed: int, name: str) -> Sequence[Question]:
    """A seeded draw of at most `limit` questions, in their own order; they stay on disk if they are there.

    Args:
        limit: None keeps all.
        name: of the random stream.
    """
    if limit is None or limit >= len(questions):
        return questions
    kept = stream(seed, "limit", name).permutation(len(questions))[:limit]
    return pick(questions, sorted(map(int, kept)))


def divide(questions: Sequence[Question], shares: Mapping[str, int], seed: int) -> dict[str, list[Question]]:
    """Divide questions at random into splits of the given sizes; the rest becomes `train`. File order within each.

    Raises:
        DataError: nothing would be left for a split.
    """
    order = [int(i) for i in stream(seed, "split").permutation(len(questions))]
    divided: dict[str, list[Question]] = {}
    for name, count in shares.items():
        divided[name] = [questions[i] for i in sorted(order[:count])]
        order = order[count:]
    divided["train"] = [questions[i] for i in sorted(order)]
    for name, some in divided.items():
        if not some:
            raise DataError(
                expected(f"{name} split", f"no question of {len(questions)}", "at least one; add questions")
            )
    return divided
