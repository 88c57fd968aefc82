from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.conftest import TINY, tiny_of, tiny_recipe
from tinythinker import api
from tinythinker.acquire.sft import sft_objective, sft_pieces
from tinythinker.core.errors import SettingsError, StudentError
from tinythinker.core.metrics import read_metrics
from tinythinker.core.records import Stage, StageExample
from tinythinker.core.run import TrainingFolder
from tinythinker.settings.resolve import load_settings
from tinythinker.settings.schema import LoraSettings, StudentSettings, TrainSettings
from tinythinker.student.load import load_student, pretrained_student
from tinythinker.student.student import Student
from tinythinker.train.loop import Training, fit

SETTINGS = TrainSettings(epochs=4, learning_rate=1e-2, batch_size=2)
EXAMPLES = [StageExample(question_id=t, stage=Stage.RECALL, prompt="Where?", target=t) for t in ("down", "rain falls.")]


def saved_base(folder: Path, architecture: str) -> Path:
    tiny_of(architecture, dropout=0.0).save(folder / "base")
    return folder / "base"


def student_of(base: Path, **changes: Any) -> Student:
    lora: dict[str, Any] = {"rank": 2, "alpha": 8.0, "dropout": 0.0, "targets": None, "save": "merged"}
    recipe = tiny_recipe().model_copy(update={"lora": LoraSettings(**(lora | changes))})
    return pretrained_student(StudentSettings(name=str(base), dropout=0.0), recipe)


def train(student: Student, folder: Path, settings: TrainSettings = SETTINGS) -> Student:
    training = Training(
        name="test",
        epoch=lambda number: [("recall", EXAMPLES)],
        objective=sft_objective(student),
        pieces=sft_pieces(student, None),
        cycle=2,
        validate=lambda: 0.5,
        dropout=True,
        keep_start=False,
    )
    return fit(student, training, settings, seed=0, folder=TrainingFolder(folder))


def logits(student: Student) -> torch.Tensor:
    ids = torch.tensor([[5, 6, 7]])
    fed = {} if student.is_causal else {"decoder_input_ids": torch.tensor([[0, 8]])}
    with torch.no_grad():
        made: torch.Tensor = student.model.eval()(input_ids=ids, **fed).logits
    return made


@pytest.mark.parametrize("architecture", ["t5", "qwen3", "gpt2"])
def test_fresh_adapters_change_nothing_and_are_the_only_trained_weights(architecture: str, tmp_path: Path) -> None:
    student = student_of(saved_base(tmp_path, architecture))
    plain = logits(student)
    student.adapt(0, "phase-1")
    assert torch.equal(logits(student), plain)
    trained = [name for name, parameter in student.model.named_parameters() if parameter.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    assert not any("lm_head" in name for name in trained)


@pytest.mark.parametrize("architecture", ["t5", "qwen3", "gpt2"])
def test_a_merged_student_is_a_plain_folder_with_the_adapters_built_in(architecture: str, tmp_path: Path) -> None:
    student = student_of(saved_base(tmp_path, architecture))
    before = logits(student)
    trained = train(student, tmp_path / "out")
    assert not (tmp_path / "out" / "student" / "adapter_config.json").exists()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["metrics.jsonl", "student"]
    assert not torch.allclose(logits(trained), before, atol=1e-3)
    if architecture != "t5":
        plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "student")
        assert torch.equal(plain(input_ids=torch.tensor([[5, 6, 7]])).logits, logits(trained))


@pytest.mark.parametrize("architecture", ["t5", "qwen3"])
def test_saved_adapters_are_small_and_load_on_top_of_their_base(architecture: str, tmp_path: Path) -> None:
    base = saved_base(tmp_path, architecture)
    alone = train(student_of(base, save="adapter"), tmp_path / "adapter")
    merged = train(student_of(base), tmp_path / "merged")
    assert not (tmp_path / "adapter" / "student" / "model.safetensors").exists()
    assert torch.allclose(logits(alone), logits(merged), atol=1e-5)
    again = load_student(tmp_path / "adapter" / "student")
    assert any(parameter.requires_grad for parameter in again.model.parameters())


def test_adapters_learn_the_same_with_recomputed_activations(tmp_path: Path) -> None:
    base = saved_base(tmp_path, "qwen3")
    twice = SETTINGS.model_copy(update={"gradient_checkpointing": True})
    plain, again = (
        logits(train(student_of(base), tmp_path / name, settings)) for name, settings in (("a", SETTINGS), ("b", twice))
    )
    assert torch.allclose(plain, again, atol=1e-4)


def test_layers_that_the_model_lacks_are_a_one_line_error(tmp_path: Path) -> None:
    student = student_of(saved_base(tmp_path, "qwen3"), targets=("nonsense",))
    with pytest.raises(StudentError, match=r"student\.lora\.targets: found \['nonsense'\], expected names of layers"):
        student.adapt(0, "phase-1")


def test_without_peft_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student = student_of(saved_base(tmp_path, "qwen3"))
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(StudentError, match=r"found no package peft.*pip install 'tinythinker\[peft\]'"):
        student.adapt(0, "phase-1")


def test_a_student_with_random_weights_cannot_have_adapters() -> None:
    with pytest.raises(SettingsError, match=r"student\.lora with student\.init=scratch"):
        load_settings("storeroom", ["student.lora.rank=4"])


@pytest.mark.parametrize(("architecture", "save"), [("qwen3", "merged"), ("qwen3", "adapter"), ("t5", "merged")])
def test_both_phases_run_with_adapters(architecture: str, save: str, tmp_path: Path) -> None:
    base = saved_base(tmp_path, architecture)
    run = api.start(
        "storeroom",
        tmp_path / "run",
        *TINY,
        "student.init=pretrained",
        f"student.name={base}",
        "student.lora.rank=2",
        f"student.lora.save={save}",
        "student.max_prompt_tokens=60",
        "student.max_target_tokens=20",
        "reflect.rounds=2",
        "reflect.stages=[recall]",
    )
    scores = api.run(run)
    assert list(scores) == ["phase-1", "round-1", "round-2"]
    for number in (1, 2):
        assert read_metrics(run.round(number).metrics).steps[0].margin == 0.0
    assert (run.round(2).student / "adapter_config.json").exists() == (save == "adapter")


def test_every_training_draws_new_adapters(tmp_path: Path) -> None:
    drawn = []
    for name in ("phase-1", "round-1", "phase-1"):
        student = student_of(saved_base(tmp_path, "qwen3"))
        student.adapt(0, name)
        drawn.append(next(own for key, own in student.model.named_parameters() if "lora_A" in key))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def test_a_folder_of_adapters_as_a_base_is_merged_and_then_taught_as_asked(tmp_path: Path) -> None:
    adapters = train(student_of(saved_base(tmp_path, "qwen3"), save="adapter"), tmp_path / "first")
    name = str(tmp_path / "first" / "student")
    whole = pretrained_student(StudentSettings(name=name), tiny_recipe())
    assert all(parameter.requires_grad for parameter in whole.model.parameters())
    assert torch.allclose(logits(whole), logits(adapters), atol=1e-5)
    with pytest.raises(StudentError, match=r"found a folder of adapters.*lora\.save=merged"):
        student_of(tmp_path / "first" / "student", save="adapter")


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_config.json"])
def test_damaged_adapters_are_a_one_line_error(file: str, tmp_path: Path) -> None:
    train(student_of(saved_base(tmp_path, "qwen3"), save="adapter"), tmp_path / "out")
    (tmp_path / "out" / "student" / file).write_bytes(b"no such thing")
    with pytest.raises(StudentError, match="found damaged adapters"):
        load_student(tmp_path / "out" / "student")


@pytest.mark.parametrize("setting", ["lora_alpha=8", "lora_dropout=0.1", "lora_targets=[q_proj]", "lora_save=adapter"])
def test_settings_of_adapters_without_adapters_are_refused(setting: str) -> None:
    with pytest.raises(SettingsError, match=r"setting student\.lora\.rank: found nothing"):
        load_settings("csqa", [f"student.{setting}"])


def test_adapters_with_a_missing_base_are_a_clear_error(tmp_path: Path) -> None:
    train(student_of(saved_base(tmp_path, "qwen3"), save="adapter"), tmp_path / "out")
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    with pytest.raises(StudentError, match=r"found adapters whose base .*base does not load"):
        load_student(tmp_path / "out" / "student")
