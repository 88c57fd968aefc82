"""Commands that measure: study, methods, compare, probe, bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tinythinker.cli.shared import Overrides, friendly_errors


def study(
    source: Annotated[str, typer.Argument(metavar="FILE.yaml|TASK", help="a study file, or a task")],
    out: Annotated[Path, typer.Option(help="directory for cells, tables and study.html")],
    overrides: Overrides = None,
    methods: Annotated[
        str, typer.Option(help="comma-separated names; `tinythinker methods` lists them", show_default=False)
    ] = "",
    seeds: Annotated[
        int | None, typer.Option(help="number of seeds, counted from 0 [default: 3]", min=1, show_default=False)
    ] = None,
    budget: Annotated[
        Literal["steps", "target_tokens", "flops"] | None,
        typer.Option(help="unit of phase 1's budget, equal for every method [default: steps]", show_default=False),
    ] = None,
    vary: Annotated[
        str | None,
        typer.Option(metavar="KEY=VALUE,VALUE", help="run the grid for each value of a setting", show_default=False),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="method to compare the others with [default: tinythinker or phase_1]", show_default=False),
    ] = None,
    workers: Annotated[int, typer.Option(help="parallel processes; they share the cores", min=1)] = 1,
) -> None:
    """Compare methods over seeds, on the same questions and with equal budgets, with intervals and tests."""
    with friendly_errors():
        from tinythinker import api
        from tinythinker.core.files import read_text
        from tinythinker.core.run import StudyDirectory

        api.study(
            source,
            *overrides or (),
            out=out,
            methods=_words(methods),
            seeds=seeds,
            budget=budget,
            vary=vary,
            reference=reference,
            workers=workers,
        )
        directory = StudyDirectory(out)
        typer.echo(read_text(directory.table).rstrip(), err=True)
    typer.echo(directory.page)


def _words(text: str) -> list[str]:
    """Comma-separated words."""
    return [word.strip() for word in text.split(",") if word.strip()]


def methods() -> None:
    """List the methods that a study can compare, and the settings that define them."""
    with friendly_errors():
        from tinythinker import api

        for name, method in api.methods().items():
            shown = f"    [{' '.join(method.settings)}]" if method.settings else ""
            typer.echo(f"{name}: {method.meaning}{shown}")


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN", help="two or more run directories (their last students), or their files of verdicts"
        ),
    ],
    show: Annotated[int, typer.Option(help="print the chains on this many of the questions that differ", min=0)] = 3,
    page: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="write the comparison as a page, too", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print everything, with all chains, as JSON")] = False,
) -> None:
    """Compare finished runs on the same questions: figures, paired tests, and both chains where answers differ."""
    with friendly_errors():
        from tinythinker import api

        found = api.compare(*runs, page=page)
        typer.echo(found.model_dump_json(indent=2) if as_json else "\n".join(found.lines(show)))


def probe(
    student: Annotated[
        str, typer.Argument(help="run directory (its last student), a student's folder, or any pretrained model")
    ],
    run: Annotated[
        Path | None,
        typer.Option(help="run whose questions to ask [default: the student's own run]", show_default=False),
    ] = None,
    split: Annotated[str, typer.Option(help="test or valid")] = "test",
    questions: Annotated[
        int | None,
        typer.Option(help="ask only this many, in a seeded draw [default: all]", min=1, show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the figures as JSON")] = False,
) -> None:
    """Does a student use its reasoning? Change what it recalled or analyzed, and see how it answers then."""
    with friendly_errors():
        from tinythinker import api

        found = api.probe(student, run=run, split=split, questions=questions)
        typer.echo(found.model_dump_json(indent=2) if as_json else "\n".join(found.lines()))


def bench(
    overrides: Overrides = None,
    student: Annotated[
        Path | None,
        typer.Option(
            help="run directory, or a student's folder in one [default: phase 1 of --task, trained next to FILE.json]",
            show_default=False,
        ),
    ] = None,
    task: Annotated[
        str, typer.Option(help="without --student: the task to train one on, with the given settings")
    ] = "storeroom",
    out: Annotated[Path, typer.Option(metavar="FILE.json", help="file for the measurements")] = Path("bench.json"),
    parts: Annotated[
        str, typer.Option(help="kinds of work, such as sampling,phase_1 [default: all]", show_default=False)
    ] = "",
    questions: Annotated[int, typer.Option(help="questions to sample on and to answer", min=2)] = 100,
    samples: Annotated[int, typer.Option(help="chains per question", min=2)] = 10,
    steps: Annotated[int, typer.Option(help="optimizer steps per training", min=2)] = 6,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="examples or pairs per step, where the baseline's memory is short [default: as in the run]",
            min=1,
            show_default=False,
        ),
    ] = None,
    turns: Annotated[int, typer.Option(help="timed turns of baseline and product", min=1)] = 3,
) -> None:
    """Measure the speedup over a plain implementation: same work, same weights, in turns, in one process."""
    with friendly_errors():
        from tinythinker import api

        found = api.bench(
            *overrides or (),
            student=student,
            task=task,
            out=out,
            parts=_words(parts),
            questions=questions,
            samples=samples,
            steps=steps,
            batch_size=batch_size,
            turns=turns,
        )
        for line in found.lines():
            typer.echo(line, err=True)
    typer.echo(out)
