"""A run that is killed at any moment and started again ends like an uninterrupted one."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.conftest import TINY
from tinythinker.core.seeds import stream

KILLS = 10
IMPORTED = ("acquire.phase_1", "reflect.rounds", "evaluate.verdicts", "report.page", "teacher.teach", "api")
"""What the verbs of a run import between them."""


def verdicts(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in sorted((folder / "verdicts").glob("*.jsonl"))}


def work(folder: Path) -> None:
    """All verbs of a tiny run, for a separate process."""
    from tinythinker import api

    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    api.run(api.start("storeroom", folder, *TINY))


def start(folder: Path) -> ForkServerProcess:
    """Start the run in a process forked from a server with all imports done, so that kills hit the work."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"tinythinker.{name}" for name in IMPORTED])
    process = context.Process(target=work, args=(folder,))
    process.start()
    return process


def test_a_run_killed_at_random_moments_ends_with_the_verdicts_of_an_uninterrupted_run(tmp_path: Path) -> None:
    start(tmp_path / "warm").join()  # the first run waits for the server's imports
    began = time.monotonic()
    whole = start(tmp_path / "whole")
    whole.join()
    seconds = time.monotonic() - began
    assert whole.exitcode == 0
    undisturbed = verdicts(tmp_path / "whole")
    assert len(undisturbed) == 3

    rng = stream(int(time.time()), "kills")  # different moments each time; a failure prints them
    torn, moments, killed = tmp_path / "torn", [], 0
    while killed < KILLS:
        moments.append(float(rng.uniform(0, seconds / 2)))
        process = start(torn)
        process.join(timeout=moments[-1])
        if process.is_alive():
            process.kill()
            process.join()
            killed += 1
        else:
            assert process.exitcode == 0, moments
            shutil.rmtree(torn)  # finished before all kills: begin again
    last = start(torn)
    last.join()
    assert last.exitcode == 0, moments
    assert verdicts(torn) == undisturbed, moments
    assert (torn / "report.html").exists()
    assert not list(torn.rglob("*.tmp"))
