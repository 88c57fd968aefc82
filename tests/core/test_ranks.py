from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tinythinker.core import ranks
from tinythinker.core.errors import DataError, SettingsError
from tinythinker.core.files import read_records
from tinythinker.core.records import Verdict

SETTINGS = (
    "storeroom.train=60 storeroom.valid=21 storeroom.test=301 train.max_steps=12 train.validate_every=3 "
    "reflect.rounds=1 reflect.questions=21 reflect.max_steps=3 reflect.validate_every=2 evaluate.votes=2 "
    "train.bf16=never reflect.bf16=never generate.bf16=never"
).split()
"""Odd numbers, so that shares differ in size; the last batch of some stages is smaller than the others. Enough
test questions for several chunks of answers. No bfloat16, because rounding differences could change texts."""


def test_one_process_alone_does_everything_itself() -> None:
    assert (ranks.count(), ranks.number(), ranks.is_first()) == (1, 0, True)
    assert ranks.share([1, 2, 3]) == [1, 2, 3]
    assert ranks.shares([1, 2, 3]) == [[1, 2, 3]]
    assert ranks.gather([1, 2, 3], 3) == [1, 2, 3]
    assert ranks.on_first(lambda: 5) == 5


def test_several_processes_divide_all_work_without_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert ranks.shares(range(7)) == [range(0, 7, 3), range(1, 7, 3), range(2, 7, 3)]
    monkeypatch.setenv("RANK", "1")
    assert list(ranks.share(range(7))) == [1, 4]
    assert not ranks.is_first()
    monkeypatch.setattr(ranks, "_everyones", lambda own: [[0, 30, 60], own, [20, 50]])
    assert ranks.gather([10, 40], 7) == [0, 10, 20, 30, 40, 50, 60]


def test_blocks_of_neighbours_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert list(ranks.share(range(8), block=3)) == [0, 1, 2, 6, 7]
    monkeypatch.setenv("RANK", "1")
    assert list(ranks.share(range(8), block=3)) == [3, 4, 5]
    monkeypatch.setattr(ranks, "_everyones", lambda own: [[0, 10, 20, 60, 70], own])
    assert ranks.gather([30, 40, 50], 8, block=3) == [0, 10, 20, 30, 40, 50, 60, 70]


def test_a_process_that_works_alone_passes_no_rank_variables_to_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.setenv(name, "2" if name.endswith("SIZE") else "0")
    ranks.go_alone()
    assert ranks.count() == 1
    ask = "from tinythinker.core import ranks; print(ranks.count())"
    assert subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True).stdout == "1\n"


def test_more_processes_than_gpus_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SettingsError, match="found 2, expected at most 1, one per GPU"):
        ranks.join()


def test_an_error_in_the_first_process_stops_all_and_is_printed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(ranks, "_everyones", lambda own: [(None, DataError("no such file")), own])
    with pytest.raises(DataError, match="no such file") as caught:
        ranks.on_first(lambda: 5)
    assert caught.value.is_told


def test_going_alone_as_the_only_process_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks.go_alone()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert ranks.count() == 2


def command(out: Path, processes: int, *more: str) -> list[str]:
    return together(processes, "run", "storeroom", *SETTINGS, *more, "--out", str(out))


def together(processes: int, *words: str) -> list[str]:
    launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}"] if processes > 1 else []
    return [sys.executable, *launcher, "-m", "tinythinker", *words]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_PORT": "29571"}


def losses(run: Path, training: str) -> list[float]:
    lines = [json.loads(line) for line in (run / training / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def answers(run: Path) -> dict[str, list[tuple[str, str | None]]]:
    files = sorted((run / "verdicts").glob("*.jsonl"))
    assert len(files) == 2
    return {file.name: [(v.question_id, v.answer) for v in read_records(file, Verdict)] for file in files}


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("train.shard=true", "reflect.shard=true")], ids=["replicas", "shards"])
def test_two_processes_do_the_work_of_one_and_a_killed_job_resumes_when_run_again(
    tmp_path: Path, more: tuple[str, ...]
) -> None:
    for name, processes in (("one", 1), ("two", 2)):
        words = command(tmp_path / name, processes, *more)
        done = subprocess.run(words, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("report.html") == 1
    for training in ("phase-1", "round-1"):
        assert losses(tmp_path / "two", training) == pytest.approx(losses(tmp_path / "one", training), abs=1e-4)
    assert answers(tmp_path / "two") == answers(tmp_path / "one")
    assert (tmp_path / "one/round-1/pairs.jsonl").read_text() == (tmp_path / "two/round-1/pairs.jsonl").read_text()

    torn = tmp_path / "torn"
    job = subprocess.Popen(command(torn, 2, *more), env=environment(), stderr=subprocess.PIPE, text=True)
    while not list(torn.glob("phase-1/checkpoint-*")):
        assert job.poll() is None
        time.sleep(0.02)
    children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    _, said = job.communicate(timeout=120)
    assert job.returncode != 0
    assert "SIGKILL" in said
    again = subprocess.run(command(torn, 2, *more), env=environment(), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert losses(torn, "phase-1") == losses(tmp_path / "two", "phase-1")
    assert answers(torn) == answers(tmp_path / "two")


@pytest.mark.slow
def test_answers_in_bfloat16_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    one = tmp_path / "one"
    settings = (*SETTINGS, "reflect.rounds=0", "generate.bf16=always")
    subprocess.run(together(1, "run", "storeroom", *settings, "--out", str(one)), env=environment(), check=True)
    verdicts = one / "verdicts" / "phase-1.test.vote-2-at-0.7.jsonl"
    alone = verdicts.read_bytes()
    verdicts.unlink()
    subprocess.run(together(2, "evaluate", str(one), "evaluate.votes=2"), env=environment(), check=True)
    assert verdicts.read_bytes() == alone
