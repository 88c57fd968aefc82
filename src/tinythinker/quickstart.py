"""A first look at the method: what each part contributes, on the built-in benchmark, in minutes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from tinythinker import session
from tinythinker.core import ranks
from tinythinker.core.files import write_record
from tinythinker.core.progress import say
from tinythinker.core.records import Record
from tinythinker.evaluate.score import Score

SUMMARY_FILE = "summary.json"


class Result(Record):
    """Test accuracy of one student with its 95% Wilson interval; shares in [0, 1]."""

    accuracy: float
    low: float
    high: float
    n: int


class Summary(Record):
    """The contents of `summary.json`."""

    seed: int
    student: Literal["seq2seq", "causal"]
    """Family of the student: a T5, or a decoder-only model."""
    label_only: Result
    """The student that saw labels only: plan `summarize`, as many optimizer steps as phase 1."""
    phase_1: Result
    """The same initial weights after reasoning acquisition."""
    phase_2: Result
    """After the last round of self-reflection."""
    recall_facts: float
    """Share of the phase-2 student's recalls on the test questions that are true."""
    analyze_facts: float
    """Share of its analyses on the test questions that are true."""
    seconds: float
    """Wall-clock seconds of all work, summed over the calls if it was interrupted."""

    def lines(self) -> Iterator[str]:
        """The results as a table to print."""
        yield f"{'student':<34}{'test accuracy':>14}   95% interval"
        for name, result in (
            ("labels only", self.label_only),
            ("phase 1: recall, analyze, summarize", self.phase_1),
            ("phase 2: self-reflection", self.phase_2),
        ):
            interval = f"{100 * result.low:.1f} to {100 * result.high:.1f}"
            yield f"{name:<36}{100 * result.accuracy:>11.1f}%   {interval}  (n = {result.n})"
        yield (
            f"factually correct after phase 2: {100 * self.recall_facts:.0f}% of recalls, "
            f"{100 * self.analyze_facts:.0f}% of analyses; {self.seconds:.0f} s in total"
        )


def quickstart(
    out: Path, seed: int, *, student: Literal["seq2seq", "causal"] = "seq2seq", force: bool = False
) -> Summary:
    """Train a label-only and a TinyThinker student from the same weights, test both the same way, and report.

    Writes the TinyThinker run into `out`, the label-only run into `out/label-only`, `out/summary.json` and
    `out/report.html`. You can stop it and call it again.

    Raises:
        SettingsError: `out` holds other files, or a quickstart with another seed or family.
    """
    common = (f"seed={seed}", f"student.family={student}")
    thinker = session.start("storeroom", out, *common, force=force)
    labels = session.start(
        "storeroom", out / "label-only", *common, "stages.plan=summarize", "reflect.rounds=0", force=force
    )
    say("1/2: a student that learns from labels only")
    label_scores = session.run(labels)
    say("2/2: the same student, taught to recall, analyze and summarize, then to reflect")
    scores = session.run(thinker)
    last = list(scores.values())[-1]
    summary = Summary(
        seed=seed,
        student=student,
        label_only=_result(label_scores["phase-1"]),
        phase_1=_result(scores["phase-1"]),
        phase_2=_result(last),
        recall_facts=last.recall_facts or 0.0,
        analyze_facts=last.analyze_facts or 0.0,
        seconds=round(sum(sum(run.manifest().seconds.values()) for run in (labels, thinker)), 1),
    )
    ranks.on_first(lambda: write_record(out / SUMMARY_FILE, summary))
    return summary


def _result(found: Score) -> Result:
    return Result(accuracy=found.accuracy, low=found.low, high=found.high, n=found.n)
