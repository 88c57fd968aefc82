"""Ctrl-C and SIGTERM at random moments of every verb: a documented end, no traceback, nothing lost.

Ctrl-C ends a verb with exit code 130 and one line. SIGTERM ends it at once, as 143 in a shell. The same command called
again completes the run, which equals the undisturbed one.
"""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.campaign.forked import VERBS, Process, differing, finish, result, whole_run, words
from tinythinker.core.seeds import stream

pytestmark = pytest.mark.slow

SIGNALS = 20
"""Of each kind."""
LINES = {"interrupted: finished work is kept; run the same command again to continue", "interrupted"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_at_any_moment_is_a_documented_end_and_loses_nothing(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    seconds = whole_run(whole)
    wanted = result(whole)
    seconds["run"] = whole_run(tmp_path / "whole-run", ["run"])["run"]
    wanted_of_run = result(tmp_path / "whole-run")
    draw = stream(0, "signals", number.name)
    sent: Counter[str] = Counter()
    runs, late = 0, 0
    while sent.total() < SIGNALS:
        runs += 1
        torn = tmp_path / f"torn-{runs}"
        verbs, goal = (("run",), wanted_of_run) if runs % 3 == 0 else (VERBS, wanted)
        for verb in verbs:
            log = tmp_path / f"torn-{runs}-{verb}"
            process = Process(words(verb, torn), log).go()
            is_over = process.is_over_after(float(draw.uniform()) * seconds[verb])
            if not is_over and sent.total() < SIGNALS:
                process.send(number)
            ended = process.wait()
            assert "Traceback" not in ended.err, ended.err
            if ended.code == 0:  # it had ended, or was about to
                late += 1
                continue
            assert ended.code == code, ended.err
            sent[verb] += 1
            last = ended.err.splitlines()[-1:]
            assert code < 0 or last[0] in LINES, ended.err
            again = finish(words(verb, torn), log)
            assert again.code == 0, again.err
        assert differing(torn, goal) == []
        shutil.rmtree(torn)
    print(f"{number.name}: {dict(sent)}; {late} verbs ended first; {runs} runs compared")
