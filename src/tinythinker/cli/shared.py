"""What all commands share: how errors end, and the arguments that several of them take."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from tinythinker.core import ranks
from tinythinker.core.errors import DataError, SettingsError, StudentError, TinyThinkerError

TaskArgument = Annotated[
    str, typer.Argument(metavar="TASK", help="csqa, obqa, strategyqa, storeroom, or your own FILE.jsonl / FILE.csv")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="run directory")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY.PATH=VALUE]...", help="settings; `tinythinker settings` lists them", show_default=False
    ),
]
OutOption = Annotated[Path, typer.Option("--out", help="run directory")]
Config = Annotated[Path | None, typer.Option("--config", help="YAML file of settings", show_default=False)]
Force = Annotated[bool, typer.Option("--force", help="delete what this and later verbs made, then start over")]

ALL_TOGETHER = ("run", "teach", "train", "reflect", "evaluate", "quickstart")
"""Verbs that all processes run together; only the first process runs any other verb."""


class Commands(TyperGroup):
    """The commands; a usage error is one line, as all other errors are."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command and exit with its code."""
        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except typer.Abort:
            code = 1
        except TyperException as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                typer.echo(error.format_message(), err=True)
            else:
                say_error(f"{error.format_message().rstrip('.')} (see --help)")
            code = SettingsError.exit_code
        code = code if isinstance(code, int) else 0
        if ranks.count() > 1:
            # The communication library's threads may abort an interpreter that takes itself apart; all work is on disk.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        sys.exit(code)


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
    try:
        yield
        ranks.leave()
    except TinyThinkerError as error:
        if not error.is_told:
            say_error(str(error))
        raise typer.Exit(error.exit_code) from None
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        raise
    except OSError as error:
        say_error(f"{error.filename or 'a file'}: {error.strerror or error}")
        raise typer.Exit(DataError.exit_code) from None
    except RuntimeError as error:
        # From torch, which is not loaded here: OutOfMemoryError on GPUs, a plain RuntimeError on CPUs.
        if type(error).__name__ != "OutOfMemoryError" and "can't allocate memory" not in str(error):
            raise
        say_error(
            "memory: found too little for the student and its batch, expected enough for both; set micro_batch_size= "
            "or gradient_checkpointing=true (of train or reflect), or lower generate.batch_size="
        )
        raise typer.Exit(StudentError.exit_code) from None
    except KeyboardInterrupt:
        typer.echo("interrupted: finished work is kept; run the same command again to continue", err=True)
        raise typer.Exit(130) from None


def say_error(message: str) -> None:
    """Print an error as one line on stderr."""
    who = "" if ranks.is_first() else f"process {ranks.number()}: "
    typer.echo(f"{who}error: " + " ".join(message.split("\n")), err=True)


def tell(text: object, *, err: bool = False) -> None:
    """Print once, even if several processes run."""
    if ranks.is_first():
        typer.echo(text, err=err)
