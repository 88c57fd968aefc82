"""Secrets in texts from outside: an API key that a server repeats, a password or key in an address."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from pydantic import JsonValue

_ADDRESS = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?P<rest>[^\s'\"`<>]+)", re.I)
_SURELY_A_KEY, _PERHAPS_A_KEY = 16, 8
"""In characters: a value of at least the first length is a key; of at least the second, if it has a digit.

Anything else may be a word.
"""

_NAMES_A_SECRET = re.compile(
    r"(?:(?:x|my|the|openai|client|access|auth|bearer|secret)[-_]?)*"
    r"(?:api[-_]?key|key|token|secret|password|passwd|authorization|credentials?)",
    re.I,
)
_LOOKS_LIKE_A_SECRET = re.compile(
    r"\b(?:bearer\s+\S{8}|(?:sk|pk|gsk|hf|xai|r8|nvapi|ghp|pplx|csk|fw)[-_][\w-]{16}|AIza[\w-]{30})", re.I
)

Hide = Callable[[str], str]
"""Masks a secret in a text."""


def hidden(key: str) -> Hide:
    """A function that masks the key in a text, such as an echo from a server.

    A key that may be a plain word is left alone.
    """
    is_key = len(key) >= _SURELY_A_KEY or (len(key) >= _PERHAPS_A_KEY and any(sign.isdigit() for sign in key))
    if not is_key:
        return str
    # Inside a text that is JSON itself, a key with a quote or a backslash is spelled with escapes.
    spellings = sorted({key, json.dumps(key)[1:-1]}, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, spellings)))
    return lambda text: pattern.sub("[key]", text)


def hidden_everywhere(value: JsonValue, hide: Hide) -> JsonValue:
    """The value with every text in it masked, names of fields included."""
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, list):
        return [hidden_everywhere(one, hide) for one in value]
    if isinstance(value, dict):
        return {hide(name): hidden_everywhere(one, hide) for name, one in value.items()}
    return value


def holds_secret(value: JsonValue) -> bool:
    """Does a value look like it holds a secret: a field named like one, a text in the form of a key or with a password?

    >>> holds_secret({"headers": {"Authorization": "abc"}}), holds_secret({"max_thinking_tokens": 5})
    (True, False)
    """
    if isinstance(value, str):
        return bool(_LOOKS_LIKE_A_SECRET.search(value)) or "[hidden]@" in without_secrets(value)
    if isinstance(value, list):
        return any(map(holds_secret, value))
    if isinstance(value, dict):
        return any(_NAMES_A_SECRET.fullmatch(name) or holds_secret(name) for name in value) or any(
            map(holds_secret, value.values())
        )
    return False


def without_secrets(text: str) -> str:
    """The text, its addresses without user, password, parameters, query and fragment.

    >>> without_secrets("found 'https://me:secret@host/v1?key=1', expected a plain address")
    "found 'https://[hidden]@host/v1?[hidden]', expected a plain address"
    """
    return _ADDRESS.sub(_plain_address, text)


def _plain_address(match: re.Match[str]) -> str:
    # A password may hold a slash or a question mark, so the last @ ends it wherever it stands.
    _, at, rest = match["rest"].rpartition("@")
    kept = re.split(r"[?#;]", rest, maxsplit=1)
    return match["scheme"] + ("[hidden]@" if at else "") + kept[0] + ("?[hidden]" if len(kept) > 1 else "")
