"""A disk that is full at a random moment: one line, exit code 3, and once there is space, the undisturbed result.

The disk is a small file system in memory, filled up to a random rest before a verb begins. Where such a one cannot be
mounted, the test is skipped. No file that `report` or another verb would take for a result is half-written.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign.forked import VERBS, Ended, differing, finish, result, whole_run, words
from tinythinker.core.seeds import stream

pytestmark = pytest.mark.slow

OFFSETS = 30
DISK_BYTES = 96 * 2**20
NEEDED_BYTES = {
    "teach": 60_000,
    "train": 20_000_000,
    "reflect": 28_000_000,
    "evaluate": 25_000,
    "probe": 20_000,
    "report": 160_000,
    "run": 16_000_000,
}
"""About what a verb writes at most at once."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own; skips the test where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, rest: int) -> Path:
    """Fill a disk up to a rest of so many bytes; returns the file that fills it."""
    file = disk / "filler"
    status = os.statvfs(disk)
    with file.open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, max(1, status.f_bavail * status.f_frsize - rest))
    return file


def check_refusal(ended: Ended) -> str:
    """The line in which a verb reported the full disk."""
    lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in ended.err, ended.err
    assert ended.code == 3, ended.err
    assert len(lines) == 1, ended.err
    assert re.search("[Nn]o space left|is the disk full", lines[0]), lines
    return lines[0]


def test_a_verb_on_a_full_disk_ends_in_one_line_and_loses_nothing(disk: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole_run(whole)
    wanted = result(whole)
    whole_run(tmp_path / "whole-run", ["run"])
    wanted_of_run = result(tmp_path / "whole-run")
    draw = stream(0, "full disk")
    full: Counter[str] = Counter()
    where: Counter[str] = Counter()
    enough, runs = 0, 0
    while full.total() < OFFSETS:
        runs += 1
        torn = disk / "torn"
        verbs, goal = (("run",), wanted_of_run) if runs % 4 == 0 else (VERBS, wanted)
        for verb in verbs:
            log = tmp_path / f"{runs}-{verb}"
            filler = fill(disk, int(draw.uniform() * NEEDED_BYTES[verb]))
            ended = finish(words(verb, torn), log)
            if ended.code == 0:
                enough += 1
                filler.unlink()
                continue
            line = check_refusal(ended)
            where[line.split("torn/")[-1].split(":")[0]] += 1
            full[verb] += 1
            shown = finish(words("report", torn), log)  # with what is there so far, or refused for want of space
            assert shown.code == 0 or "manifest.json" in shown.err or "space" in shown.err, shown.err
            filler.unlink()
            again = finish(words(verb, torn), log)
            assert again.code == 0, again.err
            if verb != "report" and goal is wanted:
                (torn / "report.html").unlink(missing_ok=True)
        assert differing(torn, goal) == []
        shutil.rmtree(torn)
    print(f"full: {dict(full)}; {enough} verbs had space enough; {runs} runs compared")
    print(f"files that found no space: {dict(where)}")
