from __future__ import annotations

import pytest

from tinythinker.core.progress import Progress, say_once


def test_outside_a_terminal_a_line_now_and_then_says_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [100.0]
    monkeypatch.setattr("tinythinker.core.progress.time.monotonic", lambda: clock[0])
    with Progress("predict", 8, done=2) as shown:
        for seconds in (10.0, 10.0, 10.0):
            clock[0] += seconds
            shown.advance(2)
    # After 20 seconds 4 of the 6 that were left are done: 0.2 per second, so 10 seconds for the last 2.
    assert capsys.readouterr().err == "predict: 6/8  0.2/s, 0:00:10 left\npredict: 8/8\n"


def test_what_every_cell_of_a_study_would_repeat_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("one preset", "another preset", "one preset"):
        say_once(word)
    assert capsys.readouterr().err == "one preset\nanother preset\n"
