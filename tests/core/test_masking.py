from __future__ import annotations

import pytest
from pydantic import JsonValue

from tinythinker.core.errors import expected
from tinythinker.core.masking import hidden, hidden_everywhere, holds_secret, without_secrets

KEY = 'sk-0123456789"abc'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pw@host/v1", "https://[hidden]@host/v1"),
        ("https://me:p/w?x@host/v1", "https://[hidden]@host/v1"),
        ("see http://host:8000/v1?api_key=s, then", "see http://host:8000/v1?[hidden] then"),
        ("http://host/v1;api_key=s", "http://host/v1?[hidden]"),
        ("http://host/v1#s", "http://host/v1?[hidden]"),
        ("(from https://host/path/file.json)", "(from https://host/path/file.json)"),
        ("socks5h://me@proxy:1 failed", "socks5h://[hidden]@proxy:1 failed"),
        ("me@example.org; who? #1", "me@example.org; who? #1"),
    ],
)
def test_an_address_is_shown_without_user_password_query_and_parameters(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_a_message_shows_no_secret_of_an_address_and_no_endless_value() -> None:
    assert "pw" not in expected("x", ["https://me:pw@host"], "y")
    assert len(expected("x", "z" * 10_000, "y")) < 300


def test_a_key_is_masked_in_every_text_of_a_value_also_where_json_escapes_it() -> None:
    hide = hidden(KEY)
    value: JsonValue = {"id": KEY, KEY: [1, None, f"<{KEY}>"], "inner": {"text": 'say sk-0123456789\\"abc'}}
    assert hidden_everywhere(value, hide) == {
        "id": "[key]",
        "[key]": [1, None, "<[key]>"],
        "inner": {"text": "say [key]"},
    }


@pytest.mark.parametrize("word", ["none", "ollama", "password"])
def test_a_key_that_may_be_a_word_is_left_alone(word: str) -> None:
    assert hidden(word)(f"a {word} b") == f"a {word} b"


@pytest.mark.parametrize(
    ("value", "is_secret"),
    [
        ({"api_key": "x"}, True),
        ({"headers": [{"X-Api-Key": "x"}]}, True),
        ({"Authorization": "x"}, True),
        ("Bearer abcdefgh", True),
        ({"a": "sk-proj-0123456789abcdef"}, True),
        ({"a": "https://me:word@host/"}, True),
        ({"max_thinking_tokens": 5, "prompt_cache_key": "run-1", "stop_token_ids": [1]}, False),
        ({"user": "sk-short", "seed": 1, "stop": ["Answer:"]}, False),
        ("https://host/path", False),
    ],
)
def test_what_looks_like_a_secret_is_found_wherever_it_stands(value: JsonValue, is_secret: bool) -> None:
    assert holds_secret(value) is is_secret
