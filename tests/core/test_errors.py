from __future__ import annotations

import pickle

import pytest

from tinythinker.core.errors import (
    DataError,
    SettingsError,
    StudentError,
    TeacherError,
    expected,
    first_line,
    is_out_of_memory,
    is_panic,
)


def test_every_remedy_has_the_documented_exit_code() -> None:
    codes = [kind.exit_code for kind in (SettingsError, DataError, TeacherError, StudentError)]
    assert codes == [2, 3, 4, 5]


def test_a_message_says_where_it_happened_what_was_found_and_what_was_expected() -> None:
    assert expected("question q7, gold", "C", "one of A, B") == "question q7, gold: found 'C', expected one of A, B"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate output buffer."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_every_library_s_want_of_memory_is_recognized(error: BaseException) -> None:
    assert is_out_of_memory(error)


def test_other_errors_are_no_want_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
    assert not is_panic(RuntimeError("PanicException"))
    assert is_panic(type("PanicException", (BaseException,), {})("the thread pool"))


def test_an_error_of_a_library_is_one_short_line_that_gives_no_dangerous_advice() -> None:
    assert first_line(ValueError("first thing\nsecond")) == "first thing"
    assert first_line(KeyError("name")) == "KeyError 'name'"
    assert first_line(RuntimeError()) == "RuntimeError"
    assert len(first_line(ValueError("x y" * 1000))) < 300
    assert "weights_only" not in first_line(pickle.UnpicklingError("Re-run with `weights_only` set to `False`"))
