"""One vocabulary: what the shell can do, Python can do in the same words, and the other way round."""

from __future__ import annotations

import inspect

from tinythinker import api
from tinythinker.cli.main import HANDLERS

ONLY_IN_PYTHON = {
    "start": "the shell's `run`, `teach` and `batch-export` open a run with --out",
    "load": "the shell loads a student with every `ask`",
    "show_request": "the shell's `cost --show-prompt`",
    "evaluate_untrained": "the shell's `evaluate --task`",
}
OTHER_WORDS = {
    "json": "prints; Python has the record itself",
    "show_prompt": "`show_request` in Python",
    "once": "the first that `watch` gives in Python",
    "show": "prints; `lines(show)` of the record in Python",
    "out": "`start` in Python, for commands that open a run",
    "config": "`start` in Python, for commands that open a run",
    "option": "`options` in Python: the shell gives it several times",
    "compare": "`compared` in Python",
    **dict.fromkeys(("window_ms", "together", "queue", "timeout"), "`limits` in Python"),
}
"""Options of the shell that are no parameters of the function of the same name."""
OTHER_PARAMETERS = {
    "options": "`option` in the shell, once for each",
    "each": "hears every prediction; the shell prints them",
    "compared": "`compare` in the shell, once for each",
    "limits": "`window-ms`, `together`, `queue` and `timeout` in the shell",
    "ready": "hears the address; the shell prints it",
}
"""Parameters that are no options of the command of the same name."""


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
        assert parameters <= options | OTHER_PARAMETERS.keys() | ({"run"} if opens_a_run else set()), handler.__name__
