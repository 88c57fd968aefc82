"""What must not leave this machine: its paths and its keys, wherever they stand in a text."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tinythinker.core.masking import without_secrets

_KEYS = re.compile(
    r"\b(?:(?:sk|pk|gsk|hf|xai|r8|nvapi|ghp|pplx|csk|fw)[-_][\w-]{16,}|AIza[\w-]{30,}|bearer\s+\S{8,})", re.IGNORECASE
)
_PATHS = re.compile(r"(?<![\w.:/<>-])(?:~|[A-Za-z]:|\.{1,2})?(?:[/\\][\w.@+-]+){2,}[/\\]?")
"""An absolute path, or one that begins at the home directory, here, or at a drive."""
_KEY_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD")
_SHORTEST_KEY = 12
"""Characters of a value that counts as a key: a shorter one may be a word."""


def _keys() -> Iterator[str]:
    """Values of environment variables that are named like keys."""
    for name, value in os.environ.items():
        if _KEY_NAMES.search(name.upper()) and len(value) >= _SHORTEST_KEY and not value.isalpha():
            yield value


def _homes(*folders: Path) -> list[str]:
    """Absolute folders in every spelling, longest first; none that is a root."""
    every = {
        str(one) for folder in (*folders, Path.home(), Path.cwd()) for one in (folder.absolute(), folder.resolve())
    }
    return sorted((one for one in every if len(Path(one).parts) > 1), key=len, reverse=True)


def _pattern(home: str) -> str:
    """Finds a folder in a text. A short one, such as /root, counts only with something in it: it may be a word."""
    return re.escape(home) + (r"(?!\w)" if len(Path(home).parts) > 2 else r"[/\\]\w")


def private_in(text: str, *folders: Path) -> str | None:
    """The first key (masked) or folder of this machine in a text; None if there is none.

    Args:
        folders: folders that must not be named, besides the home directory and the working directory.
    """
    if _KEYS.search(text) or any(key in text for key in _keys()):
        return "a key (not shown)"
    plain = text.replace("\\\\", "\\")
    return next((f"the folder {home}" for home in _homes(*folders) if re.search(_pattern(home), plain)), None)


def without_private(text: str, *folders: Path) -> str:
    """The text with every key, path and address's secret replaced.

    >>> without_private("see /home/me/notes.txt and sk-0123456789abcdef0123")
    'see [path] and [key]'
    """
    for key in _keys():
        text = text.replace(key, "[key]")
    text = _KEYS.sub("[key]", without_secrets(text))
    text = _PATHS.sub("[path]", text)
    for home in _homes(*folders):
        text = re.sub(_pattern(home), "[path]", text)
    return text
