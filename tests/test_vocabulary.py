"""One vocabulary: what the shell can do, Python can do in the same words, and the other way round."""

from __future__ import annotations

import inspect

from tinythinker import api
from tinythinker.cli.main import HANDLERS

ONLY_IN_PYTHON = {
    "start": "the shell's `run`, `teach` and `batch-export` open a run with --out",
    "load": "the shell loads a student with every `ask`",
    "show_request": "the shell's `cost --show-prompt`",
}
OTHER_WORDS = {
    "json": "prints; Python has the record itself",
    "show_prompt": "`show_request` in Python",
    "once": "the first that `watch` gives in Python",
    "show": "prints; `lines(show)` of the record in Python",
    "out": "`start` in Python, for commands that open a run",
    "config": "`start` in Python, for commands that open a run",
    "option": "`options` in Python: the shell gives it several times",
}
"""Options of the shell that are no parameters of the function of the same name."""


def test_every_command_is_a_function_and_every_function_a_command() -> None:
    commands = {handler.__name__ for handler in HANDLERS}
    assert commands | ONLY_IN_PYTHON.keys() == set(api.__all__)
    assert not commands & ONLY_IN_PYTHON.keys()


def test_options_and_parameters_have_the_same_names() -> None:
    for handler in HANDLERS:
        options = {name.removeprefix("as_") for name in inspect.signature(handler).parameters}
        parameters = set(inspect.signature(getattr(api, handler.__name__)).parameters)
        opens_a_run = "run" in parameters and "task" in options
        known = parameters | OTHER_WORDS.keys() | ({"task", "force", "overrides"} if opens_a_run else set())
        assert options <= known, f"{handler.__name__}: {options - known}"
        assert parameters <= options | {"options"} | ({"run"} if opens_a_run else set()), handler.__name__
