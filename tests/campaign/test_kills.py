"""A run killed a hundred times, at any moment of any verb, ends like an undisturbed one.

After each SIGKILL the same command is called again. At the end every file is compared with the undisturbed run's:
weights byte by byte, and questions, rationales, chains, pairs, metrics, verdicts and probes, without measured times. No
temporary file, checkpoint or other remains may be left.
"""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign.forked import VERBS, Process, differing, finish, result, weights_of, whole_run, words
from tinythinker.core.seeds import stream

pytestmark = pytest.mark.slow

KILLS = {"teach": 12, "train": 18, "reflect": 20, "evaluate": 16, "probe": 8, "report": 8, "run": 18}
"""How often each verb is killed."""


def moments(verb: str, count: int, seconds: float) -> Iterator[float]:
    """Moments within a verb's duration: one at random in each of `count` equal parts, in random order; without end."""
    draw = stream(0, "kills", verb)
    while True:
        for part in draw.permutation(count):
            yield (int(part) + float(draw.uniform())) / count * seconds


def test_a_run_killed_a_hundred_times_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    seconds = whole_run(whole)
    wanted = result(whole)
    assert len(set(weights_of(whole))) == 3, "every round must change the weights"
    seconds["run"] = whole_run(tmp_path / "whole-run", ["run"])["run"]
    wanted_of_run = result(tmp_path / "whole-run")

    left, runs = Counter(KILLS), 0
    late: Counter[str] = Counter()
    hit: dict[str, list[float]] = {verb: [] for verb in KILLS}
    draws = {verb: moments(verb, count, seconds[verb]) for verb, count in KILLS.items()}
    while left.total():
        runs += 1
        torn = tmp_path / f"torn-{runs}"
        by_run = runs % 2 == 0 and left["run"] > 0
        for verb in ["run"] if by_run else VERBS:
            arguments, log = words(verb, torn), tmp_path / f"torn-{runs}-{verb}"
            while left[verb]:
                moment = next(draws[verb])
                process = Process(arguments, log).go()
                if process.is_over_after(moment):
                    ended = process.wait()
                    assert ended.code == 0, ended.err
                    late[verb] += 1
                    break
                process.send(signal.SIGKILL)
                code = process.wait().code
                if code == 0:  # it ended while the signal was on its way
                    late[verb] += 1
                    break
                assert code == -signal.SIGKILL
                left[verb] -= 1
                hit[verb].append(moment)
            else:
                ended = finish(arguments, log)
                assert ended.code == 0, ended.err
        assert differing(torn, wanted_of_run if by_run else wanted) == []
        shutil.rmtree(torn)
    for verb, when in hit.items():
        share = [moment / seconds[verb] for moment in when]
        quarters = [sum(part / 4 <= one < (part + 1) / 4 for one in share) for part in range(4)]
        print(
            f"{verb}: {seconds[verb]:.2f} s undisturbed; {len(when)} kills, by quarter of that time {quarters}; "
            f"{late[verb]} came too late"
        )
    print(f"{sum(map(len, hit.values()))} kills, {runs} runs compared")
    assert sum(map(len, hit.values())) == sum(KILLS.values()) == 100
