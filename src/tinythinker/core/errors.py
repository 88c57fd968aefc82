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


_MEMORY = ("allocate memory", "failed to map segment", "start new thread", "unable to allocate", "bad_alloc")
"""What libraries say when memory, or the right to more of it, runs out; in lower case."""


def is_out_of_memory(error: BaseException) -> bool:
    """Did a library fail for want of memory? Each says it with an exception of its own."""
    kind = type(error).__name__
    return (
        isinstance(error, MemoryError)
        or kind == "OutOfMemoryError"  # of torch, which is not loaded here
        or any(words in str(error).lower() for words in _MEMORY)
    )


def is_panic(error: BaseException) -> bool:
    """Has a library written in Rust given up? Its exception derives from none that Python programs catch."""
    return type(error).__name__ == "PanicException"


def first_line(error: BaseException) -> str:
    """What a library's error says, on one line of bearable length; its kind if it says nothing or only a name."""
    if type(error).__name__ == "UnpicklingError":  # the library's advice is to run it
        return "a pickle that is not only weights and numbers; it was not run"
    said = str(error).strip().split("\n")[0].strip()
    said = said if " " in said else " ".join([type(error).__name__, said]).strip()
    return said if len(said) <= _MOST_SHOWN else f"{said[:_MOST_SHOWN]}..."
