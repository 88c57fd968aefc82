"""Commands about a language model as teacher: cost, try, batch-export, batch-import."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinythinker.cli.runs import open_run
from tinythinker.cli.shared import (
    Config,
    OutOption,
    Overrides,
    RunArgument,
    RunOutOption,
    TaskArgument,
    default_run,
    friendly_errors,
)

if TYPE_CHECKING:
    from tinythinker.core.files import Json


def cost(
    task: TaskArgument,
    overrides: Overrides = None,
    config: Config = None,
    run: Annotated[
        Path | None, typer.Option(help="run directory; its answers count as already received", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the estimate as JSON")] = False,
    show_prompt: Annotated[bool, typer.Option("--show-prompt", help="print the first request, then exit")] = False,
) -> None:
    """Estimate the most that a language-model teacher can cost. Sends nothing."""
    with friendly_errors():
        from tinythinker import api

        if show_prompt:
            typer.echo("\n\n".join(_request_lines(api.show_request(task, *overrides or (), config=config))))
            return
        estimate = api.cost(task, *overrides or (), config=config, run=run)
        typer.echo(estimate.model_dump_json(indent=2) if as_json else "\n".join(estimate.lines()))


def _request_lines(body: Json) -> Iterator[str]:
    """The messages of a request, then the rest of what is sent."""
    messages = body.pop("messages")
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, dict):
            yield f"[{message['role']}]\n{message['content']}"
    yield f"[request]\n{json.dumps(body, indent=2, ensure_ascii=False)}"


def try_(
    task: TaskArgument,
    overrides: Overrides = None,
    questions: Annotated[int, typer.Option(help="ask about the first so many training questions", min=1)] = 3,
    out: RunOutOption = None,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="print everything as JSON")] = False,
) -> None:
    """Ask a language-model teacher a few questions: see request, replies, what is read of them, and what they take."""
    with friendly_errors():
        from tinythinker import api

        where = out or default_run(task)
        heard = api.try_(task, *overrides or (), out=where, questions=questions, config=config)
        if as_json:
            typer.echo(heard.model_dump_json(indent=2))
            return
        typer.echo("\n\n".join([*_request_lines(dict(heard.request)), *heard.lines()]))
        typer.echo(
            f"the answers are kept in {where}: `tinythinker teach` or `run` with the same settings and --out {where} "
            "does not ask for them again",
            err=True,
        )


def batch_export(
    task: TaskArgument,
    out: OutOption,
    overrides: Overrides = None,
    config: Config = None,
) -> None:
    """Write the remaining requests to a batch file that you submit yourself. Sends nothing."""
    with friendly_errors():
        from tinythinker import api
        from tinythinker.teacher.llm.cost import dollars

        exported = api.batch_export(api.start(task, out, "teacher.source=openai", *overrides or (), config=config))
        if exported is None:
            typer.echo("nothing to ask: run `tinythinker teach` to finish", err=True)
            return
        estimate = exported.estimate
        cost = f", at most {dollars(estimate.batch_cost)}" if estimate.batch_cost is not None else ""
        typer.echo(
            f"{estimate.requests:,} requests for {estimate.completions:,} completions{cost}; "
            f"submit the file, then run: tinythinker batch-import {out} OUTPUT.jsonl",
            err=True,
        )
    typer.echo(exported.path)


def batch_import(
    run: RunArgument, file: Annotated[Path, typer.Argument(help="a batch's output file, or its error file")]
) -> None:
    """Import the output file of a batch that you submitted yourself."""
    with friendly_errors():
        from tinythinker import api

        started = open_run(run)
        taken = api.batch_import(started, file)
        typer.echo(
            f"{taken.replies} answers imported, {taken.known} already there, {len(taken.failed)} failed", err=True
        )
        for question, reason in list(taken.failed.items())[:1]:
            typer.echo(f"first failure, question {question}: {reason}", err=True)
        typer.echo(
            "the next `tinythinker batch-export` requests what is still missing; `teach` requests it directly, or does "
            "without it if teacher.llm.waves=0",
            err=True,
        )
    typer.echo(started.completions)
