"""The first impression: what each part of the method is for, on the embedded benchmark, in minutes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from tinythinker import api
from tinythinker.core import ranks
from tinythinker.core.files import write_text
from tinythinker.core.progress import say
from tinythinker.core.records import Record
from tinythinker.evaluate.score import Score


class Result(Record):
    """Test accuracy of one student with its 95% Wilson interval; shares in [0, 1]."""

    accuracy: float
    low: float
    high: float
    n: int


class Summary(Record):
    """What `summary.json` holds."""

    seed: int
    student: Literal["seq2seq", "causal"]
    """Family of the student: a T5, or a decoder."""
    label_only: Result
    """The student that saw labels only: plan `summarize`, as many optimizer steps as phase 1."""
    phase_1: Result
    """The same initial weights after reasoning acquisition."""
    phase_2: Result
    """After the last round of self-reflection."""
    recall_facts: float
    """Share of the phase-2 student's recalls that are true, on the test questions."""
    analyze_facts: float
    """Share of its analyses that are true."""
    seconds: float
    """Wall-clock seconds of all work, over all calls if it was interrupted."""

    def lines(self) -> Iterator[str]:
        """The table a newcomer reads."""
        yield f"{'student':<34}{'test accuracy':>14}   95% interval"
        for name, own in (
            ("labels only", self.label_only),
            ("phase 1: recall, analyze, summarize", self.phase_1),
            ("phase 2: self-reflection", self.phase_2),
        ):
            yield f"{name:<36}{100 * own.accuracy:>11.1f}%   {100 * own.low:.1f} to {100 * own.high:.1f}  (n = {own.n})"
        yield (
            f"facts right after phase 2: {100 * self.recall_facts:.0f}% of recalls, {100 * self.analyze_facts:.0f}% of "
            f"analyses; {self.seconds:.0f} s in all"
        )


def quickstart(
    out: Path, seed: int, *, student: Literal["seq2seq", "causal"] = "seq2seq", force: bool = False
) -> Summary:
    """Train the label-only student and the TinyThinker student from the same weights, test both alike, and report.

    Writes the TinyThinker run into `out`, the label-only run into `out/label-only`, `out/summary.json` and
    `out/report.html`. Can be stopped and called again.

    Raises:
        SettingsError: `out` holds something else, or a quickstart of another seed or family.
    """
    common = (f"seed={seed}", f"student.family={student}")
    thinker = api.start("storeroom", out, *common, force=force)
    labels = api.start(
        "storeroom", out / "label-only", *common, "stages.plan=summarize", "reflect.rounds=0", force=force
    )
    say("1/2: a student that sees labels only")
    label_scores = api.run_all(labels)
    say("2/2: the same student, taught to recall, analyze and summarize, then to reflect")
    scores = api.run_all(thinker)
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
    ranks.on_first(lambda: write_text(out / "summary.json", summary.model_dump_json(indent=2) + "\n"))
    return summary


def _result(own: Score) -> Result:
    return Result(accuracy=own.accuracy, low=own.low, high=own.high, n=own.n)
