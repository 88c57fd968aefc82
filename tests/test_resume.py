"""Killed at any moment and started again, a run ends as an undisturbed one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import TINY
from tinythinker.core.seeds import stream

KILLS = 12


def verdicts(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in sorted((folder / "verdicts").glob("*.jsonl"))}


def start(folder: Path) -> subprocess.Popen[bytes]:
    """A process that imports first and then waits for a line, so that kills hit the work and not the imports."""
    code = (
        "import sys; from tinythinker import api; print('ready', flush=True); sys.stdin.readline();"
        f"api.run_all(api.start('storeroom', {str(folder)!r}, *{TINY!r}))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    assert process.stdin is not None
    process.stdin.write(b"go\n")
    process.stdin.flush()
    return process


@pytest.fixture
def spare(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path


def test_a_run_killed_at_random_moments_ends_with_the_verdicts_of_an_undisturbed_run(spare: Path) -> None:
    began = time.monotonic()
    assert start(spare / "whole").wait(timeout=120) == 0
    whole_seconds = time.monotonic() - began
    undisturbed = verdicts(spare / "whole")
    assert len(undisturbed) == 3

    rng = stream(int(time.time()), "kills")  # other moments each time; a failure prints them
    torn, moments, killed = spare / "torn", [], 0
    while killed < KILLS:
        process = start(torn)
        moments.append(float(rng.uniform(0, whole_seconds / 3)))
        try:
            process.wait(timeout=moments[-1])
            (torn / "report.html").unlink()  # done already: begin anew with what a kill could have left least of
            for file in (torn / "verdicts").glob("*.jsonl"):
                file.write_text(file.read_text()[:-40])
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
    assert start(torn).wait(timeout=120) == 0, moments
    assert verdicts(torn) == undisturbed, moments
    assert (torn / "report.html").exists()
    assert not list(torn.rglob("*.tmp"))
