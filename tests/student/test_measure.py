from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from tests.conftest import ask
from tinythinker.core.errors import StudentError
from tinythinker.settings.resolve import load_settings
from tinythinker.student.measure import longest_prompt

QUESTIONS = [ask("Where is it?", "up", "down", id="q1"), ask("Where is it, then?", "#", "up", id="q2")]


def test_a_students_own_vocabulary_counts_tokens_and_those_it_does_not_have(tmp_path: Path) -> None:
    words = ["[UNK]", *"Where is it ? , then ( A ) ( B ) up down Summarize :".split()]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(dict.fromkeys(words))}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    longest = longest_prompt(load_settings("csqa", [f"student.name={tmp_path}"]))(QUESTIONS)
    assert (longest.question_id, longest.unit) == ("q2", "tokens")
    assert (longest.count_unknown, longest.first_unknown) == (1, "q2")


@pytest.mark.parametrize("name", ["tokenizer.json", "spiece.model"])
def test_a_damaged_vocabulary_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("no vocabulary")
    with pytest.raises(StudentError, match=rf"{name}: found no (tokenizer|SentencePiece vocabulary) \("):
        longest_prompt(load_settings("csqa", [f"student.name={tmp_path}"]))


def test_a_vocabulary_that_is_elsewhere_leaves_characters() -> None:
    longest = longest_prompt(load_settings("csqa", ["student.name=nobody/nothing"]))(QUESTIONS)
    assert (longest.unit, longest.count_unknown) == ("characters", None)
