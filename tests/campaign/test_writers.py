"""Several processes that work on one run directory at once: one works, the others are refused in one line.

The line names the verb, process, machine and time of the one that works. The result is that of an undisturbed run.
`report` and `ask` go on meanwhile.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.campaign.forked import REFUSAL, VERBS, Ended, Process, differing, finish, result, whole_run, words

pytestmark = pytest.mark.slow

TIMES = 3
"""How often the whole is done for each number of processes."""


def at_once(arguments: list[list[str]], logs: Path) -> list[Process]:
    """Processes that begin to work in the same millisecond."""
    processes = [Process(one, logs.with_name(f"{logs.name}-{number}")) for number, one in enumerate(arguments)]
    for process in processes:
        process.go()
    return processes


def read_on(run: Path, logs: Path, writers: list[Process]) -> int:
    """Call `report` and `ask` in turn while a verb works; returns how often both worked."""
    times = 0
    asking = ["ask", str(run), "Where is it?", "-o", "up", "-o", "down"]
    while not writers[0].is_over_after(0) or not all(writer.is_over_after(0) for writer in writers):
        for number, arguments in enumerate((words("report", run), asking)):
            ended = finish(arguments, logs.with_name(f"{logs.name}-reader-{number}"))
            assert ended.code == 0, ended.err
        times += 1
    return times


def refusals(ended: list[Ended], logs: Path) -> list[str]:
    """The lines of those that were refused; all others must have worked."""
    lines = []
    for one in ended:
        if one.code:
            error = [line for line in one.err.splitlines() if line]
            assert one.code == 3, (logs, one.err)
            assert len(error) == 1, (logs, error)
            assert re.fullmatch(REFUSAL, error[0]), (logs, error)
            lines += error
    return lines


@pytest.mark.parametrize("count", [2, 4])
def test_of_several_processes_one_works_and_the_others_are_refused(count: int, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole_run(whole)
    wanted = result(whole)
    whole_run(tmp_path / "whole-run", ["run"])
    wanted_of_run = result(tmp_path / "whole-run")
    said: Counter[str] = Counter()
    reads = 0
    for time in range(TIMES):
        for verbs, goal in ((VERBS, wanted), (("run",), wanted_of_run)):
            run = tmp_path / "run"
            for verb in verbs:
                logs = tmp_path / f"{time}-{verb}"
                processes = at_once([words(verb, run)] * count, logs)
                if verb in ("reflect", "evaluate"):
                    reads += read_on(run, logs, processes)
                lines = refusals([process.wait() for process in processes], logs)
                # Those that come after a short verb has ended find its work done.
                least = count - 1 if verb in ("train", "reflect", "evaluate", "run") else 0
                assert least <= len(lines) < count, (logs, lines)
                assert verb != "report" or not lines
                said[f"{verb}: worked"] += count - len(lines)
                said[f"{verb}: refused, naming who works"] += sum("process" in line.split("(")[-1] for line in lines)
                said[f"{verb}: refused"] += len(lines)
            assert differing(run, goal) == []
            shutil.rmtree(run)
    for what, times in sorted(said.items()):
        print(f"{count} processes: {what}: {times}")
    print(f"{count} processes: report and ask, both worked: {reads} times")


def test_of_processes_with_different_settings_on_a_new_directory_the_one_that_works_leaves_its_own(
    tmp_path: Path,
) -> None:
    outcomes: Counter[str] = Counter()
    for time in range(20):
        run, logs = tmp_path / f"run-{time}", tmp_path / f"log-{time}"
        arguments = [words("teach", run, f"seed={seed}") for seed in range(4)]
        ended = [process.wait() for process in at_once(arguments, logs)]
        worked = [seed for seed, one in enumerate(ended) if one.code == 0]
        for one in ended:
            assert one.code in (0, 2, 3), one.err
            assert len([line for line in one.err.splitlines() if line.startswith("error: ")]) == bool(one.code), one.err
        assert len(worked) == 1, [one.err for one in ended]
        assert json.loads((run / "manifest.json").read_text())["settings"]["seed"] == worked[0]
        alone = tmp_path / f"alone-{time}"
        assert finish(words("teach", alone, f"seed={worked[0]}"), logs).code == 0
        assert differing(run, result(alone)) == []
        outcomes.update(f"exit code {one.code}" for one in ended)
    print(f"four seeds at once on a new directory, 20 times: {dict(outcomes)}")
