"""Finished cells -> figures, comparisons and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from tinythinker.core.files import read_record, write_json, write_record, write_text
from tinythinker.core.metrics import TrainingData, Weights, read_metrics
from tinythinker.core.records import Record, Verdict
from tinythinker.core.run import RunDirectory, StudyDirectory
from tinythinker.evaluate.answered import read_answered
from tinythinker.evaluate.guessing import guessing
from tinythinker.evaluate.score import Interval, score, verdicts_name
from tinythinker.evaluate.statistics import Answers, Comparison, OverSeeds, compare, corrected, in_words, over_seeds
from tinythinker.report.cards import p_value
from tinythinker.settings.resolve import validate
from tinythinker.study.folders import cell_of
from tinythinker.study.grid import Grid, Place
from tinythinker.teacher.taught import read_questions


class Cell(Record):
    """Results of one method with one seed and value. Shares are in [0, 1]."""

    method: str
    seed: int
    value: str | None
    """Value of the setting that varies; None if none does."""
    accuracy: float
    low: float
    """Lower end of the 95% Wilson interval over questions."""
    high: float
    n: int
    unreadable: float
    tokens_per_answer: float
    steps: int
    """Optimizer steps of all trainings together."""
    prompt_tokens: int
    """Prompt tokens read in training, without padding."""
    target_tokens: int
    """Target tokens learned from in training, without padding."""
    flops: int
    """Floating-point operations of all optimizer steps, forward and backward; sampling in phase 2 counts
    only in `seconds`."""
    seconds: float
    """Wall-clock time of train and reflect. Training that cells share counts in full for each of them."""
    recall_facts: float | None
    analyze_facts: float | None
    votes: tuple[Interval, ...] = ()
    """Accuracy of the vote over the first 1, 2, ..., evaluate.votes chains; empty for a single chain."""
    chance: float
    """Expected accuracy of an option drawn at random."""
    majority: float
    """Accuracy of always giving the gold label that is most common in training."""
    run: str
    """Its run directory, relative to the study's directory."""


class Row(Record):
    """One row of the table: one method at one value, over all seeds."""

    method: str
    value: str | None
    accuracy: OverSeeds
    """Over seeds; with a single seed, `low` and `high` are the Wilson interval over questions."""
    tokens_per_answer: float
    unreadable: float
    steps: float
    target_tokens: float
    flops: float
    seconds: float
    recall_facts: float | None
    analyze_facts: float | None
    below: str | None = None
    """The best way in which the untrained student answers better than this method; None if there is none."""


class Comparisons(Record):
    """What `comparisons.json` holds."""

    reference: str
    comparisons: dict[str, dict[str, Comparison]]
    """By value (empty text if nothing varies), then by method."""


class Results(Record):
    """Results of a study so far."""

    cells: tuple[Cell, ...]
    rows: tuple[Row, ...]
    comparisons: dict[str, dict[str, Comparison]]
    """The reference method against every other one: by value ("" if nothing varies), then by method."""


def gather(grid: Grid, directory: StudyDirectory) -> Results:
    """Read every finished cell. Raises DataError if a file of a cell is damaged."""
    cells: list[Cell] = []
    answers: dict[tuple[str | None, str], dict[int, Answers]] = {}
    for place in grid.cells():
        run = cell_of(grid, place, directory)
        verdicts = _verdicts(grid, run, place)
        if verdicts:
            cells.append(_cell(run, place, verdicts, str(run.root.relative_to(directory.root))))
            right = {verdict.question_id: verdict.is_correct for verdict in verdicts}
            answers.setdefault((place.value, place.method), {})[place.seed] = right
    values = list(dict.fromkeys(place.value for place in grid.cells()))
    rows = marked_rows(grid, [_row([c for c in cells if (c.value, c.method) == key]) for key in answers])
    comparisons = {value or "": _comparisons(grid, value, answers) for value in values}
    return Results(cells=tuple(cells), rows=tuple(rows), comparisons=comparisons)


def _verdicts(grid: Grid, run: RunDirectory, place: Place) -> list[Verdict]:
    """Verdicts of the cell's last student; empty if the cell is not finished."""
    if not run.exists:
        return []
    settings = validate(run.manifest().settings)
    how = grid.method(place.method).untrained and place.method
    student = how or (f"round-{settings.reflect.rounds}" if settings.reflect.rounds else "phase-1")
    evaluated = settings.evaluate if how is None else settings.evaluate.model_copy(update={"votes": 1})
    file = run.verdicts(verdicts_name(student, evaluated))
    if not file.exists():
        return []
    answered = read_answered(run, file, read_questions(run, settings.evaluate.split))
    return list(answered.verdicts) if answered.is_finished else []


def _cell(run: RunDirectory, place: Place, verdicts: Sequence[Verdict], folder: str) -> Cell:
    scored = score(verdicts)
    split = validate(run.manifest().settings).evaluate.split
    guess = guessing(read_questions(run, split), read_questions(run, "train"))
    steps, prompts, targets = _spent(run)
    data = run.phase_1.data
    weights = Weights(per_prompt_token=0, per_target_token=0)
    if data.exists():
        weights = read_record(data, TrainingData).weights
    seconds = run.manifest().seconds
    return Cell(
        method=place.method,
        seed=place.seed,
        value=place.value,
        accuracy=scored.accuracy,
        low=scored.low,
        high=scored.high,
        n=scored.n,
        unreadable=scored.unreadable,
        tokens_per_answer=scored.tokens_per_answer,
        steps=steps,
        prompt_tokens=prompts,
        target_tokens=targets,
        flops=weights.flops(prompts, targets),
        seconds=round(seconds.get("train", 0.0) + seconds.get("reflect", 0.0), 1),
        recall_facts=scored.recall_facts,
        analyze_facts=scored.analyze_facts,
        votes=scored.votes,
        chance=guess.chance,
        majority=guess.majority,
        run=folder,
    )


def _spent(run: RunDirectory) -> tuple[int, int, int]:
    """Optimizer steps, prompt tokens and target tokens of all trainings of a run."""
    run.refuse_damage(*(run.training(name).metrics for name in run.trainings() if run.training(name).metrics.exists()))
    lines = [line for name in run.trainings() for line in read_metrics(run.training(name).metrics).steps]
    return len(lines), sum(line.prompt_tokens for line in lines), sum(line.target_tokens for line in lines)


def _row(cells: Sequence[Cell]) -> Row:
    accuracy = over_seeds([cell.accuracy for cell in cells])
    low, high = (cells[0].low, cells[0].high) if len(cells) == 1 else (accuracy.low, accuracy.high)
    if low is not None and high is not None:
        accuracy = accuracy.model_copy(update={"low": max(0.0, low), "high": min(1.0, high)})

    def mean_known(name: str) -> float | None:
        known = [getattr(cell, name) for cell in cells if getattr(cell, name) is not None]
        return fmean(known) if known else None

    def mean(name: str) -> float:
        return fmean(getattr(cell, name) for cell in cells)

    return Row(
        method=cells[0].method,
        value=cells[0].value,
        accuracy=accuracy,
        tokens_per_answer=mean("tokens_per_answer"),
        unreadable=mean("unreadable"),
        steps=mean("steps"),
        target_tokens=mean("target_tokens"),
        flops=mean("flops"),
        seconds=mean("seconds"),
        recall_facts=mean_known("recall_facts"),
        analyze_facts=mean_known("analyze_facts"),
    )


def marked_rows(grid: Grid, rows: Sequence[Row]) -> list[Row]:
    """The rows; a method that is below the untrained student says so (`Row.below`)."""
    best: dict[str | None, Row] = {}
    for row in rows:
        known = best.get(row.value)
        if grid.method(row.method).is_pretrained and (known is None or row.accuracy.mean > known.accuracy.mean):
            best[row.value] = row
    return [
        row.model_copy(update={"below": best[row.value].method})
        if row.value in best
        and not grid.method(row.method).is_pretrained
        and row.accuracy.mean < best[row.value].accuracy.mean
        else row
        for row in rows
    ]


def _comparisons(
    grid: Grid, value: str | None, answers: Mapping[tuple[str | None, str], Mapping[int, Answers]]
) -> dict[str, Comparison]:
    """The reference method against every other one at this value, corrected for the number of comparisons."""
    reference = answers.get((value, grid.compared_with), {})
    found = {
        name: compare(reference, answers[value, name])
        for name in grid.methods
        if name != grid.compared_with and (value, name) in answers
    }
    return corrected({name: one for name, one in found.items() if one is not None})


def write_results(grid: Grid, directory: StudyDirectory, results: Results) -> None:
    """Write `results.json` (the cells), `comparisons.json` and `table.md`."""
    write_json(directory.results, [cell.model_dump(mode="json") for cell in results.cells])
    write_record(directory.comparisons, Comparisons(reference=grid.compared_with, comparisons=results.comparisons))
    write_text(directory.table, "\n".join(table(grid, results)) + "\n")


def table(grid: Grid, results: Results) -> Iterator[str]:
    """The lines of `table.md`: the results as Markdown."""
    count = len(list(grid.cells()))
    yield f"# {grid.task}: {', '.join(grid.methods)}"
    yield ""
    yield (
        f"{len(results.cells)} of {count} cells; seeds {', '.join(map(str, grid.seeds))}; "
        f"phase 1 budget: equal {grid.budget.replace('_', ' ')}; "
        f"{' '.join(grid.settings) or 'settings of the preset'}. Accuracy: mean over "
        "seeds, standard deviation, 95% t interval over seeds (for one seed: Wilson interval over questions). "
        "Steps, target tokens, FLOPs and seconds cover all training, phase 2 included; FLOPs count only "
        f"optimizer steps. Difference: {grid.compared_with} minus the method, paired by seed; "
        "p after Holm's correction within the table."
    )
    for value in dict.fromkeys(row.value for row in results.rows):
        yield ""
        if grid.vary:
            yield f"## {grid.vary[0]} = {value}"
            yield ""
        yield (
            "| method | accuracy | sd | 95% interval | tokens per answer | unreadable "
            "| recalls true | analyses true | steps | target tokens | training FLOPs | seconds "
            f"| {grid.compared_with} minus it | p (Holm) | in words |"
        )
        yield "|" + "---|" * 15
        for row in results.rows:
            if row.value == value:
                yield _line(grid, row, results.comparisons.get(value or "", {}).get(row.method))
    if any(cell.votes for cell in results.cells):
        yield ""
        yield "Accuracy of a vote over the first k chains, all from one sampling run:"
        yield ""
        for cell in results.cells:
            shares = ", ".join(f"{k}: {_percent(vote.share)}" for k, vote in enumerate(cell.votes, start=1))
            if shares:
                yield f"- {cell.method}{'' if cell.value is None else f', {cell.value}'}, seed {cell.seed}: {shares}"


def _line(grid: Grid, row: Row, comparison: Comparison | None) -> str:
    low, high = row.accuracy.low, row.accuracy.high
    facts = ["-" if share is None else _percent(share) for share in (row.recall_facts, row.analyze_facts)]
    cells = [
        row.method,
        _percent(row.accuracy.mean),
        "-" if row.accuracy.sd is None else f"{100 * row.accuracy.sd:.1f}",
        "-" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}",
        f"{row.tokens_per_answer:.1f}",
        _percent(row.unreadable),
        *facts,
        f"{row.steps:,.0f}",
        f"{row.target_tokens:,.0f}",
        f"{row.flops:.2e}",
        f"{row.seconds:.0f}",
        *compared(grid, row, comparison),
    ]
    return f"| {' | '.join(cells)} |"


def compared(grid: Grid, row: Row, comparison: Comparison | None) -> tuple[str, str, str]:
    """How the reference compares with a method: the difference with its interval, p, and a verdict in words."""
    below = "" if row.below is None else f"below {row.below}, untrained"
    if comparison is None:
        said = "the reference" if row.method == grid.compared_with else ""
        return "", "", "; ".join(filter(None, (said, below)))
    low, high = f"{100 * comparison.low:+.1f}", f"{100 * comparison.high:+.1f}"
    gain = f"{100 * comparison.difference:+.1f} ({low} to {high})"
    words = in_words(comparison)
    said = words if words.startswith("no") else f"{grid.compared_with} is {words}"
    p = comparison.p if comparison.p_holm is None else comparison.p_holm
    return gain, p_value(p), "; ".join(filter(None, (said, below)))


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
