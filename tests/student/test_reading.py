"""Texts read as trees compared with the same texts in rows of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from tests.conftest import tiny_of
from tinythinker.settings.schema import LoraSettings
from tinythinker.student.encode import encode_targets, encode_unique_prompts
from tinythinker.student.logps import Forest, Separate, logps_of
from tinythinker.student.reading import plan_passes, read, reads_trees
from tinythinker.student.student import Student

CAUSAL = ("qwen3", "gpt2", "llama", "gemma3")
QUESTION = "Where does rain go? (A) up (B) down (C) nowhere"
KNOWN = f"{QUESTION} Recall: rain is wet and falls."
PROMPTS = [
    f"{QUESTION} Recall:",
    f"{QUESTION} Recall:",
    *(f"{KNOWN} Analyze: For option {label}," for label in "ABC"),
    f"{KNOWN} Analyze: For option A, rain falls. For option B, it does. Summarize:",
    "rain is wet. Where?",
]
TARGETS = ["rain is wet and falls.", "rain falls.", "no.", "yes, it does.", "no.", "So the answer is option B.", "down"]


@pytest.fixture(autouse=True)
def _attention_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever begins alike is one tree, however small the student."""
    monkeypatch.setattr("tinythinker.student.pieces.COMPARING", 0.0)


def apart(student: Student, prompts: Sequence[str], targets: Sequence[str]) -> Separate:
    encoded, prompt_of = encode_unique_prompts(student, prompts)
    return Separate(encoded, encode_targets(student, targets), prompt_of)


def scored(student: Student, reading: Separate | Forest) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities, and the gradient of their weighted sum."""
    student.model.zero_grad()
    logps = logps_of(student.model, reading)
    (logps.total * torch.arange(1, len(TARGETS) + 1)).sum().backward()  # type: ignore[no-untyped-call]
    gradient = torch.cat([p.grad.flatten() for p in student.model.parameters() if p.grad is not None])
    return logps.total.detach(), gradient.clone()


def assert_equal_both_ways(student: Student) -> None:
    student.model.eval()
    forest = read(student, PROMPTS, TARGETS)
    assert isinstance(forest, Forest)
    assert len(forest.ids) == 2  # the last prompt stands alone
    (ours, our_gradient), (theirs, their_gradient) = (
        scored(student, way) for way in (forest, apart(student, PROMPTS, TARGETS))
    )
    assert torch.allclose(ours, theirs, atol=1e-5)
    scale = their_gradient.abs().max()
    assert torch.allclose(our_gradient / scale, their_gradient / scale, atol=1e-5)


@pytest.mark.parametrize("architecture", CAUSAL)
def test_trees_give_the_losses_and_gradients_of_separate_rows(architecture: str) -> None:
    assert_equal_both_ways(tiny_of(architecture))


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_trees_keep_to_sliding_windows(implementation: str) -> None:
    student = tiny_of("gemma3")
    student.model.config.sliding_window = 5
    for layer in student.model.modules():
        if getattr(layer, "sliding_window", None) is not None:
            layer.sliding_window = 5  # type: ignore[assignment]
    student.model.set_attn_implementation(implementation)
    assert "sliding_attention" in student.model.config.layer_types
    narrow = logps_of(student.model.eval(), read(student, PROMPTS, TARGETS)).total
    assert_equal_both_ways(student)
    student.model.config.sliding_window = 500
    student.can_read_trees = True
    wide = logps_of(student.model, read(student, PROMPTS, TARGETS)).total
    assert not torch.allclose(narrow, wide, atol=1e-3)


@pytest.mark.parametrize("architecture", CAUSAL)
def test_trees_work_with_adapters_and_gradient_checkpointing(architecture: str) -> None:
    student = tiny_of(architecture)
    student.recipe = student.recipe.model_copy(update={"lora": LoraSettings(rank=2)})
    student.adapt(0, "test")
    with torch.no_grad():
        for name, weight in student.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.02, generator=torch.Generator().manual_seed(len(name)))
    student.model.activation_checkpointing_enable({"use_reentrant": False})
    assert_equal_both_ways(student)


def test_trees_work_in_a_chat() -> None:
    student = tiny_of("llama")
    student.recipe = student.recipe.model_copy(update={"chat_template": True})
    student.tokenizer.chat_template = "{{ messages[0]['content'] }} down up"
    assert_equal_both_ways(student)


def test_a_shared_beginning_is_read_once() -> None:
    student = tiny_of("llama")
    forest = read(student, PROMPTS, TARGETS)
    assert isinstance(forest, Forest)
    rows = [
        student.tokenizer(f"{prompt} {target}", add_special_tokens=False)["input_ids"]
        for prompt, target in zip(PROMPTS, TARGETS, strict=True)
    ]
    assert forest.size == len({tuple(row[:n]) for row in rows for n in range(1, len(row) + 1)})
    assert forest.size < 0.5 * sum(map(len, rows))


def test_an_encoder_decoder_reads_rows_of_their_own() -> None:
    student = tiny_of("t5")
    assert not reads_trees(student)
    assert isinstance(read(student, PROMPTS, TARGETS), Separate)


def test_a_model_whose_attention_takes_no_mask_reads_rows_of_their_own_and_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    student = tiny_of("llama")
    student.model.config._attn_implementation = "flash_attention_2"
    assert isinstance(read(student, PROMPTS, TARGETS), Separate)
    assert not reads_trees(student)
    assert capsys.readouterr().err.count("llama: its attention takes no trees") == 1


def test_a_model_that_misreads_trees_is_found_out() -> None:
    student = tiny_of("llama")
    with torch.no_grad():
        for weight in student.model.parameters():
            weight.mul_(5)  # fresh weights hardly tell one position from another

    def forgets_positions(module: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, kwargs | {"position_ids": None}

    student.model.register_forward_pre_hook(forgets_positions, with_kwargs=True)
    assert not reads_trees(student)


def test_passes_hold_whole_items_and_no_more_than_allowed() -> None:
    student = tiny_of("llama")
    passes = plan_passes(student, PROMPTS, [TARGETS, TARGETS[::-1]], most=3)
    assert sorted(i for some in passes for i in some) == list(range(len(PROMPTS)))
    assert max(map(len, passes)) <= 3
    assert len(plan_passes(student, PROMPTS, [TARGETS], most=None)) < len(PROMPTS)
