from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.conftest import TINY
from tinythinker import api
from tinythinker.core.files import write_record
from tinythinker.core.run import RunDirectory, Worker, note_of
from tinythinker.report.standing import Underway, curve, in_time, watch

FIXTURE = Path(__file__).parents[1] / "fixtures" / "version-0.1" / "storeroom"
STEP = '{{"step": {0}, "stage": "{1}", "loss": {2}, "seconds": 0.5, "total_steps": 400}}\n'


@pytest.fixture
def training(tmp_path: Path) -> RunDirectory:
    """A run whose phase 1 is under way, in this process."""
    run = api.start("storeroom", tmp_path / "mine", *TINY)
    api.teach(run)
    run.phase_1.root.mkdir()
    lines = [STEP.format(1, "recall", 4.0), STEP.format(2, "analyze", 2.0), STEP.format(3, "recall", 1.0)]
    run.phase_1.metrics.write_text("".join(lines) + '{"step": 3, "valid_accuracy": 0.25}\n{"step": 4, "st')
    worker = Worker(verb="train", pid=os.getpid(), host=socket.gethostname(), since="2026-11-25 23:10:05")
    write_record(note_of(run.lock), worker)
    return run


def test_a_training_under_way_shows_its_step_losses_validation_and_time_left(training: RunDirectory) -> None:
    lines = list(next(watch(training)).lines())
    assert lines[0].startswith("mine (storeroom): at work: `train`, process")
    assert lines[1].startswith("teach done")
    # 397 steps of half a second
    assert "phase 1: step 3 of 400, 0.50 s per step, about 3 min left" in lines
    assert "  recall loss        1.000  █▁" in lines
    assert "  analyze loss       2.000  ▁" in lines
    assert "  validation         25.0%  ▁  best 25.0% at step 3" in lines


def test_every_look_reads_on_and_steps_that_are_done_again_count_once(training: RunDirectory) -> None:
    seen = watch(training, every=0)
    next(seen)
    with training.phase_1.metrics.open("a") as file:
        file.write('age": "recall", "loss": 0.5, "seconds": 0.5, "total_steps": 400}\n')
    underway = next(seen).training
    assert underway is not None
    assert [line.step for line in underway.steps] == [1, 2, 3, 4]
    whole = training.phase_1.metrics.read_text().splitlines(keepends=True)
    replacement = training.phase_1.metrics.with_suffix(".new")
    replacement.write_text("".join(whole[:2]) + STEP.format(3, "recall", 1.0))
    replacement.replace(training.phase_1.metrics)  # as a resumed training does
    again = next(seen).training
    assert again is not None
    assert [line.step for line in again.steps] == [1, 2, 3, 4]


def test_sampling_and_answering_are_shown_while_they_last(training: RunDirectory) -> None:
    training.phase_1.student.mkdir()
    training.round(1).root.mkdir()
    training.round(1).chains.write_text("{}\n{}\n{}\n")
    assert next(watch(training)).now == "round 1: 3 chains sampled"


def test_watching_ends_with_the_run_and_shows_its_results(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "done")
    shutil.copytree(FIXTURE, run.root)
    (seen,) = list(watch(run))
    assert seen.is_over
    assert "nobody is at work in it" in next(seen.lines())
    assert any(line.startswith("phase 1: 75.0% (") for line in seen.lines())


def test_a_killed_worker_is_nobody(training: RunDirectory) -> None:
    gone = Worker(verb="train", pid=2**22 + 1, host=socket.gethostname(), since="2026-11-25 23:10:05")
    write_record(note_of(training.lock), gone)
    assert next(watch(training)).worker is None
    write_record(note_of(training.lock), gone.model_copy(update={"host": "elsewhere"}))
    assert next(watch(training)).worker is not None  # nothing is known of another machine


def test_the_page_loads_itself_again_while_it_is_watched(training: RunDirectory) -> None:
    seen = api.watch(training, every=0, page=True)
    next(seen)
    assert '<meta http-equiv="refresh" content="15">' in training.report.read_text(encoding="utf-8")
    seen.close()  # type: ignore[attr-defined]
    assert 'http-equiv="refresh"' not in training.report.read_text(encoding="utf-8")


def test_without_steps_nothing_is_claimed() -> None:
    empty = Underway("phase-1", [], [])
    assert list(empty.lines()) == ["phase 1: not one step yet"]
    assert empty.seconds_left is None


@pytest.mark.parametrize(("seconds", "said"), [(59.4, "59 s"), (60, "1 min"), (3599, "59 min"), (7260, "2 h 1 min")])
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    assert in_time(seconds) == said


def test_a_curve_has_at_most_forty_blocks_of_means() -> None:
    assert curve([1.0]) == "▁"
    assert curve([0.0] * 40 + [1.0] * 40) == "▁" * 20 + "█" * 20
    assert curve([0.0, 1.0] * 40) == "▁" * 40
