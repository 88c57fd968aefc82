from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from accelerate import tracking

from tests.conftest import TINY
from tinythinker import api
from tinythinker.core.errors import SettingsError
from tinythinker.core.run import RunDirectory
from tinythinker.report.trackers import refuse_missing_trackers, tracked

STEPS = [
    '{"step": 1, "stage": "recall", "loss": 2.0, "margin": 0.5, "total_steps": 4}',
    '{"step": 2, "stage": "analyze", "loss": 1.0, "total_steps": 4}',
    '{"step": 2, "valid_accuracy": 0.5}',
]
COUNTS = {
    **{"questions": 6, "questions_with_pairs": 3, "samples": 18, "repeated": 2, "unreadable": 0, "recall_pairs": 4},
    **{
        "analyze_pairs": 1,
        "summarize_pairs": 0,
        "from_teacher": 0,
        "replayed": 0,
        "chosen_tokens": 5.5,
        "rejected_tokens": 6.0,
    },
}


class Recorder(tracking.GeneralTracker):  # type: ignore[misc]
    """A tracker that remembers what it is told; it stands for a service."""

    name = "wandb"
    requires_logging_directory = False
    made: list[Recorder]

    def __init__(self, project: str, **arguments: str) -> None:
        super().__init__()
        self.project, self.arguments = project, arguments
        self.logged: list[tuple[int, Mapping[str, float]]] = []
        self.settings: Mapping[str, str] = {}
        self.is_finished = False
        Recorder.made.append(self)

    def start(self) -> None:
        pass

    @property
    def tracker(self) -> None:
        return None

    def store_init_configuration(self, values: Mapping[str, str]) -> None:
        self.settings = values

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.is_finished = True


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A run with a training under way and the counts of a round; `wandb` is a `Recorder`."""
    Recorder.made = []
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "wandb", Recorder)
    run = api.start("storeroom", tmp_path / "mine", *TINY)
    run.phase_1.root.mkdir()
    run.phase_1.metrics.write_text("\n".join(STEPS) + "\n" + '{"step": 3, "sta')
    run.round(1).root.mkdir()
    run.round(1).counts.write_text(json.dumps(COUNTS))
    return run


def test_a_tracker_gets_steps_validations_and_pairs_and_the_settings(run: RunDirectory) -> None:
    with tracked(run, ["wandb"]):
        pass
    first, second = Recorder.made
    assert (first.project, first.arguments["name"], second.arguments["name"]) == ("mine", "phase-1", "round-1")
    assert first.logged == [
        (1, {"loss": 2.0, "loss/recall": 2.0, "margin": 0.5, "prompt_tokens": 0, "target_tokens": 0}),
        (2, {"loss": 1.0, "loss/analyze": 1.0, "prompt_tokens": 0, "target_tokens": 0}),
        (2, {"valid_accuracy": 0.5}),
    ]
    assert second.logged == [(0, {f"pairs/{name}": value for name, value in COUNTS.items()})]
    assert first.settings["storeroom.things"] == "6"
    assert first.is_finished


def test_after_a_kill_each_figure_has_still_been_sent_once(run: RunDirectory) -> None:
    with tracked(run, ["wandb"]):
        pass
    # Resumed from an earlier checkpoint: step 2 is done again, then a third one.
    again = [STEPS[1], STEPS[2], '{"step": 3, "stage": "recall", "loss": 0.5}']
    run.phase_1.metrics.write_text("".join(f"{line}\n" for line in [STEPS[0], *again]))
    with tracked(run, ["wandb"]):
        pass
    last = Recorder.made[2]
    assert [step for step, _ in last.logged] == [3]
    assert last.arguments["id"] == Recorder.made[0].arguments["id"] != Recorder.made[1].arguments["id"]
    assert len(Recorder.made) == 3


def test_a_training_that_starts_over_is_sent_again_to_a_run_of_its_own(run: RunDirectory) -> None:
    with tracked(run, ["wandb"]):
        pass
    for path in run.made_by("train"):
        shutil.rmtree(path)
    run.phase_1.root.mkdir()
    run.phase_1.metrics.write_text("\n".join(STEPS) + "\n")
    with tracked(run, ["wandb"]):
        pass
    first, again = Recorder.made[0], Recorder.made[-1]
    assert first.logged == again.logged
    assert first.arguments["name"] == again.arguments["name"]
    assert first.arguments["id"] != again.arguments["id"]


def test_a_tracker_that_fails_stops_nothing(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(Recorder, "log", refuse)
    done = []
    with tracked(run, ["wandb"]):
        done.append(1)
    assert done == [1]
    assert capsys.readouterr().err == "trackers: wandb failed (no route to host); the run goes on without it\n"


def test_a_tracker_talks_aside_and_a_second_one_goes_on(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Talker(Recorder):
        name = "trackio"

        def start(self) -> None:
            print("welcome")

    class Broken(Recorder):
        name = "mlflow"

        def start(self) -> None:
            raise ConnectionError("no route to host")

    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "trackio", Talker)
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "mlflow", Broken)
    with tracked(run, ["mlflow", "trackio", "wandb"]):
        pass
    print("result")
    out, err = capsys.readouterr()
    assert out == "result\n"
    assert sorted(err.splitlines()) == [
        "trackers: mlflow failed (no route to host); the run goes on without it",
        "welcome",
        "welcome",
    ]
    logged = [one for one in Recorder.made if one.logged]
    assert sorted(type(one).__name__ for one in logged) == ["Recorder", "Recorder", "Talker", "Talker"]


def test_without_trackers_nothing_is_written(run: RunDirectory) -> None:
    with tracked(run, []):
        pass
    assert not run.trackers.exists()


def test_a_library_that_is_missing_is_one_line_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinythinker.report.trackers.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"setting trackers: found 'mlflow', expected .*`pip install mlflow`"):
        refuse_missing_trackers(["mlflow"])


def test_tensorboard_reads_back_what_both_phases_wrote(tmp_path: Path) -> None:
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = api.start("storeroom", tmp_path / "run", *TINY, "reflect.rounds=1", "trackers=[tensorboard]")
    api.teach(run)
    api.train(run)
    api.reflect(run)

    def read(training: str, tag: str) -> list[tuple[int, float]]:
        events = loading.EventAccumulator(str(run.trackers / training))
        events.Reload()
        return [(one.step, one.value) for one in events.Scalars(tag)]

    lines = [json.loads(line) for line in run.phase_1.metrics.read_text().splitlines()]
    for tag in ("loss", "learning_rate", "valid_accuracy"):
        written = {line["step"]: line[tag] for line in lines if tag in line}
        assert dict(read("phase-1", tag)) == pytest.approx(written)
    counts = json.loads(run.round(1).counts.read_text())
    assert read("round-1", "pairs/recall_pairs") == [(0, counts["recall_pairs"])]
    assert [step for step, _ in read("round-1", "margin")] == [1, 2, 3, 4]


def test_a_run_that_has_begun_may_change_its_trackers(tmp_path: Path) -> None:
    run = api.start("storeroom", tmp_path / "run", *TINY)
    api.teach(run)
    again = api.start("storeroom", tmp_path / "run", *TINY, "trackers=[tensorboard]")
    assert again.manifest().settings["trackers"] == ["tensorboard"]
