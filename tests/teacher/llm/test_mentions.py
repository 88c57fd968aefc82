from __future__ import annotations

import pytest

from tests.conftest import ask
from tinythinker.teacher.llm.lexicon import CLASSES
from tinythinker.teacher.llm.mentions import plain, sentences

QUESTION = ask("Where do people keep money?", "bank", "tree", "no")


def mentioned(text: str) -> list[str]:
    """The options and groups of options that a text mentions."""
    return [token.of for sentence in sentences(plain(text), QUESTION) for token in sentence if token.kind in "LTG"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Option B, the **tree**, and (a)", ["B", "A"]),
        ("the last option and option 2 and the second one", ["C", "B", "B"]),
        ("the answer is \u201cno\u201d", ["C"]),
        ("there is no tree", ["B"]),
        ("A bank is a place; A is a letter", ["A", "A"]),
        ("vitamin C, plan B, bus A", []),
        ("$\\boxed{\\text{B}}$", ["B"]),
        ("\uff22 is \U0001d402", ["B", "C"]),
        ("none of the other options, all options, the rest", ["no other", "all", "rest"]),
    ],
)
def test_an_option_is_found_however_it_is_named(text: str, wanted: list[str]) -> None:
    assert mentioned(text) == wanted


def test_no_word_has_two_classes() -> None:
    words = [word for listed in CLASSES.values() for word in listed.split()]
    assert sorted(words) == sorted(set(words))
