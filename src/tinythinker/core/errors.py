"""The package's errors, one class per remedy, and their common message shape."""

from __future__ import annotations

from tinythinker.core.masking import without_secrets

_MOST_SHOWN = 200
"""Characters of a value that a message shows."""


class TinyThinkerError(Exception):
    """The command line prints this without a traceback and exits with `exit_code`."""

    exit_code = 1
    is_told = False
    """Has another process of the same job already reported this to the user?"""


class SettingsError(TinyThinkerError):
    """A setting or argument is wrong: correct the command."""

    exit_code = 2


class DataError(TinyThinkerError):
    """A file could not be read, understood or written: fix the file or the disk."""

    exit_code = 3


class TeacherError(TinyThinkerError):
    """The teacher gave nothing to learn from: fix the source of the rationales."""

    exit_code = 4


class StudentError(TinyThinkerError):
    """A student or checkpoint is unusable, or its training failed."""

    exit_code = 5


def expected(what: str, found: object, wanted: str) -> str:
    """The message of an error: where it is, what was found, and what was expected.

    >>> expected("question q7, gold", "C", "one of ('A', 'B')")
    "question q7, gold: found 'C', expected one of ('A', 'B')"
    """
    return f"{what}: found {shortened(found)}, expected {wanted}"


def shortened(found: object) -> str:
    """A value as a message shows it: on one line, of bearable length, without the secrets in its addresses."""
    shown = without_secrets(repr(found))
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}..."
