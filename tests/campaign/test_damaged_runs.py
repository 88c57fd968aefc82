"""Two hundred damaged run directories: every verb refuses the damage in one line, or gives the undamaged run's result.

A file of a finished run is cut, emptied, deleted or altered; then `report`, `evaluate`, `train`, `reflect` and `run`
are each called on a copy of their own. A verb that does not need the damaged file may leave it alone; no verb may show
or write a wrong result in silence.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from numpy.random import Generator
from typer.testing import CliRunner

from tests.campaign.forked import SETTINGS, differing, result, words
from tinythinker import api
from tinythinker.cli.main import build
from tinythinker.core.run import RunDirectory
from tinythinker.core.seeds import stream

pytestmark = pytest.mark.slow

DAMAGED = 200
VERBS = ("report", "evaluate", "train", "reflect", "run")
KINDS = ("cut", "empty", "delete", "bit", "digit", "swap", "twice")
FILES = (
    *("questions/train.jsonl", "questions/valid.jsonl", "questions/test.jsonl"),
    *("teacher/rationales.jsonl", "teacher/quality.json", "teacher/usage.json"),
    *("round-1/pairs.jsonl", "round-2/pairs.jsonl", "round-1/counts.json", "round-2/counts.json"),
    *("round-1/reference.jsonl", "round-1/chains.jsonl", "round-2/analyze-chains.jsonl"),
    *("phase-1/metrics.jsonl", "round-1/metrics.jsonl", "phase-1/data.json"),
    *("phase-1/student/model.safetensors", "round-1/student/model.safetensors", "round-2/student/model.safetensors"),
    *("phase-1/student/config.json", "phase-1/student/tokenizer.json", "round-2/student/tinythinker.json"),
    *("verdicts/phase-1.test.greedy.jsonl", "verdicts/round-2.test.greedy.jsonl", "probes/round-2.test.json"),
    *("manifest.json",) * 3,
)


def damage(file: Path, kind: str, draw: Generator) -> None:
    """Damage a file in a way that changes it; one that cannot be damaged in this way is cut."""
    content = file.read_bytes()
    at = int(draw.integers(0, len(content)))
    lines = content.splitlines(keepends=True)
    digits = [i.start() for i in re.finditer(rb"\d", content)] if len(content) < 1_000_000 else []
    if kind == "delete":
        file.unlink()
        return
    changed = content[:at]
    if kind == "empty":
        changed = b""
    elif kind == "bit":
        changed = content[:at] + bytes([content[at] ^ 1 << int(draw.integers(0, 8))]) + content[at + 1 :]
    elif kind == "digit" and digits:
        i = digits[int(draw.integers(0, len(digits)))]
        other = (content[i] - ord("0") + int(draw.integers(1, 10))) % 10
        changed = content[:i] + str(other).encode() + content[i + 1 :]
    elif kind == "swap" and len(set(lines)) > 1:
        while lines[(one := int(draw.integers(0, len(lines))))] == lines[(two := int(draw.integers(0, len(lines))))]:
            pass
        lines[one], lines[two] = lines[two], lines[one]
        changed = b"".join(lines)
    elif kind == "twice" and len(lines) > 1:
        one = int(draw.integers(0, len(lines)))
        changed = b"".join([*lines[: one + 1], *lines[one:]])
    assert changed != content
    file.write_bytes(changed)


class Said(NamedTuple):
    """What a verb on a run came to."""

    code: int
    out: str
    errors: tuple[str, ...]
    """Its lines of error."""
    shown: str
    """The accuracies that it printed, and for `report` the page, without times."""
    is_partial: bool
    """Did `report` say that `evaluate` is unfinished, and show no accuracy for it?"""


def call(verb: str, run: Path) -> Said:
    """Call a verb in this process. Raises whatever the command line does not turn into a line."""
    (run / "report.html").unlink(missing_ok=True)
    done = CliRunner().invoke(build(), words(verb, run))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    lines = done.stderr.splitlines()
    shown = [line for line in lines if "accuracy" in line]
    is_partial = any("report: " in line and "evaluate is unfinished" in line for line in lines)
    if verb == "report" and done.exit_code == 0:
        shown.append(re.sub(r"\d+(\.\d+)? ?s\b", "", (run / "report.html").read_text()))
    else:
        (run / "report.html").touch()
    return Said(
        done.exit_code, done.stdout, tuple(line for line in lines if "error" in line), "\n".join(shown), is_partial
    )


def fault_of(said: Said, undamaged: Said, others: list[str]) -> str | None:
    """What is wrong with the way in which a damaged run was received; None if nothing is.

    Args:
        others: files besides the damaged one that are not those of the undamaged run.
    """
    if said.code:
        is_sound = said.code in (2, 3, 4, 5) and len(said.errors) == 1 and len(said.errors[0]) < 2_000
        return None if is_sound else f"exit code {said.code}, {said.errors}"
    if others:
        return f"exit code 0, and other files: {others}"
    if said.is_partial:
        return None
    return None if said == undamaged else f"exit code 0, and another result: {first_difference(said, undamaged)}"


def outcome_of(said: Said) -> str:
    """How a damaged run was received, in a few words."""
    if said.code:
        return f"refused with exit code {said.code}"
    return "says that `evaluate` is unfinished" if said.is_partial else "the same result"


def first_difference(said: Said, undamaged: Said) -> str:
    """Where what is shown begins to differ."""
    at = next((i for i, pair in enumerate(zip(said.shown, undamaged.shown, strict=False)) if len(set(pair)) > 1), 0)
    start = max(0, at - 60)
    return f"{said.shown[start : at + 40]!r} for {undamaged.shown[start : at + 40]!r}"


def test_a_damaged_run_is_refused_in_one_line_or_gives_the_result_of_the_undamaged_one(tmp_path: Path) -> None:
    whole, run, damaged = tmp_path / "whole", tmp_path / "run", tmp_path / "damaged"
    api.run(api.start("storeroom", run, *SETTINGS))
    api.probe(run)
    api.report(RunDirectory(run))
    shutil.copytree(run, whole)
    wanted = result(whole)
    undamaged = {}
    for verb in VERBS:
        shutil.rmtree(run)
        shutil.copytree(whole, run)
        undamaged[verb] = call(verb, run)
        assert undamaged[verb].code == 0
    counts: Counter[tuple[str, str]] = Counter()
    wrong = []
    for number in range(DAMAGED):
        draw = stream(0, "damage", str(number))
        name, kind = FILES[number % len(FILES)], KINDS[int(draw.integers(0, len(KINDS)))]
        shutil.copytree(whole, damaged)
        damage(damaged / name, kind, draw)
        for verb in VERBS:
            shutil.rmtree(run)
            shutil.copytree(damaged, run)
            said = call(verb, run)
            others = [] if said.code else sorted({*differing(run, wanted)} - {name, "report.html"})
            if (fault := fault_of(said, undamaged[verb], others)) is not None:
                wrong.append(f"{number}: {name}, {kind}: {verb}: {fault}")
                print(wrong[-1], flush=True)
            counts[verb, outcome_of(said)] += 1
        shutil.rmtree(damaged)
    for (verb, outcome), times in sorted(counts.items()):
        print(f"{verb}: {outcome}: {times}")
    assert wrong == []
