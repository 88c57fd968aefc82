"""Finished cells -> figures, comparisons and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from tinythinker.core.files import read_json, read_records, write_json, write_text
from tinythinker.core.metrics import read_metrics
from tinythinker.core.records import Question, Record, Verdict
from tinythinker.core.run import RunDirectory
from tinythinker.evaluate.answer import verdicts_name
from tinythinker.evaluate.score import Interval, score
from tinythinker.evaluate.statistics import Answers, Comparison, OverSeeds, compare, corrected, in_words, over_seeds
from tinythinker.settings.schema import validate
from tinythinker.student.flops import Weights
from tinythinker.study.grid import Grid, Place


class Cell(Record):
    """One method, seed and value: what it came to. Shares in [0, 1]."""

    method: str
    seed: int
    value: str | None
    """Of the setting that varies."""
    accuracy: float
    low: float
    """Lower end of the 95% Wilson interval over questions."""
    high: float
    n: int
    unreadable: float
    tokens_per_answer: float
    steps: int
    """Optimizer steps of all trainings."""
    prompt_tokens: int
    """Read in training, padding left out."""
    target_tokens: int
    """Learned in training, padding left out."""
    flops: int
    """Of all optimizer steps, forward and backward; what phase 2 spends on sampling shows in the seconds alone."""
    seconds: float
    """Wall-clock time of train and reflect; shared beginnings count for every cell that has them."""
    recall_facts: float | None
    analyze_facts: float | None
    votes: tuple[Interval, ...] = ()
    """With evaluate.votes=K: accuracy of the vote over the first 1 to K chains."""
    run: str
    """Its run directory, from the study's."""


class Summary(Record):
    """One row of the table: a method at a value, over seeds."""

    method: str
    value: str | None
    accuracy: OverSeeds
    """Over seeds; for a single seed `low` and `high` are its Wilson interval."""
    tokens_per_answer: float
    unreadable: float
    steps: float
    target_tokens: float
    flops: float
    seconds: float
    recall_facts: float | None
    analyze_facts: float | None


class Results(Record):
    """What a study has found so far."""

    cells: tuple[Cell, ...]
    rows: tuple[Summary, ...]
    comparisons: dict[str, dict[str, Comparison]]
    """By value (empty text if nothing varies): the reference method against every other one."""


def gather(grid: Grid, out: Path) -> Results:
    """Read every finished cell. Raises DataError if a file of one is damaged."""
    cells: list[Cell] = []
    answers: dict[tuple[str | None, str], dict[int, Answers]] = {}
    for place in grid.cells():
        verdicts = _verdicts(grid, out, place)
        if verdicts:
            cells.append(_cell(out, place, verdicts))
            own = {verdict.question_id: verdict.is_correct for verdict in verdicts}
            answers.setdefault((place.value, place.method), {})[place.seed] = own
    values = list(dict.fromkeys(place.value for place in grid.cells()))
    rows = [_row([c for c in cells if (c.value, c.method) == key]) for key in answers]
    comparisons = {value or "": _comparisons(grid, value, answers) for value in values}
    return Results(cells=tuple(cells), rows=tuple(rows), comparisons=comparisons)


def _verdicts(grid: Grid, out: Path, place: Place) -> list[Verdict]:
    """Of the cell's last student; none if it is not finished."""
    run = RunDirectory(out / place.folder)
    if not run.exists:
        return []
    settings = validate(run.manifest().settings)
    how = grid.method(place.method).untrained
    student = how or (f"round-{settings.reflect.rounds}" if settings.reflect.rounds else "phase-1")
    evaluated = settings.evaluate if how is None else settings.evaluate.model_copy(update={"votes": 1})
    file = run.verdicts(verdicts_name(student, evaluated))
    if not file.exists():
        return []
    verdicts = read_records(file, Verdict, is_growing=True)
    is_finished = len(verdicts) == len(read_records(run.questions(settings.evaluate.split), Question))
    return verdicts if is_finished else []


def _cell(out: Path, place: Place, verdicts: Sequence[Verdict]) -> Cell:
    run = RunDirectory(out / place.folder)
    own = score(verdicts)
    steps, prompts, targets = _spent(run)
    data = run.phase_1 / "data.json"
    weights = Weights(*_numbers(read_json(data)["weights"])) if data.exists() else Weights(0, 0)
    seconds = run.manifest().seconds
    return Cell(
        method=place.method,
        seed=place.seed,
        value=place.value,
        accuracy=own.accuracy,
        low=own.low,
        high=own.high,
        n=own.n,
        unreadable=own.unreadable,
        tokens_per_answer=own.tokens_per_answer,
        steps=steps,
        prompt_tokens=prompts,
        target_tokens=targets,
        flops=weights.flops(prompts, targets),
        seconds=round(seconds.get("train", 0.0) + seconds.get("reflect", 0.0), 1),
        recall_facts=own.recall_facts,
        analyze_facts=own.analyze_facts,
        votes=own.votes,
        run=str(place.folder),
    )


def _numbers(value: object) -> tuple[int, int]:
    mapping = value if isinstance(value, Mapping) else {}
    return int(mapping["per_prompt_token"]), int(mapping["per_target_token"])


def _spent(run: RunDirectory) -> tuple[int, int, int]:
    """Optimizer steps, prompt tokens and target tokens of all trainings of a run."""
    folders = [run.phase_1, *(run.round(number) for number in run.rounds())]
    lines = [line for folder in folders for line in read_metrics(folder / "metrics.jsonl") if "target_tokens" in line]
    prompts, targets = (sum(int(str(line[name])) for line in lines) for name in ("prompt_tokens", "target_tokens"))
    return len(lines), prompts, targets


def _row(cells: Sequence[Cell]) -> Summary:
    accuracy = over_seeds([cell.accuracy for cell in cells])
    low, high = (cells[0].low, cells[0].high) if len(cells) == 1 else (accuracy.low, accuracy.high)
    if low is not None and high is not None:
        accuracy = accuracy.model_copy(update={"low": max(0.0, low), "high": min(1.0, high)})

    def mean_known(name: str) -> float | None:
        known = [getattr(cell, name) for cell in cells if getattr(cell, name) is not None]
        return fmean(known) if known else None

    def mean(name: str) -> float:
        return fmean(getattr(cell, name) for cell in cells)

    return Summary(
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


def _comparisons(
    grid: Grid, value: str | None, answers: Mapping[tuple[str | None, str], Mapping[int, Answers]]
) -> dict[str, Comparison]:
    """The reference method against every other one at this value, corrected for their number."""
    reference = answers.get((value, grid.compared_with), {})
    found = {
        name: compare(reference, answers[value, name])
        for name in grid.methods
        if name != grid.compared_with and (value, name) in answers
    }
    return corrected({name: own for name, own in found.items() if own is not None})


def write_results(grid: Grid, out: Path, results: Results) -> None:
    """Write `results.json` (the cells), `comparisons.json` and `table.md`."""
    write_json(out / "results.json", [cell.model_dump(mode="json") for cell in results.cells])
    by_value = {
        value: {name: own.model_dump() for name, own in some.items()} for value, some in results.comparisons.items()
    }
    write_json(out / "comparisons.json", {"reference": grid.compared_with, "comparisons": by_value})
    write_text(out / "table.md", "\n".join(table(grid, results)) + "\n")


def table(grid: Grid, results: Results) -> Iterator[str]:
    """The results as Markdown."""
    count = len(list(grid.cells()))
    yield f"# {grid.task}: {', '.join(grid.methods)}"
    yield ""
    yield (
        f"{len(results.cells)} of {count} cells; seeds {', '.join(map(str, grid.seeds))}; budget of phase 1: equal "
        f"{grid.budget.replace('_', ' ')}; {' '.join(grid.settings) or 'settings of the preset'}. Accuracy: mean over "
        "seeds, standard deviation, 95% t interval over seeds (for one seed: Wilson interval over questions). "
        "Steps, target tokens, FLOPs and seconds are those of all training, phase 2 included; FLOPs are those of "
        f"optimizer steps. Difference: {grid.compared_with} less the method, paired by seed; p after Holm's correction "
        "within the table."
    )
    for value in dict.fromkeys(row.value for row in results.rows):
        yield ""
        if grid.vary:
            yield f"## {grid.vary[0]} = {value}"
            yield ""
        yield (
            "| method | accuracy | sd | 95% interval | tokens per answer | unreadable | recalls true | analyses true "
            f"| steps | target tokens | training FLOPs | seconds | {grid.compared_with} less it | p (Holm) | in words |"
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
            shares = ", ".join(f"{k}: {_percent(own.share)}" for k, own in enumerate(cell.votes, start=1))
            if shares:
                yield f"- {cell.method}{'' if cell.value is None else f', {cell.value}'}, seed {cell.seed}: {shares}"


def _line(grid: Grid, row: Summary, own: Comparison | None) -> str:
    low, high = row.accuracy.low, row.accuracy.high
    facts = ["-" if own_ is None else _percent(own_) for own_ in (row.recall_facts, row.analyze_facts)]
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
        *_compared(grid, row, own),
    ]
    return f"| {' | '.join(cells)} |"


def _compared(grid: Grid, row: Summary, own: Comparison | None) -> tuple[str, str, str]:
    if own is None:
        return "", "", "the reference" if row.method == grid.compared_with else ""
    gain = f"{100 * own.difference:+.1f} ({100 * own.low:+.1f} to {100 * own.high:+.1f})"
    words = in_words(own)
    said = words if words.startswith("no") else f"{grid.compared_with} is {words}"
    return gain, _p(own.p if own.p_holm is None else own.p_holm), said


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
