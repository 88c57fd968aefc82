from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinythinker.settings.families import family_of
from tinythinker.settings.resolve import load_settings, preset_of_student


def model(folder: Path, **config: object) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("config", "family"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, "causal"),
        ({"architectures": ["GPT2LMHeadModel"]}, "causal"),
        ({"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}, "seq2seq"),
        ({"architectures": ["T5ForConditionalGeneration"]}, "seq2seq"),
        ({"model_type": "odd"}, None),
    ],
)
def test_the_configuration_tells_the_family(tmp_path: Path, config: dict[str, object], family: str | None) -> None:
    assert family_of(str(model(tmp_path / "model", **config))) == family


def test_adapters_have_the_family_of_the_model_below(tmp_path: Path) -> None:
    base = model(tmp_path / "base", architectures=["LlamaForCausalLM"])
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    assert family_of(str(tmp_path / "adapters")) == "causal"


@pytest.mark.parametrize("name", ["nobody/nothing-here", "", "a/b/c", "/no/such/folder"])
def test_what_is_not_on_this_machine_has_no_known_family(name: str) -> None:
    assert family_of(name) is None


def test_a_causal_student_has_a_preset_that_what_the_user_gives_overrides(tmp_path: Path) -> None:
    name = f"student.name={model(tmp_path / 'model', architectures=['LlamaForCausalLM'])}"
    settings = load_settings("csqa", [name, "train.batch_size=8"])
    assert (settings.train.learning_rate, settings.train.batch_size) == (1e-4, 8)
    followed = preset_of_student(settings)
    assert "train.learning_rate=0.0001" in followed
    assert not [line for line in followed if line.startswith("train.batch_size")]


def test_a_t5_and_random_weights_have_the_tasks_preset_alone(tmp_path: Path) -> None:
    t5 = model(tmp_path / "t5", architectures=["T5ForConditionalGeneration"], is_encoder_decoder=True)
    assert load_settings("csqa", [f"student.name={t5}"]).train == load_settings("csqa").train
    assert preset_of_student(load_settings("csqa", [f"student.name={t5}"])) == []
    causal = ["student.family=causal"]
    assert load_settings("storeroom", causal).stages == load_settings("storeroom").stages
