from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests.conftest import tiny_settings
from tinythinker import api
from tinythinker.config import ReflectSettings
from tinythinker.core.errors import SettingsError
from tinythinker.core.jsonl import read_records
from tinythinker.core.records import Chain, PreferencePair, Question, Stage
from tinythinker.core.run import RunDirectory
from tinythinker.reflect.reference import PairReference, score_reference
from tinythinker.reflect.sample import draw_questions
from tinythinker.student.student import Student, load_student
from tinythinker.tasks.load import load_task

QUESTIONS = load_task(tiny_settings()).splits["train"]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run of seconds with phase 1 done."""
    from tests.conftest import TINY

    started = api.start("storeroom", tmp_path / "run", *TINY)
    api.teach(started)
    api.train(started)
    return started


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_student(folder / "student").model.state_dict()


def test_a_round_leaves_chains_pairs_metrics_and_a_student(run: RunDirectory) -> None:
    api.reflect(run, "reflect.rounds=1")
    folder = run.round(1)
    chains = read_records(folder / "chains.jsonl", Chain)
    assert len(chains) == 6 * 3
    assert [chain.sample for chain in chains] == [0, 1, 2] * 6
    pairs = read_records(folder / "pairs.jsonl", PreferencePair)
    assert pairs
    assert all(pair.chosen != pair.rejected for pair in pairs)
    assert (folder / "metrics.jsonl").exists()
    assert (folder / "student" / "model.safetensors").exists()


def test_samples_do_not_depend_on_how_many_are_decoded_at_once(run: RunDirectory, tmp_path: Path) -> None:
    api.reflect(run, "reflect.rounds=1")
    first = read_records(run.round(1) / "chains.jsonl", Chain)
    api.reflect(run, "reflect.rounds=1", force=True)
    assert read_records(run.round(1) / "chains.jsonl", Chain) == first


def test_a_round_that_does_not_help_leaves_the_student_as_it_was(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The starting student validates at 0.5, and everything training makes of it at 0.4.
    accuracies = iter([0.5, *[0.4] * 20])
    monkeypatch.setattr(api, "_accuracy", lambda student, questions: next(accuracies))
    api.reflect(run, "reflect.rounds=1")
    before, after = weights(run.phase_1), weights(run.round(1))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_round_that_helps_changes_the_student_and_the_next_starts_from_it(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = iter([0.5, 0.6, 0.7, *[0.1] * 20])
    monkeypatch.setattr(api, "_accuracy", lambda student, questions: next(accuracies))
    api.reflect(run, "reflect.rounds=2")
    start, first, second = weights(run.phase_1), weights(run.round(1)), weights(run.round(2))
    assert not all(torch.equal(start[name], first[name]) for name in start)
    if (run.round(2) / "metrics.jsonl").exists():
        assert '"valid_accuracy": 0.1' in (run.round(2) / "metrics.jsonl").read_text()
    assert set(second) == set(first)


def test_without_any_pair_the_round_says_so_and_keeps_the_student(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tinythinker.reflect.sample.recall_pairs", lambda *_, **__: [])
    monkeypatch.setattr("tinythinker.reflect.sample.analyze_pairs", lambda *_: [])
    api.reflect(run, "reflect.rounds=1")
    assert "nothing to learn from" in capsys.readouterr().err
    before, after = weights(run.phase_1), weights(run.round(1))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_initial_reference_is_phase_1s_student_in_every_round(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def watched(student: Student, batches: Sequence[Sequence[PreferencePair]], *, bf16: bool) -> list[PairReference]:
        seen.append({name: tensor.clone() for name, tensor in student.model.state_dict().items()})
        return score_reference(student, batches, bf16=bf16)

    monkeypatch.setattr("tinythinker.reflect.reference.score_reference", watched)
    accuracies = iter([0.5, 0.6, 0.7, 0.7, *[0.8] * 20])
    monkeypatch.setattr(api, "_accuracy", lambda student, questions: next(accuracies))
    api.reflect(run, "reflect.rounds=2", "reflect.reference=initial")
    start, first = weights(run.phase_1), weights(run.round(1))
    assert not all(torch.equal(start[name], first[name]) for name in start)
    assert len(seen) == 2
    assert all(torch.equal(start[name], tensor) for reference in seen for name, tensor in reference.items())


def test_pairs_of_one_stage_only_where_the_settings_say_so(run: RunDirectory) -> None:
    api.reflect(run, "reflect.rounds=1", "reflect.stages=[recall]")
    pairs = read_records(run.round(1) / "pairs.jsonl", PreferencePair)
    assert {pair.stage for pair in pairs} == {Stage.RECALL}
    assert not (run.round(1) / "analyze-chains.jsonl").exists()


def test_a_round_draws_its_questions_afresh_and_leaves_out_those_without_an_answer() -> None:
    settings = ReflectSettings(questions=5)
    hidden = Question(id="hidden", stem="s", options=QUESTIONS[0].options, gold=None)
    first, second = (draw_questions([hidden, *QUESTIONS], settings, seed) for seed in (1, 2))
    assert len(first) == len(second) == 5
    assert first != second
    assert "hidden" not in {q.id for q in draw_questions([hidden, *QUESTIONS], ReflectSettings(), 1)}


@pytest.mark.parametrize("bf16", ["never", "always"])
def test_the_first_step_of_a_round_starts_from_a_margin_of_exactly_0(run: RunDirectory, bf16: str) -> None:
    api.reflect(run, "reflect.rounds=1", f"reflect.bf16={bf16}", "reflect.stages=[recall]")
    lines = (run.round(1) / "metrics.jsonl").read_text().splitlines()
    first = next(json.loads(line) for line in lines if "margin" in line)
    assert first["margin"] == 0.0


def test_a_plan_without_the_stages_to_reflect_on_is_refused(tmp_path: Path) -> None:
    from tests.conftest import TINY

    started = api.start("storeroom", tmp_path / "run", *TINY, "stages.plan=summarize")
    api.teach(started)
    api.train(started)
    with pytest.raises(
        SettingsError, match=r"reflect\.stages: found .* expected a stage that stages\.plan=summarize has"
    ):
        api.reflect(started)
