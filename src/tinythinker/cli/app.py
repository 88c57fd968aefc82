"""The command line: one handler per verb. Paths go to stdout, talk to stderr, torch is loaded last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from tinythinker.core import ranks
from tinythinker.core.errors import DataError, SettingsError, StudentError, TinyThinkerError, expected

if TYPE_CHECKING:
    from tinythinker.core.records import Chain
    from tinythinker.core.run import RunDirectory
    from tinythinker.evaluate.score import Score

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Distil a teacher's reasoning into a small language model: recall, analyze, summarize, self-reflect.",
    epilog="Exit codes: 0 done, 2 settings or usage, 3 data or files, 4 teacher, 5 student or checkpoint, "
    "130 interrupted.",
)

Task = Annotated[str, typer.Argument(help="csqa, obqa, strategyqa, storeroom, or your own FILE.jsonl / FILE.csv")]
Run = Annotated[Path, typer.Argument(help="run directory")]
Overrides = Annotated[
    Optional[list[str]],  # noqa: UP045  (typer reads this form)
    typer.Argument(
        metavar="[KEY.PATH=VALUE]...", help="settings; `tinythinker settings` lists them all", show_default=False
    ),
]
Config = Annotated[Optional[Path], typer.Option("--config", help="YAML file of settings", show_default=False)]  # noqa: UP045
Force = Annotated[bool, typer.Option("--force", help="delete what this and later verbs made, and start over")]


ALL_TOGETHER = ("run", "teach", "train", "reflect", "evaluate", "quickstart")
"""Verbs that several processes do together; anything else, the first one does alone."""


@app.callback()
def every(context: typer.Context) -> None:
    """Distil a teacher's reasoning into a small language model: recall, analyze, summarize, self-reflect."""
    if context.invoked_subcommand not in ALL_TOGETHER:
        if not ranks.is_first():
            raise typer.Exit
        ranks.go_alone()


@contextmanager
def friendly_errors() -> Iterator[None]:
    """A mistake is one line on stderr and an exit code; a traceback is a bug of ours."""
    try:
        yield
        ranks.leave()
    except TinyThinkerError as error:
        if not error.is_told:
            typer.echo(f"{_who()}error: " + " ".join(str(error).split("\n")), err=True)
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        typer.echo(f"error: {error.filename or 'a file'}: {error.strerror or error}", err=True)
        raise typer.Exit(DataError.exit_code) from None
    except RuntimeError as error:
        # Of torch, which is not loaded here: OutOfMemoryError on GPUs, a plain RuntimeError on CPUs.
        if type(error).__name__ != "OutOfMemoryError" and "can't allocate memory" not in str(error):
            raise
        typer.echo(
            f"{_who()}error: memory: found too little for the student and its batch, expected room for both; set "
            "micro_batch_size= or gradient_checkpointing=true (of train or reflect), or a smaller generate.batch_size=",
            err=True,
        )
        raise typer.Exit(StudentError.exit_code) from None
    except KeyboardInterrupt:
        typer.echo("interrupted: finished work is kept; run the same command again to go on", err=True)
        raise typer.Exit(130) from None


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option(help="directory for the run, summary.json and report.html")] = Path("quickstart"),
    seed: Annotated[int, typer.Option(help="seed of the made-up world and of all draws", min=0)] = 0,
    student: Annotated[
        Literal["seq2seq", "causal"], typer.Option(help="a small T5, or a small decoder-only model")
    ] = "seq2seq",
    force: Force = False,
) -> None:
    """The method in five minutes: label-only student, phase 1 and phase 2 on the embedded benchmark."""
    with friendly_errors():
        from tinythinker.quickstart import quickstart as start

        summary = start(out, seed, student=student, force=force)
        for line in summary.lines():
            _tell(line, err=True)
    _tell(out / "report.html")


@app.command()
def run(
    task: Task,
    overrides: Overrides = None,
    out: Annotated[Optional[Path], typer.Option(help="run directory [default: runs/TASK]", show_default=False)] = None,  # noqa: UP045
    config: Config = None,
    force: Force = False,
) -> None:
    """Everything from questions to report: teach, train, reflect, evaluate, report."""
    with friendly_errors():
        from tinythinker import api

        started = api.start(task, out or Path("runs") / Path(task).stem, *overrides or (), config=config, force=force)
        _show(api.run_all(started))
    _tell(started.report)


@app.command()
def teach(
    task: Task,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="run directory")] = ...,  # type: ignore[assignment]
    config: Config = None,
    force: Force = False,
) -> None:
    """Read a task's questions and collect the teacher's rationales for the training split."""
    with friendly_errors():
        from tinythinker.teacher.teach import start
        from tinythinker.teacher.teach import teach as collect

        started = start(task, out, *overrides or (), config=config, force=force)
        collect(started)
    _tell(started.rationales)


@app.command()
def cost(
    task: Task,
    overrides: Overrides = None,
    config: Config = None,
    run: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="run directory whose answers count as received", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print the estimate as JSON")] = False,
    show_prompt: Annotated[bool, typer.Option("--show-prompt", help="print what would be sent first, and end")] = False,
) -> None:
    """What asking a language model would cost at most, before anything is sent."""
    with friendly_errors():
        if show_prompt:
            typer.echo("\n\n".join(_request_lines(interview.show_request(task, overrides or (), config))))
            return
        estimate = interview.estimate_cost(task, overrides or (), config, run)
        typer.echo(estimate.model_dump_json(indent=2) if json else "\n".join(estimate.lines()))


@app.command()
def batch_export(
    task: Task,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="run directory")] = ...,  # type: ignore[assignment]
    config: Config = None,
) -> None:
    """Write the requests still to be made as a batch file, for you to hand in yourself; nothing is sent."""
    with friendly_errors():
        from tinythinker.core.run import RunDirectory
        from tinythinker.settings.schema import load_settings
        from tinythinker.teacher.llm.cost import dollars

        started, settings = RunDirectory(out), load_settings(task, overrides or (), config)
        started.begin("teach", settings.plain(), settings.bound())
        exported = interview.batch_export(started)
        if exported is None:
            typer.echo("nothing to ask: run `tinythinker teach` to finish", err=True)
            return
        estimate = exported.estimate
        cost = f", at most {dollars(estimate.batch_cost)}" if estimate.batch_cost is not None else ""
        typer.echo(
            f"{estimate.requests:,} requests for {estimate.completions:,} completions{cost}; hand the file in, then: "
            f"tinythinker batch-import {out} OUTPUT.jsonl",
            err=True,
        )
    typer.echo(exported.path)


@app.command()
def batch_import(
    run: Run, file: Annotated[Path, typer.Argument(help="a batch's output file, or its error file")]
) -> None:
    """Take in the output file of a batch that you handed in yourself."""
    with friendly_errors():
        started = _open(run)
        taken = interview.batch_import(started, file)
        typer.echo(f"{taken.replies} answers taken in, {taken.known} were there, {len(taken.failed)} failed", err=True)
        for question, reason in list(taken.failed.items())[:1]:
            typer.echo(f"the first failure is that of question {question}: {reason}", err=True)
        typer.echo(
            "what is still missing goes into the next `tinythinker batch-export`; `teach` asks for it directly, and "
            "with teacher.waves=0 does without",
            err=True,
        )
    typer.echo(started.completions)


@app.command()
def train(run: Run, overrides: Overrides = None, force: Force = False) -> None:
    """Phase 1, reasoning acquisition: supervised training on every stage."""
    with friendly_errors():
        from tinythinker import api

        folder = api.train(_open(run), *overrides or (), force=force)
    _tell(folder)


@app.command()
def reflect(run: Run, overrides: Overrides = None, force: Force = False) -> None:
    """Phase 2, self-reflection: let the student learn from its own right and wrong reasoning."""
    with friendly_errors():
        from tinythinker import api

        folder = api.reflect(_open(run), *overrides or (), force=force)
    _tell(folder)


@app.command()
def evaluate(run: Run, overrides: Overrides = None, force: Force = False) -> None:
    """Let the student of every phase and round answer the test questions."""
    with friendly_errors():
        from tinythinker import api

        started = _open(run)
        _show(api.evaluate(started, *overrides or (), force=force))
    _tell(started.verdicts_folder)


@app.command()
def probe(
    student: Annotated[Path, typer.Argument(help="run directory (its last student), or a student's folder")],
    run: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="run whose questions to ask [default: the run around the student]", show_default=False),
    ] = None,
    split: Annotated[str, typer.Option(help="test or valid")] = "test",
    questions: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="ask a seeded draw of so many [default: all]", min=1, show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print the figures as JSON")] = False,
) -> None:
    """Is the reasoning used? Change what a student recalled or analyzed, and see what its answers do."""
    with friendly_errors():
        from tinythinker import api

        found = api.probe(student, run=run, split=split, questions=questions)
        typer.echo(found.model_dump_json(indent=2) if json else "\n".join(found.lines()))


@app.command()
def study(
    source: Annotated[str, typer.Argument(metavar="FILE.yaml|TASK", help="a study file, or a task")],
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="directory for cells, tables and study.html")] = ...,  # type: ignore[assignment]
    methods: Annotated[
        str, typer.Option(help="names, comma between; `tinythinker methods` lists them", show_default=False)
    ] = "",
    seeds: Annotated[int | None, typer.Option(help="how many, from 0 [default: 3]", min=1, show_default=False)] = None,
    budget: Annotated[
        Optional[Literal["steps", "target_tokens", "flops"]],  # noqa: UP045
        typer.Option(help="what every method's phase 1 gets alike [default: steps]", show_default=False),
    ] = None,
    vary: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="KEY=VALUE,VALUE", help="do the grid for each value of a setting", show_default=False),
    ] = None,
    reference: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="method to compare the others with [default: tinythinker or phase_1]", show_default=False),
    ] = None,
    workers: Annotated[int, typer.Option(help="processes at once, each with its share of the cores", min=1)] = 1,
) -> None:
    """Compare methods over seeds, on the same questions and an equal budget, with intervals and tests."""
    with friendly_errors():
        from tinythinker.study.grid import read_grid

        names = [name.strip() for name in methods.split(",") if name.strip()]
        grid = read_grid(
            source, overrides or (), methods=names, seeds=seeds, budget=budget, vary=vary, reference=reference
        )
        from tinythinker.study.results import table
        from tinythinker.study.study import study as do

        results = do(grid, out, workers=workers)
        typer.echo("\n".join(table(grid, results)), err=True)
    typer.echo(out / "study.html")


@app.command()
def methods() -> None:
    """The methods that a study can compare, and the settings that make them."""
    from tinythinker.study.methods import METHODS

    for name, own in METHODS.items():
        typer.echo(f"{name}: {own.meaning}" + (f"    [{' '.join(own.settings)}]" if own.settings else ""))


@app.command()
def bench(
    overrides: Overrides = None,
    student: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="run directory, or a student's folder in one [default: phase 1 of --task, trained beside FILE.json]",
            show_default=False,
        ),
    ] = None,
    task: Annotated[str, typer.Option(help="without --student: what to train one on, with the settings")] = "storeroom",
    out: Annotated[Path, typer.Option(metavar="FILE.json", help="what was measured")] = Path("bench.json"),
    parts: Annotated[
        str, typer.Option(help="which kinds of work, such as sampling,phase_1 [default: all]", show_default=False)
    ] = "",
    questions: Annotated[int, typer.Option(help="to sample on, and to answer", min=2)] = 100,
    samples: Annotated[int, typer.Option(help="chains per question", min=2)] = 10,
    steps: Annotated[int, typer.Option(help="optimizer steps of each training", min=2)] = 6,
    turns: Annotated[int, typer.Option(help="timed turns of baseline and product", min=1)] = 3,
) -> None:
    """How much faster than the plain way? Both do the same work in turns, in one process, on the same weights."""
    with friendly_errors():
        from tinythinker.bench import bench as benches
        from tinythinker.bench.workload import Size

        if student is not None and overrides:
            raise SettingsError(expected("settings", " ".join(overrides), "none with --student, which has its run's"))
        if out.suffix in {"", ".run"} or out.is_dir():
            raise SettingsError(expected("--out", str(out), "the name of a file, such as bench.json"))
        size = Size(questions=questions, samples=samples, steps=steps)
        wanted = benches.parts_of(parts)
        if student is None:
            work = benches.work_of_task(task, overrides or (), out, size)
        else:
            work = benches.work_of_student(student, size)
        found = benches.bench(work, out, wanted, turns)
        for line in found.lines():
            typer.echo(line, err=True)
    typer.echo(out)


@app.command()
def report(run: Run, overrides: Overrides = None) -> None:
    """Write report.html from whatever the run directory holds so far; settings only confirm the run's own."""
    with friendly_errors():
        from tinythinker.report.page import write_page
        from tinythinker.settings.schema import override, validate

        started = _open(run)
        manifest = started.manifest()
        started.refuse_changes(manifest.begun, override(validate(manifest.settings), overrides or ()).bound())
        write_page(started)
    _tell(started.report)


@app.command()
def ask(
    student: Annotated[Path, typer.Argument(help="student folder, or a run directory (its last student answers)")],
    question: Annotated[str, typer.Argument(help="the question")],
    option: Annotated[list[str], typer.Option("--option", "-o", help="one answer option; give it 2 to 26 times")],
    json: Annotated[bool, typer.Option("--json", help="print the chain as JSON")] = False,
) -> None:
    """Ask a student, and see what it recalls, how it analyzes every option, and what it answers."""
    with friendly_errors():
        from tinythinker.use.ask import think

        chain = think(student, question, option)
    typer.echo(chain.model_dump_json() if json else "\n".join(_lines(chain, option)))


@app.command()
def settings(
    verb: Annotated[
        str | None,
        typer.Argument(
            help="a verb (teach, train, reflect, evaluate) or a group (student, stages, ...); all if left out",
            show_default=False,
        ),
    ] = None,
    task: Annotated[Optional[str], typer.Option(help="show this task's values", show_default=False)] = None,  # noqa: UP045
) -> None:
    """Every setting: its value, what is allowed, and what it means."""
    with friendly_errors():
        from tinythinker.settings.schema import SECTIONS, as_yaml, describe_settings, flatten, known_keys, load_settings

        groups = {key.split(".")[0] for key in known_keys() if "." in key}
        if verb is not None and verb not in SECTIONS and verb not in groups:
            wanted = f"one of {', '.join(SECTIONS)}, or of {', '.join(sorted(groups))}"
            raise SettingsError(expected("verb or group", verb, wanted))
        values = {key: as_yaml(value) for key, value in flatten(load_settings(task).plain()).items()} if task else {}
        listed = [line for line in describe_settings() if line.key.split(".")[0] == verb]
        for line in describe_settings(verb) if verb is None or verb in SECTIONS else listed:
            value = values.get(line.key, line.default)
            typer.echo(f"{line.key} = {value}    [{line.allowed}]")
            typer.echo(f"    {line.meaning}")


def _request_lines(body: dict[str, object]) -> Iterator[str]:
    """The messages of a request, then all else that is sent."""
    import json

    messages = body.pop("messages")
    for message in messages if isinstance(messages, list) else []:
        yield f"[{message['role']}]\n{message['content']}"
    yield f"[request]\n{json.dumps(body, indent=2, ensure_ascii=False)}"


def _who() -> str:
    return "" if ranks.is_first() else f"process {ranks.number()}: "


def _tell(path: object, *, err: bool = False) -> None:
    """Print, once however many processes there are."""
    if ranks.is_first():
        typer.echo(path, err=err)


def _open(path: Path) -> RunDirectory:
    from tinythinker.core.run import RunDirectory

    run = RunDirectory(path)
    ranks.on_first(run.manifest)  # complains where there is none
    return run


def _show(scores: Mapping[str, Score]) -> None:
    for name, own in scores.items():
        _tell(
            f"{name}: accuracy {own.accuracy:.3f} (95% interval {own.low:.3f} to {own.high:.3f}, n = {own.n}), "
            f"unreadable {own.unreadable:.3f}, {own.tokens_per_answer:.0f} tokens per answer",
            err=True,
        )
        if own.votes:
            shares = ", ".join(f"{k}: {vote.share:.3f}" for k, vote in enumerate(own.votes, start=1))
            _tell(f"    by number of votes, from the same chains: {shares}", err=True)


def _lines(chain: Chain, options: list[str]) -> Iterator[str]:
    from tinythinker.core.records import LABELS

    if chain.recall is not None:
        yield f"Recall:    {chain.recall}"
    for label, text, analysis in zip(LABELS, options, chain.analyses, strict=False):
        yield f"Analyze {label}: {analysis}    ({text})"
    yield f"Summarize: {chain.conclusion}"
    said = "unreadable" if chain.answer is None else f"{chain.answer} ({options[LABELS.index(chain.answer)]})"
    yield f"Answer:    {said}"


def main() -> None:
    """Entry point of the `tinythinker` command."""
    app(prog_name="tinythinker")


if __name__ == "__main__":
    main()
