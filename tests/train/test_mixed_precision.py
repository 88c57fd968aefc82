from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.conftest import tiny_of
from tinythinker.settings.schema import OptimSettings, TrainSettings
from tinythinker.student.logps import logps_of
from tinythinker.student.reading import read
from tinythinker.train import mixed_precision as module
from tinythinker.train.loop import save_memory
from tinythinker.train.mixed_precision import mixed_precision, short_attention_in_float32, wants_bf16

ARCHITECTURES = ["t5", "qwen3", "gpt2", "llama"]


@pytest.fixture
def dtypes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.dtype]]:
    """Precision of the queries of every attention."""
    seen: list[torch.dtype] = []
    attend = F.scaled_dot_product_attention

    def watched(query: Tensor, *args: object, **kwargs: object) -> Tensor:
        seen.append(torch.bfloat16 if torch.is_autocast_enabled("cpu") else query.dtype)
        return attend(query, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(F, "scaled_dot_product_attention", watched)
    yield seen


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_mixed_precision_on_a_cpu_leaves_short_attention_in_float32(
    architecture: str, dtypes: list[torch.dtype], monkeypatch: pytest.MonkeyPatch
) -> None:
    student = tiny_of(architecture, dropout=0.0)
    reading = read(student, ["rain", "rain falls"], ["wet", "wet"])
    with torch.no_grad():
        exact = logps_of(student.model, reading).total
        assert set(dtypes) == {torch.float32}
        dtypes.clear()
        with mixed_precision(student, enabled=True):
            rounded = logps_of(student.model, reading).total
        assert set(dtypes) == {torch.float32}
        dtypes.clear()
        monkeypatch.setattr(module, "SHORT", 1)
        with mixed_precision(student, enabled=True):
            logps_of(student.model, reading)
        assert torch.bfloat16 in dtypes
    assert not torch.equal(exact, rounded)  # the products with weights are in bfloat16
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_that_compute_their_activations_twice_do_so_in_the_same_precision(
    architecture: str, dtypes: list[torch.dtype]
) -> None:
    student = tiny_of(architecture, dropout=0.0)
    student.model.train()
    save_memory(student, TrainSettings(gradient_checkpointing=True))
    reading = read(student, ["rain"], ["wet"])
    dtypes.clear()
    with short_attention_in_float32():
        with torch.autocast("cpu", torch.bfloat16):
            loss = -logps_of(student.model, reading).total.sum()
        once = len(dtypes)
        torch.autograd.backward(loss)
    assert len(dtypes) == 2 * once
    assert set(dtypes) == {torch.float32}


def test_attention_is_torchs_own_again_afterwards(dtypes: list[torch.dtype]) -> None:
    student = tiny_of("qwen3")
    reading = read(student, ["rain"], ["wet"])
    with short_attention_in_float32(), short_attention_in_float32():
        pass
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logps_of(student.model, reading)
    assert dtypes[-1] == torch.bfloat16


def test_training_takes_bfloat16_where_the_cpu_multiplies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    student = tiny_of("t5")

    def chosen(bf16: str) -> bool:
        settings: OptimSettings = TrainSettings.model_validate({"bf16": bf16})
        return wants_bf16(settings, student)

    for flag, pays in (("avx512_bf16", True), ("amx_bf16", True), ("avx512_f", False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda flag=flag: {flag: True})
        assert chosen("auto") is pays
        assert chosen("always") and not chosen("never")
