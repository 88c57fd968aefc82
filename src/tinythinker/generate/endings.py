"""How likely each of several endings of a prompt is; what they begin with is read once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from tinythinker.settings.schema import Normalize
from tinythinker.student.logps import logps_of
from tinythinker.student.reading import plan_passes, read
from tinythinker.student.student import Student


class Ending(NamedTuple):
    """A text that may follow a prompt."""

    logp: float
    """Log-probability of the whole text, nats."""
    tokens: int
    characters: int


@torch.inference_mode()
def ending_logps(
    student: Student, prompts: Sequence[str], endings: Sequence[Sequence[str]], *, batch_size: int
) -> list[list[Ending]]:
    """Every ending of every prompt, in the order given.

    An untrained student does not know that an answer ends there, so its end-of-sequence token does not count.

    Args:
        endings: at least one per prompt.
        batch_size: most endings in a forward pass.
    """
    is_ended = student.recipe.is_trained
    items = [(prompt, text) for prompt, some in zip(prompts, endings, strict=True) for text in some]
    distinct = list(dict.fromkeys(items))
    student.model.eval()
    found: dict[tuple[str, str], Ending] = {}
    asked = [prompt for prompt, _ in distinct]
    for piece in plan_passes(student, asked, [[text for _, text in distinct]], batch_size):
        some = [distinct[i] for i in piece]
        reading = read(student, [prompt for prompt, _ in some], [text for _, text in some], is_ended=is_ended)
        logps = logps_of(student.model, reading)
        for item, logp, tokens in zip(some, logps.total.tolist(), logps.tokens.tolist(), strict=True):
            found[item] = Ending(logp, tokens, len(item[1]))
    every = iter(items)
    return [[found[next(every)] for _ in some] for some in endings]


def normalized(endings: Sequence[Ending], how: Normalize) -> list[float]:
    """Log-probabilities of the endings of one prompt as if all were as long as the mean of them.

    So they can be compared, and the best is the one with the most probability per character or per token.

    Args:
        how: none, characters or tokens; none leaves them as they are.

    >>> normalized([Ending(-2.0, 1, 4), Ending(-3.0, 2, 12)], "characters")
    [-4.0, -2.0]
    """
    if how == "none":
        return [ending.logp for ending in endings]
    lengths = [ending.characters if how == "characters" else ending.tokens for ending in endings]
    mean = sum(lengths) / len(lengths)
    return [ending.logp * mean / length for ending, length in zip(endings, lengths, strict=True)]
