"""What all commands share: how errors end, and the arguments that several of them take."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from tinythinker.core import ranks
from tinythinker.core.errors import (
    DataError,
    SettingsError,
    StudentError,
    TinyThinkerError,
    first_line,
    is_out_of_memory,
    is_panic,
)
from tinythinker.core.masking import without_secrets

TaskArgument = Annotated[
    str,
    typer.Argument(
        metavar="TASK", help="csqa, obqa, strategyqa, storeroom, your own FILE of questions, or hub:OWNER/NAME"
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="run directory")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY.PATH=VALUE]...", help="settings; `tinythinker settings` lists them", show_default=False
    ),
]
RunOutOption = Annotated[
    Path | None, typer.Option("--out", help="run directory [default: runs/TASK]", show_default=False)
]
OutOption = Annotated[Path, typer.Option("--out", help="run directory")]
Config = Annotated[Path | None, typer.Option("--config", help="YAML file of settings", show_default=False)]
Force = Annotated[bool, typer.Option("--force", help="delete what this and later verbs made, then start over")]

ALL_TOGETHER = ("run", "teach", "train", "reflect", "evaluate", "quickstart")
"""Verbs that all processes run together; only the first process runs any other verb."""
INTERRUPTED = 130
NOBODY_READS = 141
"""Exit codes of a command that a signal would end, as shells count them: Ctrl-C, and output that nobody reads."""


class Commands(TyperGroup):
    """The commands; whatever goes wrong is one line, also outside of a command: in its usage, in its help."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command and exit with its code."""

        def run() -> object:
            try:
                return super(Commands, self).main(*args, **{**kwargs, "standalone_mode": False})
            except SystemExit:  # the library's end when nobody reads the help
                return NOBODY_READS

        code = _code_of(run) or _code_of(_flush)
        if ranks.count() > 1:
            # The communication library's threads may abort an interpreter that takes itself apart; all work is on disk.
            os._exit(code)
        sys.exit(code)


def _code_of(work: Callable[[], object]) -> int:
    """Do something, say in one line what went wrong, and return the exit code."""
    code: object = 0
    try:
        with _one_line():
            code = work()
    except typer.Exit as error:
        code = error.exit_code
    except typer.Abort:
        code = INTERRUPTED
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message(), err=True)
        else:
            say_error(f"{error.format_message().rstrip('.')} (see --help)")
        code = SettingsError.exit_code
    return code if isinstance(code, int) else 0


def _flush() -> None:
    """Write what is still held back."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"tinythinker {metadata.version('tinythinker')}")
        raise typer.Exit


def every(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="show the version and exit")
    ] = False,
) -> None:
    """Distil a teacher's reasoning into a small language model: recall, analyze, summarize, self-reflect."""
    # The library's advice would drown out our own output.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if context.invoked_subcommand not in ALL_TOGETHER:
        if not ranks.is_first():
            raise typer.Exit
        ranks.go_alone()


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Turn a user's mistake into one line on stderr and an exit code; a traceback is a bug of ours."""
    with _one_line():
        yield
        ranks.leave()


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn what goes wrong into one line on stderr. Raises typer.Exit with the exit code."""
    try:
        yield
    except TinyThinkerError as error:
        if not error.is_told:
            say_error(str(error))
        raise typer.Exit(error.exit_code) from None
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        _drop_output()
        raise typer.Exit(NOBODY_READS) from None
    except KeyboardInterrupt:
        with suppress(OSError):
            typer.echo("interrupted: finished work is kept; run the same command again to continue", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except (typer.Exit, typer.Abort, TyperException):
        raise
    except BaseException as error:
        if is_out_of_memory(error) or is_panic(error):
            say_error(_about_memory(error))
            raise typer.Exit(StudentError.exit_code) from None
        if isinstance(error, OSError):
            _drop_output()
            say_error(f"{error.filename or 'output'}: {error.strerror or error}")
            raise typer.Exit(DataError.exit_code) from None
        raise


def _about_memory(error: BaseException) -> str:
    if is_panic(error):  # seen where threads or memory are limited
        return (
            f"a library gave up: found {first_line(error)!r}, expected memory and threads enough; raise the limits of "
            "memory and processes, and run the same command again"
        )
    return (
        "memory: found too little for the student and its batch, expected enough for both; set micro_batch_size= or "
        "gradient_checkpointing=true (of train or reflect), or lower generate.batch_size="
    )


def _drop_output() -> None:
    """Send what is still held back nowhere, so that the exit does not fail over it once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def default_run(task: str) -> Path:
    """The run directory of a task where none is given."""
    return Path("runs") / Path(task).stem


def say_error(message: str) -> None:
    """Print an error as one line on stderr, without secrets or control characters."""
    who = "" if ranks.is_first() else f"process {ranks.number()}: "
    line = "".join(sign if sign.isprintable() else " " for sign in without_secrets(message))
    if sys.stderr is not None:
        with suppress(OSError):  # the exit code still says what went wrong
            typer.echo(f"{who}error: {line}", err=True)


def tell(text: object, *, err: bool = False) -> None:
    """Print once, even if several processes run."""
    if ranks.is_first():
        typer.echo(text, err=err)
