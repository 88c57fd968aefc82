"""Little memory: a verb works, or ends in one line with a documented exit code.

The address space of a fresh process is limited (RLIMIT_AS) while the program starts, while it teaches and while it
trains. Below `ABORTS_BELOW` native code of a library (OpenBLAS) ends the process before any of our code can say why;
the table that is printed shows where.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign.forked import differing, result, whole_run, words

pytestmark = pytest.mark.slow

MEBIBYTES = (100, 200, 400, 600, 800, 1_000, 2_000, 4_000)
ABORTS_BELOW = 200
"""Mebibytes of address space."""


def limited(arguments: list[str], mebibytes: int) -> tuple[int, str]:
    """Run the program with a limit of its address space: its exit code, and what it wrote to stderr."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (mebibytes << 20,) * 2)

    done = subprocess.run(
        [sys.executable, "-m", "tinythinker", *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        preexec_fn=limit,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return done.returncode, done.stderr


def test_with_little_memory_a_verb_works_or_ends_in_one_line(tmp_path: Path) -> None:
    whole, taught = tmp_path / "whole", tmp_path / "taught"
    whole_run(whole, ["teach"])
    shutil.copytree(whole, taught)
    whole_run(whole, ["train"])
    wanted = result(whole)
    wrong = []
    print("MiB: settings, teach, train")
    for mebibytes in MEBIBYTES:
        row = []
        for verb in ("settings", "teach", "train"):
            run = tmp_path / "run"
            if verb == "train":
                shutil.copytree(taught, run)
            code, said = limited(["settings"] if verb == "settings" else words(verb, run), mebibytes)
            errors = [line for line in said.splitlines() if line.startswith("error: ")]
            is_sound = code == 0 or (code in (2, 3, 4, 5) and len(errors) == 1 and "Traceback" not in said)
            row.append(f"{code}{'' if is_sound else ' (not in one line)'}")
            if not is_sound and mebibytes >= ABORTS_BELOW:
                wrong.append(f"{mebibytes} MiB, {verb}: {code}, {said[-500:]}")
            if code == 0 and verb == "train":
                wrong += [f"{mebibytes} MiB: {name} differs" for name in differing(run, wanted)]
            shutil.rmtree(run, ignore_errors=True)
        print(f"{mebibytes}: {', '.join(row)}")
    assert wrong == []
