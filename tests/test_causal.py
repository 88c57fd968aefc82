"""Causal students through the whole pipeline, from folders written by `save_pretrained`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from tests.conftest import TINY
from tinythinker import api
from tinythinker.core.metrics import read_metrics
from tinythinker.core.seeds import seed_torch
from tinythinker.student.load import load_student

CHAT = (
    "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


def byte_tokenizer(*, is_chat: bool) -> PreTrainedTokenizerFast:
    """A barely trained byte-level BPE tokenizer like that of GPT-2 and Qwen, without a padding token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|start|>", "<|end|>"] if is_chat else ["<|endoftext|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["What should you keep it in? For option A, So the answer is option B."], trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=special[-1])
    made.chat_template = CHAT if is_chat else None
    return made


def pipeline(folder: Path, *overrides: str) -> None:
    run = api.start(
        "storeroom",
        folder / "run",
        *TINY,
        "student.init=pretrained",
        f"student.name={folder / 'base'}",
        "student.max_prompt_tokens=400",
        "reflect.rounds=1",
        *overrides,
    )
    scores = api.run(run)
    assert list(scores) == ["phase-1", "round-1"]
    assert all(own.n == 8 and own.cut == 0 for own in scores.values())
    assert read_metrics(run.round(1).metrics).steps[0].margin == 0.0
    assert load_student(run.round(1).student).is_causal
    assert api.ask(run.root, "What should you keep it in?", ["a box", "a bag"]).answer in ("A", "B")


@pytest.mark.parametrize("is_chat", [True, False])
def test_a_small_qwen_runs_the_whole_pipeline(is_chat: bool, tmp_path: Path) -> None:
    tokenizer = byte_tokenizer(is_chat=is_chat)
    seed_torch(0, "weights")
    config = Qwen3Config(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        eos_token_id=tokenizer.eos_token_id,
    )
    Qwen3ForCausalLM(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    pipeline(tmp_path, f"student.chat_template={str(is_chat).lower()}")


@pytest.mark.slow
def test_a_full_size_gpt2_runs_the_whole_pipeline(tmp_path: Path) -> None:
    seed_torch(0, "weights")
    config = GPT2Config(vocab_size=400, bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "base")  # 12 layers of 768
    byte_tokenizer(is_chat=False).save_pretrained(tmp_path / "base")
    pipeline(tmp_path, "train.max_steps=2", "reflect.max_steps=2", "reflect.questions=3")
