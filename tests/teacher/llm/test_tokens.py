from __future__ import annotations

import pytest

from tests.conftest import ask
from tinythinker.teacher.llm.prompt import Prompt
from tinythinker.teacher.llm.tokens import count_tokens, is_cut, likely_tokens, limit_tokens

PROMPT = Prompt(
    system="s", show_gold=True, structured=False, model="m", temperature=None, extra={}, sentence_length=100
)


def test_four_characters_count_as_one_token_rounded_up() -> None:
    assert [count_tokens(text) for text in ("", "a", "abcd", "abcde")] == [0, 1, 1, 2]


@pytest.mark.parametrize(("options", "limit"), [(2, 256), (4, 256), (5, 277), (8, 416), (26, 1247)])
def test_the_limit_of_a_completion_grows_with_the_options(options: int, limit: int) -> None:
    question = ask("Which?", *(f"option {i}" for i in range(options)))
    # 8 + 100 / 4 = 33 tokens a sentence, one for the knowledge and one for every option
    assert likely_tokens(PROMPT, question) == 33 * (1 + options)
    assert limit_tokens(PROMPT, question) == limit


def test_a_prompt_counted_at_less_than_two_thirds_was_cut() -> None:
    assert not is_cut(1_200, 1_700)  # a vocabulary of long words
    assert is_cut(1_024, 1_700)
