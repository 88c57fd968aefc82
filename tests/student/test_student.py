from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BloomConfig,
    BloomForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.conftest import ARCHITECTURES, tiny_of, tiny_recipe, tiny_student
from tinythinker.core.errors import DataError, StudentError
from tinythinker.core.files import read_json, write_json
from tinythinker.generate.decode import decode
from tinythinker.settings.schema import StudentSettings
from tinythinker.student.load import load_student, pretrained_student
from tinythinker.student.student import Student, tensor_file_errors

PROMPTS = ["Where does rain go?\n(A) up (B) down\nRecall:", "rain\nSummarize:"]


def test_a_saved_student_loads_with_the_same_weights_and_recipe(student: Student, tmp_path: Path) -> None:
    student.save(tmp_path / "student")
    again = load_student(tmp_path / "student")
    assert again.recipe == student.recipe
    weights = student.model.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in again.model.state_dict().items())


def test_a_saved_student_answers_the_same_in_plain_transformers(student: Student, tmp_path: Path) -> None:
    student.save(tmp_path / "student")
    ours = [text.text for text in decode(student, PROMPTS, max_tokens=6, batch_size=8)]
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "student")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "student")
    for prompt, text in zip(PROMPTS, ours, strict=True):
        written = model.generate(**tokenizer(prompt, return_tensors="pt"), max_new_tokens=6, do_sample=False)
        assert str(tokenizer.decode(written[0], skip_special_tokens=True)).strip() == text


def test_a_folder_that_is_not_a_student_is_a_one_line_error(tmp_path: Path) -> None:
    with pytest.raises(
        StudentError, match=r"found no config\.json in it, expected a run directory, a student's folder or"
    ):
        load_student(tmp_path)


def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("SelfAttention", "Attention"): tensor for name, tensor in weights.items()}


def without_a_layer(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in weights.items() if ".block.1." not in name}


def with_a_smaller_norm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return weights | {"encoder.final_layer_norm.weight": torch.zeros(3)}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (renamed, r"found \d+ tensors missing, \d+ tensors unexpected \(decoder\.block\.0\.layer\.0\.SelfAtt"),
        (without_a_layer, r"found \d+ tensors missing \((\S+\.block\.1\.\S+,? ){3}\.\.\.\), expected"),
        (with_a_smaller_norm, r"found 1 tensors of another shape \(encoder\.final_layer_norm\.weight\), expected"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_three_are_named(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], found: str, student: Student, tmp_path: Path
) -> None:
    student.save(tmp_path / "student")
    file = tmp_path / "student" / "model.safetensors"
    save_file(change(load_file(file)), file, {"format": "pt"})
    with pytest.raises(StudentError, match=found):
        load_student(tmp_path / "student")


def test_a_pretrained_folder_becomes_a_student_with_the_requested_dropout(student: Student, tmp_path: Path) -> None:
    student.save(tmp_path / "base")
    fresh = pretrained_student(StudentSettings(name=str(tmp_path / "base"), dropout=0.3), tiny_recipe())
    rates = {module.p for module in fresh.model.modules() if isinstance(module, torch.nn.Dropout)}
    # T5's attention stores its own dropout rate besides the modules.
    numbers = {
        module.dropout for module in fresh.model.modules() if isinstance(getattr(module, "dropout", None), float)
    }
    assert rates == numbers == {0.3}


def test_a_name_that_does_not_load_is_a_one_line_error(tmp_path: Path) -> None:
    with pytest.raises(StudentError, match=r"student .*none: found nothing that loads .*student\.init=scratch"):
        pretrained_student(StudentSettings(name=str(tmp_path / "none")), tiny_recipe())


def test_a_model_that_does_not_take_positions_is_refused(tmp_path: Path) -> None:
    BloomForCausalLM(BloomConfig(n_layer=1, n_head=2, hidden_size=8, vocab_size=16)).save_pretrained(tmp_path / "bloom")
    tiny_student().tokenizer.save_pretrained(tmp_path / "bloom")
    with pytest.raises(
        StudentError, match=r"found a bloom model, expected an encoder-decoder such as T5, or a decoder"
    ):
        pretrained_student(StudentSettings(name=str(tmp_path / "bloom")), tiny_recipe())


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "t5"])
def test_a_causal_folder_becomes_a_student_with_the_requested_dropout(architecture: str, tmp_path: Path) -> None:
    base = tiny_of(architecture, dropout=0.0)
    base.tokenizer.pad_token = None
    base.save(tmp_path / "base")
    fresh = pretrained_student(StudentSettings(name=str(tmp_path / "base"), dropout=0.3), tiny_recipe())
    assert fresh.is_causal
    assert fresh.pad_id == fresh.tokenizer.eos_token_id
    fresh.model.train()
    ids = torch.tensor([[5, 6, 7]])
    assert not torch.equal(fresh.model(input_ids=ids).logits, fresh.model(input_ids=ids).logits)


def test_a_disk_that_fills_up_while_weights_are_written_is_a_one_line_error_and_leaves_no_files(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path) -> None:
        (folder / "model.safetensors").write_text("half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(student.model, "save_pretrained", full)
    with pytest.raises(DataError, match=r"student: Error while serializing.*No space left.*nothing was half-written"):
        student.save(tmp_path / "student")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("architecture", "found"), [("t5", "an encoder-decoder"), ("gpt2", "no chat template in its tokenizer")]
)
def test_a_missing_chat_template_is_a_one_line_error(architecture: str, found: str, tmp_path: Path) -> None:
    tiny_of(architecture).save(tmp_path / "base")
    recipe = tiny_recipe().model_copy(update={"chat_template": True})
    with pytest.raises(StudentError, match=rf"found {found}, expected .*student\.chat_template=false"):
        pretrained_student(StudentSettings(name=str(tmp_path / "base")), recipe)


def test_texts_longer_than_the_model_has_positions_for_are_refused(tmp_path: Path) -> None:
    tiny_of("gpt2").save(tmp_path / "base")  # 1,024 positions
    settings = StudentSettings(name=str(tmp_path / "base"))
    fits, too_long = (tiny_recipe().model_copy(update={"max_prompt_tokens": n}) for n in (1008, 1009))
    assert pretrained_student(settings, fits).is_causal
    with pytest.raises(
        StudentError, match=r"prompts of 1009 tokens and texts of up to 16, expected .* its 1024 positions tog"
    ):
        pretrained_student(settings, too_long)


CODE = "open({mark!r}, 'w').close()\nfrom transformers import *\nclass Mine(T5Config): pass\ngenerate = None\n"


def changed(file: Path, **fields: object) -> None:
    """Add fields to a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


@pytest.mark.parametrize("model_type", ["t5", "of its own"])
def test_code_in_a_student_s_folder_is_never_run_and_nobody_is_asked(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_type: str
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question on the terminal"))
    folder, mark = tmp_path / "student", tmp_path / "ran"
    student.save(folder)
    for file in ("evil.py", "custom_generate/generate.py"):
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(CODE.format(mark=str(mark)))
    code = {"AutoConfig": "evil.Mine", "AutoModelForSeq2SeqLM": "evil.Mine"}
    changed(folder / "config.json", auto_map=code, model_type=model_type)
    changed(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Mine", "evil.Mine"]})
    changed(folder / "generation_config.json", custom_generate="./custom_generate")
    if model_type == "t5":
        load_student(folder)
    else:
        with pytest.raises(StudentError, match=r"it needs code of its own.*no code of a student is ever run"):
            load_student(folder)
    assert not mark.exists()


def test_attention_by_code_from_the_hub_is_refused(student: Student, tmp_path: Path) -> None:
    student.save(tmp_path / "student")
    changed(tmp_path / "student" / "config.json", attn_implementation="somebody/kernel")
    with pytest.raises(StudentError, match="found attention by the code of somebody/kernel"):
        load_student(tmp_path / "student")


class Hostile:
    """Unpickled, it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.target), "w")


def test_a_pickle_that_is_not_weights_is_refused_and_not_run(student: Student, tmp_path: Path) -> None:
    folder = tmp_path / "student"
    student.save(folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Hostile(tmp_path / "ran")))
    with pytest.raises(StudentError, match=r"a pickle that is not only weights and numbers; it was not run\)"):
        load_student(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.json", '{"model_type": "t5", "d_model": "x"}'),
        ("config.json", '{"model_type": ["t5"]}'),
        ("config.json", "[" * 5000),
        ("config.json", '{"model_type": "t5", "num_layers": -1, "d_kv": 0}'),
        ("tokenizer.json", '{"version": "1.0"}'),
        ("tokenizer.json", "{}"),
        ("tokenizer_config.json", "[1]"),
        ("model.safetensors", "x" * 100),
    ],
)
def test_a_damaged_folder_is_one_error_whatever_the_libraries_raise(
    student: Student, tmp_path: Path, file: str, text: str
) -> None:
    student.save(tmp_path / "student")
    (tmp_path / "student" / file).write_text(text)
    with pytest.raises(StudentError, match="student"):
        load_student(tmp_path / "student")


def test_a_saved_t5_says_whether_its_output_layer_is_its_own(student: Student, tmp_path: Path) -> None:
    student.save(tmp_path / "first")
    load_student(tmp_path / "first").save(tmp_path / "again")
    tied = T5ForConditionalGeneration(T5Config(vocab_size=64, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2))
    Student(tied, student.tokenizer, student.recipe).save(tmp_path / "tied")
    load_student(tmp_path / "tied").save(tmp_path / "tied-again")
    said = {f: read_json(tmp_path / f / "config.json")["tie_word_embeddings"] for f in ("first", "again", "tied-again")}
    assert said == {"first": False, "again": False, "tied-again": True}


def test_a_folder_that_wrongly_calls_its_output_layer_tied_loads_untied(student: Student, tmp_path: Path) -> None:
    student.save(tmp_path / "older")
    config = read_json(tmp_path / "older" / "config.json")
    write_json(tmp_path / "older" / "config.json", config | {"tie_word_embeddings": True})
    ids = {"input_ids": torch.tensor([[3, 4, 1]]), "decoder_input_ids": torch.tensor([[0, 5]])}
    with torch.no_grad():
        wanted = student.model.eval()(**ids).logits
        for model in (
            load_student(tmp_path / "older").model,
            AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "older"),
        ):
            assert torch.equal(model.eval()(**ids).logits, wanted)


def test_a_checkpoint_that_torch_cannot_write_to_its_end_asks_whether_the_disk_is_full() -> None:
    with pytest.raises(OSError, match="is the disk full"), tensor_file_errors(Path("folder")):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 6009280 vs 6009168")


@pytest.mark.parametrize(
    ("architecture", "older"),
    [("llama", {"rope_theta": 10000.0}), ("gemma3", {"rope_theta": 1000000.0, "rope_local_base_freq": 10000.0})],
)
def test_a_saved_folder_has_the_rotation_under_its_older_names_too(
    architecture: str, older: dict[str, float], tmp_path: Path
) -> None:
    student = tiny_of(architecture)
    student.save(tmp_path / "student")
    config = json.loads((tmp_path / "student" / "config.json").read_text())
    assert {name: config[name] for name in older} == older
    ids = torch.tensor([[3, 4, 5, 6]])
    again = load_student(tmp_path / "student")
    with torch.no_grad():
        assert torch.equal(student.model.eval()(input_ids=ids).logits, again.model.eval()(input_ids=ids).logits)
