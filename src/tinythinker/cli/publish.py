"""Commands that hand a student over: card, push, export, lm-eval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tinythinker.cli.runs import open_run
from tinythinker.cli.shared import RunArgument, friendly_errors

Licence = Annotated[
    str | None, typer.Option(help="licence you publish the student under, such as mit", show_default=False)
]
BaseModel = Annotated[
    str | None,
    typer.Option(
        help="name on the Hugging Face Hub of the model that training began with [default: student.name]",
        show_default=False,
    ),
]


def card(run: RunArgument, licence: Licence = None, base_model: BaseModel = None) -> None:
    """Write a model card for the last student: data, method, results, limits, how to use it. Without paths or keys."""
    with friendly_errors():
        from tinythinker import api

        written = api.card(open_run(run), licence=licence, base_model=base_model)
    typer.echo(written)


def export(
    run: RunArgument,
    kind: Annotated[
        Literal["sft", "pairs", "chains"],
        typer.Argument(help="stage examples, preference pairs, or the chains that the student sampled"),
    ],
    form: Annotated[
        Literal["trl", "llamafactory", "jsonl"],
        typer.Option("--format", help="for TRL, for LLaMA-Factory, or our own records"),
    ] = "trl",
    out: Annotated[Path | None, typer.Option(help="folder [default: RUN/exports/FORMAT]", show_default=False)] = None,
) -> None:
    """Write what a run learned from for another trainer."""
    with friendly_errors():
        from tinythinker import api

        written = api.export(open_run(run), kind, form, out)
    typer.echo(written)


def push(
    run: RunArgument,
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="repository on the Hugging Face Hub")],
    card_file: Annotated[
        Path | None, typer.Option("--card", help="your own card [default: a new one]", show_default=False)
    ] = None,
    licence: Licence = None,
    base_model: BaseModel = None,
    private: Annotated[bool, typer.Option("--private", help="make a repository that only you see")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would go; send nothing")] = False,
) -> None:
    """Send the last student, with a model card, to the Hugging Face Hub."""
    with friendly_errors():
        from tinythinker import api

        pushed = api.push(
            open_run(run), name, card_file=card_file, licence=licence, base_model=base_model, private=private,
            dry_run=dry_run,
        )  # fmt: skip
        typer.echo("\n".join(pushed.lines()), err=not dry_run)
        if pushed.url is not None:
            typer.echo(pushed.url)


def lm_eval(
    student: Annotated[Path, typer.Argument(help="run directory (its last student answers), or a student's folder")],
    tasks: Annotated[list[str], typer.Argument(metavar="TASK...", help="multiple-choice tasks of the harness")],
    limit: Annotated[
        int | None,
        typer.Option(help="the first so many questions of each task [default: all]", min=1, show_default=False),
    ] = None,
    include_path: Annotated[
        Path | None, typer.Option(help="folder with task files of your own", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the scores as JSON")] = False,
) -> None:
    """Let a student answer tasks of lm-evaluation-harness with its whole chain (needs the extra lm-eval)."""
    with friendly_errors():
        from tinythinker import api

        found = api.lm_eval(student, *tasks, limit=limit, include_path=include_path)
        typer.echo(found.model_dump_json(indent=2) if as_json else "\n".join(found.lines()))
