"""Which option an answer means: a label, a text or a position; never a guess."""

from __future__ import annotations

from collections.abc import Sequence

from tinythinker.core.errors import DataError, expected
from tinythinker.core.records import LABELS

_MOST_DIGITS = 3
"""Of a position; there are at most 26 options."""


def answer_position(answer: object, names: Sequence[str], texts: Sequence[str], where: str, *, is_named: bool) -> int:
    """The answer's position among the options: the answer is a label, a text, or a position from 0.

    It is never guessed; a position written as text counts only if no label or text matches.

    Args:
        is_named: the file itself names the options. If it calls them A, B, C ..., a number is no position: half the
            files that have such columns count from 1.

    Raises:
        DataError: the answer means no option, or more than one.
    """
    said = "" if answer is None or isinstance(answer, bool) else str(answer)
    by_name = [i for i, name in enumerate(names) if name == said]
    by_text = [i for i, text in enumerate(texts) if text == said]
    is_digits = said.isdecimal() and len(said) <= _MOST_DIGITS
    is_lettered = is_named and all(name in LABELS for name in names)
    if is_digits and is_lettered and not by_text:
        raise DataError(
            expected(
                f"{where}, answer",
                answer,
                f"a label ({', '.join(names)}) or an option's text; a number next to options called {names[0]} to "
                f"{names[-1]} may count from 0 or from 1, so write the labels",
            )
        )
    by_position = [int(said)] if is_digits and int(said) < len(texts) and not is_lettered else []
    is_number = isinstance(answer, int) and not isinstance(answer, bool)
    meant: set[int] = {*by_name, *by_text, *(by_position if is_number else ())} or set(by_position)
    if len(meant) == 1:
        return meant.pop()
    labels, last = ", ".join(names), len(texts) - 1
    wanted = f"a label ({labels}){' or' if is_lettered else ','} an option's text"
    wanted += "" if is_lettered else f", or a position from 0 to {last}"
    raise DataError(expected(f"{where}, answer", answer, f"{wanted}{', and only one option meant' if meant else ''}"))
