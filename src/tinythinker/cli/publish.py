"""Commands that hand a student over: card."""

from __future__ import annotations

from typing import Annotated

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
