from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from transformers.modeling_layers import GradientCheckpointingLayer

from tests.conftest import tiny_of, tiny_student
from tinythinker.acquire.sft import sft_objective, sft_pieces
from tinythinker.core.errors import StudentError
from tinythinker.core.records import Stage, StageExample
from tinythinker.core.run import TrainingFolder
from tinythinker.settings.schema import TrainSettings
from tinythinker.student.reading import reads_trees
from tinythinker.student.student import Student
from tinythinker.train.loop import Loss, Training, fit

TARGETS = ["rain falls.", "down", "rain is wet", "up"]


def examples() -> list[StageExample]:
    return [StageExample(question_id=t, stage=Stage.RECALL, prompt=f"Where? {t}", target=t) for t in TARGETS]


def job(student: Student, **changes: Any) -> Training[StageExample]:
    """A job with two batches per epoch; its validation accuracies come from a list."""
    first, second = examples()[:2], examples()[2:]
    fields: dict[str, Any] = {
        "name": "test",
        "epoch": lambda number: (
            [("recall", first), ("recall", second)] if number % 2 else [("recall", second), ("recall", first)]
        ),
        "objective": sft_objective(student),
        "pieces": sft_pieces(student, None),
        "cycle": 2,
        "validate": lambda: 0.5,
        "dropout": True,
        "keep_start": False,
    }
    return Training(**(fields | changes))


SETTINGS = TrainSettings(epochs=4, learning_rate=1e-2, batch_size=2)


def weights(student: Student) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in student.model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


class KilledError(Exception):
    """Stands in for a SIGKILL at a chosen moment."""


def test_training_lowers_the_loss_and_logs_every_step(tmp_path: Path) -> None:
    student = tiny_student(dropout=0.0)
    fit(student, job(student), SETTINGS.model_copy(update={"epochs": 15}), seed=0, folder=TrainingFolder(tmp_path))
    lines = [line for line in metrics(tmp_path) if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, 31))
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    assert {"stage", "learning_rate", "gradient_norm", "seconds"} <= set(lines[0])


def test_training_in_bfloat16_leaves_the_process_its_own_precision(tmp_path: Path) -> None:
    student = tiny_student(dropout=0.0)
    settings = SETTINGS.model_copy(update={"epochs": 1, "bf16": "always"})
    fit(student, job(student), settings, seed=0, folder=TrainingFolder(tmp_path))
    assert Accelerator().mixed_precision == "no"


def test_the_best_checkpoint_is_kept_and_not_the_last(tmp_path: Path) -> None:
    student = tiny_student()
    seen: list[dict[str, torch.Tensor]] = []
    accuracies = iter([0.2, 0.9, 0.4, 0.9])

    def validate() -> float:
        seen.append(weights(student))
        return next(accuracies)

    best = fit(student, job(student, validate=validate), SETTINGS, seed=0, folder=TrainingFolder(tmp_path))
    assert same(weights(best), seen[1])  # the earliest of equals
    assert [line["valid_accuracy"] for line in metrics(tmp_path) if "valid_accuracy" in line] == [0.2, 0.9, 0.4, 0.9]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "student"]


def test_a_start_that_training_does_not_improve_is_kept(tmp_path: Path) -> None:
    student = tiny_student()
    before = weights(student)
    accuracies = iter([0.7, 0.5, 0.7, 0.1, 0.6])
    fields = {"validate": lambda: next(accuracies), "keep_start": True}
    assert same(
        weights(fit(student, job(student, **fields), SETTINGS, seed=0, folder=TrainingFolder(tmp_path))), before
    )


@pytest.mark.parametrize("stop", [1, 2, 3, 5, 8])
def test_a_killed_training_ends_with_the_same_weights_and_metrics(tmp_path: Path, stop: int) -> None:
    student = tiny_student()
    undisturbed = fit(student, job(student), SETTINGS, seed=0, folder=TrainingFolder(tmp_path / "whole"))

    def dies(student: Student) -> Any:
        plain, calls = sft_objective(student), iter(range(1, 100))

        def objective(model: Any, items: Sequence[StageExample]) -> Loss:
            if next(calls) == stop:
                raise KilledError
            return plain(model, items)

        return objective

    student = tiny_student()
    with pytest.raises(KilledError):
        fit(student, job(student, objective=dies(student)), SETTINGS, seed=0, folder=TrainingFolder(tmp_path / "torn"))
    student = tiny_student()
    resumed = fit(student, job(student), SETTINGS, seed=0, folder=TrainingFolder(tmp_path / "torn"))
    assert same(weights(resumed), weights(undisturbed))
    timeless = [
        [{key: value for key, value in line.items() if key != "seconds"} for line in metrics(tmp_path / name)]
        for name in ("whole", "torn")
    ]
    assert timeless[0] == timeless[1]


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    student = tiny_student()
    first = fit(student, job(student), SETTINGS, seed=0, folder=TrainingFolder(tmp_path))

    def never(number: int) -> Any:
        raise AssertionError("trained again")

    assert same(
        weights(fit(student, job(student, epoch=never), SETTINGS, seed=0, folder=TrainingFolder(tmp_path))),
        weights(first),
    )


def test_micro_batches_add_up_to_the_whole_batch(tmp_path: Path) -> None:
    ends = []
    for size in (None, 1):
        student = tiny_student(dropout=0.0)
        settings = SETTINGS.model_copy(update={"max_steps": 1, "warmup": 0.0})
        cut = job(student, pieces=sft_pieces(student, size))
        ends.append(weights(fit(student, cut, settings, seed=0, folder=TrainingFolder(tmp_path / str(size)))))
    gradient = [json.loads((tmp_path / str(size) / "metrics.jsonl").read_text().splitlines()[0]) for size in (None, 1)]
    assert gradient[0]["loss"] == pytest.approx(gradient[1]["loss"], rel=1e-5)
    assert gradient[0]["gradient_norm"] == pytest.approx(gradient[1]["gradient_norm"], rel=1e-4)


def test_a_nan_loss_stops_with_a_clear_error_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    student = tiny_student()
    plain, calls = sft_objective(student), iter(range(1, 100))

    def breaks(model: Any, items: Sequence[StageExample]) -> Loss:
        loss = plain(model, items)
        return loss._replace(total=loss.total * float("nan")) if next(calls) == 4 else loss

    with pytest.raises(StudentError, match=r"test, step 4, recall loss: found nan, expected a finite number.*--force"):
        fit(student, job(student, objective=breaks), SETTINGS, seed=0, folder=TrainingFolder(tmp_path))
    assert (tmp_path / "checkpoint-00000002").is_dir()


def test_dropout_is_on_only_where_the_job_says_so(tmp_path: Path) -> None:
    for dropout in (True, False):
        student = tiny_student()
        modes: list[bool] = []
        plain = sft_objective(student)

        def objective(model: Any, items: Sequence[StageExample], plain: Any = plain, modes: list[bool] = modes) -> Loss:
            modes.append(model.training)
            return plain(model, items)  # type: ignore[no-any-return]

        fit(
            student,
            job(student, objective=objective, dropout=dropout),
            SETTINGS,
            seed=0,
            folder=TrainingFolder(tmp_path / str(dropout)),
        )
        assert set(modes) == {dropout}


def test_training_stops_when_its_patience_runs_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    student = tiny_student()
    accuracies = iter([0.3, 0.6, 0.5, 0.6])
    settings = SETTINGS.model_copy(update={"epochs": 40, "patience": 2})
    fit(student, job(student, validate=lambda: next(accuracies)), settings, seed=0, folder=TrainingFolder(tmp_path))
    assert metrics(tmp_path)[-1] == {"step": 8, "valid_accuracy": 0.6}
    assert "stopped at step 8, 2 validations after its best" in capsys.readouterr().err


def test_patience_keeps_counting_after_a_kill(tmp_path: Path) -> None:
    student = tiny_student()
    settings = SETTINGS.model_copy(update={"epochs": 40, "patience": 2})

    def values(*accuracies: float) -> Any:
        left = list(accuracies)

        def validate() -> float:
            if not left:
                raise KilledError
            return left.pop(0)

        return validate

    with pytest.raises(KilledError):
        fit(student, job(student, validate=values(0.6, 0.5)), settings, seed=0, folder=TrainingFolder(tmp_path))
    student = tiny_student()
    fit(student, job(student, validate=values(0.5)), settings, seed=0, folder=TrainingFolder(tmp_path))
    assert metrics(tmp_path)[-1]["step"] == 6


@pytest.mark.parametrize("architecture", ["t5", "gpt2", "qwen3"])
@pytest.mark.parametrize("dropout", [True, False])
def test_recomputing_activations_changes_no_gradient(architecture: str, dropout: bool, tmp_path: Path) -> None:
    lines, calls = [], []
    for is_twice in (False, True):
        student = tiny_of(architecture, dropout=0.1)
        reads_trees(student)  # tries the model out
        seen: list[int] = []
        layer = next(one for one in student.model.modules() if isinstance(one, GradientCheckpointingLayer))
        inner = next(one for one in layer.modules() if getattr(one, "weight", None) is not None)
        inner.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        settings = SETTINGS.model_copy(update={"max_steps": 2, "gradient_checkpointing": is_twice})
        folder = tmp_path / str(is_twice)
        fit(student, job(student, dropout=dropout), settings, seed=0, folder=TrainingFolder(folder))
        lines.append([(line["loss"], line["gradient_norm"]) for line in metrics(folder) if "loss" in line])
        calls.append(len(seen))
    assert calls == [2, 4]
    for plain, twice in zip(*lines, strict=True):
        assert plain == pytest.approx(twice, rel=1e-4)
