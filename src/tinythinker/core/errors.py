"""What can go wrong, one class per remedy, and the one shape of message."""

from __future__ import annotations


class TinyThinkerError(Exception):
    """The command line prints this without a traceback and exits with `exit_code`."""

    exit_code = 1
    is_told = False
    """Has another process of the same job told the user?"""


class SettingsError(TinyThinkerError):
    """A setting or argument is wrong: correct the command."""

    exit_code = 2


class DataError(TinyThinkerError):
    """A file could not be read, understood or written: correct the file or the disk."""

    exit_code = 3


class TeacherError(TinyThinkerError):
    """The teacher gave nothing to learn from: correct the teacher's source."""

    exit_code = 4


class StudentError(TinyThinkerError):
    """A student or checkpoint is unusable, or its training broke down."""

    exit_code = 5


def expected(what: str, found: object, wanted: str) -> str:
    """One message shape for the whole project: where, what was found, what was wanted.

    >>> expected("question q7, gold", "C", "one of ('A', 'B')")
    "question q7, gold: found 'C', expected one of ('A', 'B')"
    """
    return f"{what}: found {found!r}, expected {wanted}"
