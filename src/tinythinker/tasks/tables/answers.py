"""Which option an answer means: a label, a text or a position; never a guess."""

from __future__ import annotations

from collections.abc import Sequence

from tinythinker.core.errors import DataError, expected


def answer_position(answer: object, names: Sequence[str], texts: Sequence[str], where: str) -> int:
    """The answer's position among the options: the answer is a label, a text, or a position from 0.

    It is never guessed; a position written as text counts only if no label or text matches.

    Raises:
        DataError: the answer means no option, or more than one.
    """
    said = "" if answer is None or isinstance(answer, bool) else str(answer)
    by_name = [i for i, name in enumerate(names) if name == said]
    by_text = [i for i, text in enumerate(texts) if text == said]
    by_position = [int(said)] if said.isdecimal() and int(said) < len(texts) else []
    is_number = isinstance(answer, int) and not isinstance(answer, bool)
    meant: set[int] = {*by_name, *by_text, *(by_position if is_number else ())} or set(by_position)
    if len(meant) == 1:
        return meant.pop()
    wanted = f"a label ({', '.join(names)}), an option's text, or a position from 0 to {len(texts) - 1}"
    raise DataError(expected(f"{where}, answer", answer, f"{wanted}{', and only one option meant' if meant else ''}"))
