"""The `tinythinker` command. A handler parses, calls one function of `api`, and prints; torch is loaded last."""

from __future__ import annotations

import typer

from tinythinker.cli.asking import batch_export, batch_import, cost, try_
from tinythinker.cli.compare import bench, compare, methods, probe, study
from tinythinker.cli.look import ask, check, predict, serve, settings
from tinythinker.cli.publish import card, export, lm_eval, push
from tinythinker.cli.runs import evaluate, quickstart, reflect, report, run, teach, train, watch
from tinythinker.cli.shared import Commands, every

HANDLERS = (
    *(quickstart, run, teach, train, reflect, evaluate, report, watch),
    *(check, ask, predict, serve, probe, study, methods, compare, bench, settings),
    *(card, push, export, lm_eval),
    *(cost, try_, batch_export, batch_import),
)
"""Every command, in the order of the help."""


def build() -> typer.Typer:
    """The command line with all its commands."""
    app = typer.Typer(
        cls=Commands,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Distil a teacher's reasoning into a small language model: recall, analyze, summarize, self-reflect.",
        epilog="Exit codes: 0 done, 2 settings or usage, 3 data or files, 4 teacher, 5 student or checkpoint, "
        "130 interrupted, 141 nobody reads the output.",
    )
    app.callback()(every)
    for handler in HANDLERS:
        app.command(handler.__name__.strip("_").replace("_", "-"))(handler)  # `try` is a word of Python
    return app


def main() -> None:
    """Entry point of the `tinythinker` command."""
    build()(prog_name="tinythinker")
