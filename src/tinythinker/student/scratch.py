"""Students with random weights: a few named shapes, and a vocabulary from the task or from a file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)

from tinythinker.core.errors import StudentError
from tinythinker.core.records import LABELS
from tinythinker.core.seeds import seed_torch
from tinythinker.settings.schema import StudentSettings
from tinythinker.student.load import place
from tinythinker.student.present import refuse_absent_vocabulary
from tinythinker.student.student import Recipe, Student

SHAPES: Mapping[str, Mapping[str, Any]] = {
    "1m": {"d_model": 128, "d_kv": 32, "d_ff": 512, "num_layers": 2, "num_heads": 4, "feed_forward_proj": "relu"},
    "4m": {"d_model": 192, "d_kv": 32, "d_ff": 768, "num_layers": 4, "num_heads": 6, "feed_forward_proj": "relu"},
    "t5-small": {
        "d_model": 512,
        "d_kv": 64,
        "d_ff": 2048,
        "num_layers": 6,
        "num_heads": 8,
        "feed_forward_proj": "relu",
    },
    "t5-base": {
        "d_model": 768,
        "d_kv": 64,
        "d_ff": 3072,
        "num_layers": 12,
        "num_heads": 12,
        "feed_forward_proj": "relu",
    },
}
"""T5 shapes by `student.size`; the last two are the shapes of the published models."""

CAUSAL_SHAPES: Mapping[str, Mapping[str, Any]] = {
    "1m": {"hidden_size": 128, "head_dim": 32, "intermediate_size": 384, "num_hidden_layers": 4, "heads": 4},
    "4m": {"hidden_size": 192, "head_dim": 32, "intermediate_size": 576, "num_hidden_layers": 8, "heads": 6},
}
"""Shapes of causal students by `student.size`."""

LONGEST_PROMPT = 1024
"""Tokens of a prompt that a causal student with random weights has positions for, if no setting limits it."""
BIAS_STD = 1.5
"""Standard deviation of fresh relative position biases, in logits."""

_WORD = Regex(r"▁?\([A-Z]\)|▁?\w+(?:['’-]\w+)*|▁?[^\w\s▁]|▁")


def scratch_student(settings: StudentSettings, recipe: Recipe, texts: Iterable[str], seed: int) -> Student:
    """A student with random weights, the same for the same settings, texts and seed.

    Args:
        texts: source of a word-level vocabulary; unused with a SentencePiece file.

    Raises:
        StudentError: the SentencePiece file is missing or unreadable.
    """
    tokenizer = (
        word_tokenizer(texts) if settings.sentencepiece is None else sentencepiece_tokenizer(settings.sentencepiece)
    )
    if settings.family == "causal":
        return Student(place(_fresh_causal(settings, recipe, tokenizer, seed)), tokenizer, recipe)
    config = T5Config(
        vocab_size=-(-len(tokenizer) // 8) * 8,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        dropout_rate=settings.dropout,
        **SHAPES[settings.size],
    )
    config.decoder_start_token_id = tokenizer.pad_token_id
    seed_torch(seed, "weights")
    return Student(place(_fresh_t5(config)), tokenizer, recipe)


def _fresh_t5(config: T5Config) -> T5ForConditionalGeneration:
    """A T5 that learns from scratch: three departures from the library's initial weights (docs/DECISIONS.md).

    1. The output layer is not tied to the embeddings. (transformers 5 ties them regardless of the
       arguments of T5's config, so the attributes are set on the finished config; models saved this way load
       untied, also in transformers 4.)
    2. The output layer starts small; otherwise the first losses would be several times log(vocabulary).
    3. The relative position biases start wide, so that attention can tell near from far at once: a step moves
       them by only about the learning rate, which is too little for a short training.
    """
    config.tie_word_embeddings = False
    config.scale_decoder_outputs = False
    model = T5ForConditionalGeneration(config)
    model.set_input_embeddings(model.shared)
    torch.nn.init.normal_(model.lm_head.weight, std=config.d_model**-0.5)
    for stack in (model.encoder, model.decoder):
        torch.nn.init.normal_(
            cast(Any, stack).block[0].layer[0].SelfAttention.relative_attention_bias.weight, std=BIAS_STD
        )
    return model


def _fresh_causal(
    settings: StudentSettings, recipe: Recipe, tokenizer: PreTrainedTokenizerBase, seed: int
) -> Qwen3ForCausalLM:
    """A small decoder of Qwen3's architecture: rotary positions, normalised queries and keys, gated feed-forward."""
    shape = dict(CAUSAL_SHAPES[settings.size])
    heads = shape.pop("heads")
    config = Qwen3Config(
        vocab_size=-(-len(tokenizer) // 8) * 8,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=(recipe.max_prompt_tokens or LONGEST_PROMPT) + recipe.most_written,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        attention_dropout=settings.dropout,
        tie_word_embeddings=False,
        **shape,
    )
    seed_torch(seed, "weights")
    return Qwen3ForCausalLM(config)


def word_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A vocabulary of whole words, punctuation marks and option labels; unknown words become `<unk>`.

    Spacing is kept exactly, except that a run of white space becomes one space. So a student's text reads
    like its targets.
    """
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="always", split=False),
            pre_tokenizers.Split(_WORD, behavior="isolated"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always", split=False)
    labels = "".join(f" ({label}) {label}" for label in LABELS)
    trainer = trainers.WordLevelTrainer(
        vocab_size=32_000, special_tokens=["<pad>", "</s>", "<unk>"], show_progress=False
    )
    tokenizer.train_from_iterator([*texts, labels], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def sentencepiece_tokenizer(file: Path) -> PreTrainedTokenizerBase:
    """T5's tokenizer with the vocabulary of a SentencePiece file. Raises StudentError."""
    refuse_absent_vocabulary(file)
    with tempfile.TemporaryDirectory() as folder:
        try:
            shutil.copy(file, Path(folder) / "spiece.model")
            tokenizer: PreTrainedTokenizerBase = T5Tokenizer.from_pretrained(folder, extra_ids=0)
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            reason = str(error).split("\n")[0]
            raise StudentError(
                f"student.sentencepiece: found {file} unreadable ({reason}), expected a vocabulary"
            ) from None
    return tokenizer
