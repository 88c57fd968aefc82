"""Commands to look and ask: ask, settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tinythinker.cli.shared import Config, Overrides, friendly_errors

if TYPE_CHECKING:
    from tinythinker.core.records import Chain


def ask(
    student: Annotated[
        str,
        typer.Argument(help="run directory (its last student answers), a student's folder, or any pretrained model"),
    ],
    question: Annotated[str, typer.Argument(help="the question")],
    option: Annotated[list[str], typer.Option("--option", "-o", help="one answer option; use 2 to 26 times")],
    as_json: Annotated[bool, typer.Option("--json", help="print the chain as JSON")] = False,
) -> None:
    """Ask a student a question. See what it recalls, how it analyzes every option, and what it answers."""
    with friendly_errors():
        from tinythinker import api

        chain = api.ask(student, question, option)
        typer.echo(chain.model_dump_json() if as_json else "\n".join(_lines(chain, option)))


def _lines(chain: Chain, options: Sequence[str]) -> Iterator[str]:
    from tinythinker.core.records import LABELS

    if chain.recall is not None:
        yield f"Recall:    {chain.recall}"
    for label, text, analysis in zip(LABELS, options, chain.analyses, strict=False):
        yield f"Analyze {label}: {analysis}    ({text})"
    yield f"Summarize: {chain.conclusion}"
    said = "unreadable" if chain.answer is None else f"{chain.answer} ({options[LABELS.index(chain.answer)]})"
    yield f"Answer:    {said}"


def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a file of questions, or hub:OWNER/NAME")],
    overrides: Overrides = None,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="print everything, with every question, as JSON")] = False,
) -> None:
    """Show what is recognised in a file of questions, the first three as they are read, and every problem."""
    with friendly_errors():
        from tinythinker import api

        found = api.check(file, *overrides or (), config=config)
        typer.echo(found.model_dump_json(indent=2) if as_json else "\n".join(found.lines()))
        found.refuse_problems()


def settings(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[VERB|GROUP]",
            help="a verb (teach, train, reflect, evaluate) or a group (student, stages, ...) [default: all]",
            show_default=False,
        ),
    ] = None,
    task: Annotated[str | None, typer.Option(help="show this task's values", show_default=False)] = None,
) -> None:
    """List every setting with its value, allowed values and meaning."""
    with friendly_errors():
        from tinythinker import api

        for line in api.settings(name, task=task):
            typer.echo(f"{line.key} = {line.default}    [{line.allowed}]")
            typer.echo(f"    {line.meaning}")
