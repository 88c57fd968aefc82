"""Everything the command line does, in the same words::

    from tinythinker import api
    run = api.start("storeroom", "runs/first", "seed=1")
    api.teach(run); api.train(run); api.reflect(run); api.evaluate(run); api.report(run)

`api.run(run)` does these five in order. Every verb can be stopped at any moment and called again: it keeps what is
finished and does the rest. Importing this module loads no torch; the verbs that need it do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tinythinker.session import evaluate, evaluate_untrained, probe, reflect, report, run, start, teach, train, try_

if TYPE_CHECKING:
    from tinythinker.bench.bench import Bench
    from tinythinker.core.files import Json
    from tinythinker.core.run import RunDirectory
    from tinythinker.publish.push import Pushed
    from tinythinker.quickstart import Summary
    from tinythinker.report.standing import Standing
    from tinythinker.report.versus import Versus
    from tinythinker.serve.limits import Limits
    from tinythinker.settings.describe import FieldLine
    from tinythinker.student.student import Student
    from tinythinker.study.methods import Method
    from tinythinker.study.results import Results
    from tinythinker.tasks.tables.findings import Findings
    from tinythinker.teacher.llm.batch import Taken
    from tinythinker.teacher.llm.cost import Estimate
    from tinythinker.teacher.llm.interview import Exported
    from tinythinker.use.answering import LoadedStudent
    from tinythinker.use.harness import TaskScores
    from tinythinker.use.predict import Predicted
    from tinythinker.use.prediction import Prediction

__all__ = [
    "ask",
    "batch_export",
    "batch_import",
    "bench",
    "card",
    "check",
    "compare",
    "cost",
    "evaluate",
    "evaluate_untrained",
    "export",
    "lm_eval",
    "load",
    "methods",
    "predict",
    "probe",
    "push",
    "quickstart",
    "reflect",
    "report",
    "run",
    "serve",
    "settings",
    "show_request",
    "start",
    "study",
    "teach",
    "train",
    "try_",
    "watch",
]


def quickstart(
    out: str | PathLike[str] = "quickstart",
    seed: int = 0,
    *,
    student: Literal["seq2seq", "causal"] = "seq2seq",
    force: bool = False,
) -> Summary:
    """The method in minutes on the built-in benchmark (see `tinythinker.quickstart`)."""
    from tinythinker.quickstart import quickstart as start_quickly

    return start_quickly(Path(out), seed, student=student, force=force)


def check(file: str | PathLike[str], *overrides: str, config: Path | None = None) -> Findings:
    """What is recognised in a file of questions, how every question is read, and what is odd or wrong in it.

    Args:
        file: the file, or `hub:OWNER/NAME[/CONFIG]` for the training split of a data set.
        overrides: settings such as `data.answer=column`; those of the student say whose tokens to count.
        config: a YAML file of settings.

    Raises:
        SettingsError: a setting is wrong, or does not suit the file.
        DataError: the file cannot be read at all. Rows that cannot be read are `problems` of what is returned.
    """
    from tinythinker.use.check import check as check_file

    return check_file(str(file), overrides, config)


def cost(task: str, *overrides: str, config: Path | None = None, run: str | PathLike[str] | None = None) -> Estimate:
    """What asking a language model would cost, before anything is sent.

    Args:
        task, overrides, config: as for `start`; `teacher.source=openai` is implied.
        run: a run directory whose answers count as received.

    Raises:
        SettingsError: no model is named.
        DataError: the questions cannot be loaded.
    """
    from tinythinker.teacher.llm.interview import estimate_cost

    return estimate_cost(task, overrides, config, Path(run) if run is not None else None)


def show_request(task: str, *overrides: str, config: Path | None = None) -> Json:
    """The body of the first request that would be sent. Raises as `cost` does."""
    from tinythinker.teacher.llm.interview import show_request as first_request

    return first_request(task, overrides, config)


def batch_export(run: RunDirectory) -> Exported | None:
    """Write the remaining requests to a batch file that you submit yourself; None if there are none.

    Raises:
        SettingsError: the teacher is not a language model.
        DataError: the questions cannot be loaded, the file cannot be written, or another process uses this run.
    """
    from tinythinker.teacher.llm.interview import batch_export as export

    return export(run)


def batch_import(run: RunDirectory, file: str | PathLike[str]) -> Taken:
    """Import the output file of a batch; answers that were imported before are skipped.

    Raises:
        SettingsError: the teacher is not a language model.
        DataError: the file cannot be read or answers requests of another run, or another process uses this run.
    """
    from tinythinker.teacher.llm.interview import batch_import as take_in

    return take_in(run, Path(file))


def load(student: str | PathLike[str]) -> LoadedStudent:
    """Load a student to ask it many questions.

    Args:
        student: a run directory (its last student), a student's folder, or any pretrained model, by folder or Hugging
            Face name; that one is untrained and answers with the option that is the most likely text.

    Such as::

        student = api.load("runs/first")
        student.answer("Which is heavier?", ["cow", "fox"]).text
        student.answer_all([("Which is heavier?", ["cow", "fox"]), ("Which flies?", ["hen", "pig"])])

    Raises:
        StudentError: there is no such student.
    """
    from tinythinker.use.ask import load as load_one

    return load_one(student)


def ask(student: str | PathLike[str] | Student, question: str, options: Sequence[str]) -> Prediction:
    """A student's answer to one question, with its whole reasoning.

    Args:
        student: a loaded student, or what `load` takes.
        options: 2 to 26 texts; they get the labels A, B, C ... in this order.

    Raises:
        StudentError: there is no such student.
        DataError: a text is empty, or there are too few or too many options.
    """
    from tinythinker.use.ask import ask as ask_one

    return ask_one(student, question, options)


def watch(run: RunDirectory, *, every: float = 2.0, page: bool = False) -> Iterator[Standing]:
    """Where a run stands, again and again, until every verb is done and nobody is at work in it.

    Args:
        every: seconds between two looks.
        page: also keep `report.html` up to date, which then loads itself again in a browser.

    Raises:
        DataError: it is no run, or a file in it is damaged.
    """
    from tinythinker.report.standing import watch as look_at

    seen = look_at(run, every=every)
    if page:
        from tinythinker.report.page import keep_page

        return keep_page(run, seen)
    return seen


def card(run: RunDirectory | str | PathLike[str], *, licence: str | None = None, base_model: str | None = None) -> Path:
    """Write a model card for a run's last student into the run directory: `card.md`.

    It says what the student is, what it learned from, how well it answers, and how to use it in plain `transformers`.
    No path and no key of this machine stands in it.

    Args:
        licence: the licence that you publish the student under, as the Hub spells it (`mit`).
        base_model: name on the Hub of the model that training began with; None takes `student.name` if it is one.

    Raises:
        DataError: the directory is no run, `teach` is not finished, or a file is damaged.
        StudentError: there is no student yet.
        SettingsError: a name does not have the Hub's form.
    """
    from tinythinker.core.run import RunDirectory as Directory
    from tinythinker.publish.card import write_card

    return write_card(Directory(Path(run)), licence=licence, base_model=base_model)


def export(
    run: RunDirectory | str | PathLike[str],
    kind: Literal["sft", "pairs", "chains"],
    form: Literal["trl", "llamafactory", "jsonl"] = "trl",
    out: str | PathLike[str] | None = None,
) -> Path:
    """Write what a run learned from for another trainer. Lines that say the same are written once.

    Args:
        kind: sft: the stage examples of phase 1; pairs: the preference pairs of all rounds; chains: what the student
            sampled in all rounds, with whether the answer was right.
        form: for TRL, for LLaMA-Factory, or jsonl: our own records, every one of them.
        out: the folder; None takes `exports/FORM` in the run directory.

    Returns:
        The file: `sft.jsonl`, `pairs.jsonl` or `chains.jsonl`.

    Raises:
        DataError: the directory is no run, a file is damaged, or there is nothing of that kind yet.
    """
    from tinythinker.core.run import RunDirectory as Directory
    from tinythinker.publish.export import export as hand_over

    return hand_over(Directory(Path(run)), kind, form, None if out is None else Path(out))


def lm_eval(
    student: str | PathLike[str] | Student,
    *tasks: str,
    limit: int | None = None,
    include_path: str | PathLike[str] | None = None,
) -> TaskScores:
    """Let a student answer tasks of lm-evaluation-harness with its whole chain of stages. Needs the extra `lm-eval`.

    Question and options are read from a task's records; worked examples (few-shot) do not reach the student. Read
    `acc`: metrics that divide by the length of an option make no sense for the likelihood of a label.

    Args:
        student: a loaded student, its folder, or a run directory (its last student).
        tasks: names of multiple-choice tasks.
        limit: the first so many questions of each task; None takes all.
        include_path: a folder with task files of your own.

    Raises:
        SettingsError: the package is not installed, or there is no such task.
        StudentError: there is no such student.
        DataError: a task cannot be loaded, or does not ask questions with options.
    """
    from tinythinker.use.harness import score_tasks

    where = None if include_path is None else Path(include_path)
    return score_tasks(student, tasks, limit=limit, include_path=where)


def push(
    run: RunDirectory | str | PathLike[str],
    name: str,
    *,
    card_file: str | PathLike[str] | None = None,
    licence: str | None = None,
    base_model: str | None = None,
    private: bool = False,
    dry_run: bool = False,
) -> Pushed:
    """Send a run's last student, with a model card, to the Hugging Face Hub, in one commit.

    Nothing is sent if a file names a folder or holds a key of this machine. The token comes from HF_TOKEN or from
    `hf auth login`.

    Args:
        name: OWNER/NAME; the repository is made if it is not there.
        card_file: your own card; None writes one (see `card` for `licence` and `base_model`).
        private: make a repository that only you see.
        dry_run: send nothing; the result says what would go.

    Raises:
        SettingsError: the name does not have the Hub's form, there is no token, or the Hub refuses it.
        StudentError: there is no student yet.
        DataError: a file cannot be read or holds something private, or the Hub cannot be reached.
    """
    from tinythinker.core.run import RunDirectory as Directory
    from tinythinker.publish.push import push as send

    own = None if card_file is None else Path(card_file)
    how = {"licence": licence, "base_model": base_model}
    return send(Directory(Path(run)), name, card_file=own, **how, private=private, dry_run=dry_run)


def predict(
    student: str | PathLike[str],
    file: str | PathLike[str],
    *overrides: str,
    out: str | PathLike[str] | None = None,
    config: Path | None = None,
    each: Callable[[Prediction], None] | None = None,
) -> Predicted:
    """Answer a file of questions, with or without right answers, in any form that `check` knows.

    Answers are written as they come, in the order of the file. A call that was stopped is resumed by the same call; a
    file of answers that were made otherwise is refused.

    Args:
        student: as for `load`.
        file: the file, or `hub:OWNER/NAME[/CONFIG]` for the training split of a data set.
        overrides: `data.*` (how the file is read), `evaluate.votes`, `evaluate.temperature`, `evaluate.plan`, `seed`.
        out: a new file, .jsonl (one `Prediction` per line) or .csv (written once all are answered); None writes none.
        config: a YAML file of settings.
        each: gets every prediction, if there is no `out`.

    Raises:
        SettingsError: a setting is wrong, or `out` holds something else.
        StudentError: there is no such student.
        DataError: the file cannot be read, or `out` cannot be written.
    """
    from tinythinker.use.predict import predict as predict_file

    where = None if out is None else Path(out)
    return predict_file(student, str(file), overrides, config=config, out=where, each=each)


def serve(
    student: str | PathLike[str],
    *compared: str | PathLike[str],
    host: str = "127.0.0.1",
    port: int = 8000,
    key_env: str | None = None,
    limits: Limits | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Answer questions over HTTP, with a playground at `/`, until Ctrl-C or SIGTERM; needs the extra `serve`.

    Args:
        student: as for `load`; the other students of its run can be asked too.
        compared: more students that can be asked.
        host: where to listen. Any other address than a loopback one needs a key.
        port: 0 takes any that is free.
        key_env: environment variable with the key that requests must bring; None asks for none.
        limits: how requests are gathered, and how many may wait how long; None takes the usual ones.
        ready: hears the address once requests are answered; None says it on stderr.

    Raises:
        SettingsError: a package or the key is missing, or the address cannot be used.
        StudentError: there is no such student.
    """
    from tinythinker.serve.service import serve as serve_students

    serve_students(student, compared, host=host, port=port, key_env=key_env, limits=limits, ready=ready)


def study(
    source: str,
    *overrides: str,
    out: str | PathLike[str],
    methods: Sequence[str] = (),
    seeds: int | None = None,
    budget: Literal["steps", "target_tokens", "flops"] | None = None,
    vary: str | None = None,
    reference: str | None = None,
    workers: int = 1,
) -> Results:
    """Compare methods over seeds, on the same questions and with equal budgets.

    Writes tables, `study.html` and a run directory per cell into `out`. You can stop, resume and extend it.

    Args:
        source: a YAML study file, or a task.
        overrides: settings of all cells, over the file's.
        methods: their names (`methods` lists them); none takes the file's, or the usual five.
        seeds: number of seeds, counted from 0; None takes the file's, or 3.
        budget: unit of phase 1's budget, equal for every method; None takes the file's, or steps.
        vary: `key.path=value,value`, to run the grid for each value.
        reference: the method to compare the others with; None takes tinythinker or phase_1.
        workers: parallel processes; they share the cores.

    Raises:
        SettingsError, DataError: the study cannot be done, or `out` holds something else.
        TinyThinkerError: a cell cannot be done; those that are done stay.
    """
    from tinythinker.study.grid import read_grid
    from tinythinker.study.study import study as do_study

    grid = read_grid(source, overrides, methods=methods, seeds=seeds, budget=budget, vary=vary, reference=reference)
    return do_study(grid, Path(out), workers=workers)


def compare(*runs: str | PathLike[str], page: str | PathLike[str] | None = None) -> Versus:
    """Compare finished runs on the same questions: figures, paired tests, and both chains where answers differ.

    Args:
        runs: two or more, each a run directory (its last student) or one of its files of verdicts.
        page: an HTML file to write the comparison into.

    Raises:
        SettingsError: fewer than two students, or one twice.
        DataError: there are no finished verdicts, they are damaged, or the questions are not the same.
    """
    from tinythinker.report.versus import compare_runs, write_comparison

    found = compare_runs([Path(run) for run in runs])
    if page is not None:
        write_comparison(found, Path(page))
    return found


def methods() -> Mapping[str, Method]:
    """The methods that a study can compare, by name."""
    from tinythinker.study.methods import METHODS

    return METHODS


def bench(
    *overrides: str,
    student: str | PathLike[str] | None = None,
    task: str = "storeroom",
    out: str | PathLike[str] = "bench.json",
    parts: Sequence[str] = (),
    questions: int = 100,
    samples: int = 10,
    steps: int = 6,
    batch_size: int | None = None,
    turns: int = 3,
) -> Bench:
    """Measure the speedup over a plain implementation: same work, same weights, in turns, in one process.

    Args:
        overrides: settings to train a student with; only without `student`.
        student: a run directory or a student's folder in one; None trains one on `task`, next to `out`.
        out: file for the measurements.
        parts: kinds of work, such as `sampling`; none does all.
        questions: questions to sample on and to answer.
        samples: chains per question.
        steps: optimizer steps per training.
        batch_size: examples or pairs per step; None: as in the run.
        turns: timed turns of baseline and product.

    Raises:
        SettingsError: the arguments contradict each other.
        StudentError: the student is not one that the baseline can handle.
    """
    from tinythinker.bench.arguments import refuse_unready_bench

    where = None if student is None else Path(student)
    refuse_unready_bench(overrides, student=where, task=task, out=Path(out), parts=parts)

    from tinythinker.bench.bench import bench as measure
    from tinythinker.bench.workload import Size

    size = Size(questions=questions, samples=samples, steps=steps, batch_size=batch_size)
    return measure(overrides, student=where, task=task, out=Path(out), parts=parts, size=size, turns=turns)


def settings(name: str | None = None, *, task: str | None = None) -> list[FieldLine]:
    """Every setting with its value, allowed values and meaning.

    Args:
        name: a verb or a group of settings; None lists all.
        task: show this task's values instead of the defaults.

    Raises:
        SettingsError: no such verb, group or task.
    """
    from tinythinker.settings.listing import list_settings

    return list_settings(name, task)
