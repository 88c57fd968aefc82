"""Commands to look and ask: ask, predict, serve, check, settings."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinythinker.cli.shared import Config, Overrides, friendly_errors

if TYPE_CHECKING:
    from tinythinker.core.records import Question
    from tinythinker.use.prediction import Prediction

Student = Annotated[
    str,
    typer.Argument(
        metavar="STUDENT", help="run directory (its last student), a student's folder, or any pretrained model"
    ),
]


def ask(
    student: Student,
    question: Annotated[
        str | None, typer.Argument(help="the question; none or `-` reads from standard input", show_default=False)
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", help="one answer option; use 2 to 26 times", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print everything as JSON, one line per question")] = False,
) -> None:
    """Ask a student a question. See what it recalls, how it analyzes every option, and what it answers.

    Standard input holds questions as JSON, one per line, or one as text with its options below it: A) ..., B) ...
    """
    with friendly_errors():
        from tinythinker import api
        from tinythinker.use.ask import find

        find(student)
        asked = _asked(question, option)
        first = next(asked)
        loaded = api.load(student)
        for number, one in enumerate(chain([first], asked)):
            (made,) = loaded.answer_all([one])
            shown = made.model_dump_json() if as_json else ("\n" if number else "") + "\n".join(_lines(made))
            typer.echo(shown)
            sys.stdout.flush()


def _asked(question: str | None, options: Sequence[str] | None) -> Iterator[Question]:
    """What is asked: at least one question. Raises DataError."""
    from tinythinker.use.questions import as_question, questions_in

    if question not in (None, "-"):
        yield as_question(str(question), options or ())
        return
    if sys.stdin.isatty():
        typer.echo("ask: reads the question from standard input; Ctrl-D ends it", err=True)
    if options:
        yield as_question(sys.stdin.read().strip(), options)
    else:
        yield from questions_in(sys.stdin, "standard input")


def _lines(made: Prediction) -> Iterator[str]:
    from tinythinker.core.records import LABELS

    if made.recall is not None:
        yield f"Recall:    {made.recall}"
    for label, text, analysis in zip(LABELS, made.options, made.analyses, strict=False):
        yield f"Analyze {label}: {analysis}    ({text})"
    yield f"Summarize: {made.conclusion}"
    yield f"Answer:    {'unreadable' if made.answer is None else f'{made.answer} ({made.text})'}"


def predict(
    student: Student,
    file: Annotated[str, typer.Argument(metavar="FILE", help="a file of questions, or hub:OWNER/NAME")],
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(help="new file for the answers, .jsonl or .csv [default: lines of JSON to standard output]"),
    ] = None,
    config: Config = None,
) -> None:
    """Answer a file of questions: one line per question, in the order of the file. Can be stopped and resumed.

    Settings: data.* (how the file is read), evaluate.votes, evaluate.temperature, evaluate.plan, seed.
    """
    with friendly_errors():
        from tinythinker import api

        def show(made: Prediction) -> None:
            typer.echo(made.model_dump_json())

        found = api.predict(student, file, *overrides or (), out=out, config=config, each=show)
        typer.echo(found.line(), err=True)
        if out is not None:
            typer.echo(out)


def serve(
    student: Student,
    compare: Annotated[
        list[str] | None,
        typer.Option(help="another student that can be asked; may be given several times", show_default=False),
    ] = None,
    host: Annotated[
        str, typer.Option(help="address to listen on; any but this machine's own needs a key")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on; 0 takes a free one", min=0, max=65535)] = 8000,
    key_env: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="environment variable with the key that requests must bring", show_default=False
        ),
    ] = None,
    window_ms: Annotated[
        float, typer.Option(help="how long a question waits for others to be thought about with it", min=0, max=10_000)
    ] = 10,
    together: Annotated[int, typer.Option(help="most questions thought about together", min=1, max=4096)] = 64,
    queue: Annotated[int, typer.Option(help="most questions that wait; beyond, requests get 429", min=1)] = 256,
    timeout: Annotated[float, typer.Option(help="most seconds from question to answer", min=0.1)] = 60,
) -> None:
    """Answer questions over HTTP, with a playground to try them by hand. Ctrl-C ends it; needs the extra serve.

    Paths: / (playground), /v1/answer, /v1/chat/completions, /healthz, /metrics; /docs tells about them all.
    """
    with friendly_errors():
        from tinythinker import api
        from tinythinker.serve.limits import Limits

        limits = Limits(window_seconds=window_ms / 1000, together=together, queue=queue, timeout_seconds=timeout)
        others = compare or ()
        api.serve(student, *others, host=host, port=port, key_env=key_env, limits=limits, ready=_show_address)


def _show_address(address: str) -> None:
    typer.echo("serve: ready; Ctrl-C ends it", err=True)
    typer.echo(address)
    sys.stdout.flush()


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
