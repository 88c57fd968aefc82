"""The student: a Hugging Face model of either family, its tokenizer, and how it was taught to reason."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from tinythinker.core.errors import StudentError
from tinythinker.core.files import describe, read_json, whole_folder, write_json
from tinythinker.core.records import Record
from tinythinker.core.seeds import derive_seed
from tinythinker.settings.schema import GenerateSettings, StageSettings, StudentSettings
from tinythinker.stages.template import Template
from tinythinker.student.adapters import add_adapters, base_of, is_adapted, load_adapters, merged

# Loading bars and advice of the library would drown what the user asked to see.
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

_RECIPE = "tinythinker.json"
_DROPOUTS = "dropout_rate dropout attention_dropout attn_pdrop embd_pdrop resid_pdrop".split()
"""What the families call it in their configurations."""


@contextmanager
def tensor_file_errors(path: Path) -> Iterator[None]:
    """Turn the tensor libraries' own failures to write (a full disk, mostly) into the usual data errors."""
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        raise OSError(None, str(error).strip().split("\n")[0]) from None


class Lora(Record):
    """How adapters are trained instead of all weights (`student.lora_*`)."""

    rank: int
    alpha: float
    dropout: float
    targets: tuple[str, ...] | None
    save: Literal["merged", "adapter"]


class Recipe(Record):
    """How a student was taught; saved beside its weights, so that it can be asked in the same words."""

    stages: StageSettings
    generate: GenerateSettings
    max_prompt_tokens: int
    max_target_tokens: int
    chat_template: bool = False
    """Causal students: are prompts the user's turn in the tokenizer's chat template?"""
    lora: Lora | None = None
    """None: all weights are trained."""

    @property
    def most_written(self) -> int:
        """Tokens of the longest text that a student writes in one go."""
        return max(self.max_target_tokens, self.generate.max_recall_tokens, self.generate.max_analysis_tokens)

    @property
    def template(self) -> Template:
        """The prompt grammar it was taught in."""
        return Template(self.stages.template)


class Student:
    """A model with its tokenizer and recipe."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.recipe = recipe

    @property
    def is_causal(self) -> bool:
        """Is it a decoder-only model (GPT-2, Llama, Qwen), and not an encoder-decoder (T5)?"""
        return not self.model.config.is_encoder_decoder

    @property
    def pad_id(self) -> int:
        """The token that fills up rows; masked wherever it does."""
        return int(self.tokenizer.pad_token_id or 0)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    def count_parameters(self) -> int:
        """Number of weights, shared ones once."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def adapt(self, seed: int, training: str) -> None:
        """Put adapters around the weights if it is taught with some and has none yet. Raises StudentError.

        Args:
            training: its name, such as `round-1`; every training draws fresh adapters of its own.
        """
        if self.recipe.lora is not None:
            self.model = add_adapters(self.model, self.recipe, derive_seed(seed, training))

    def save(self, folder: Path) -> None:
        """Write a plain Hugging Face folder (with adapters: those alone), whole or not at all. Raises DataError."""
        with whole_folder(folder) as temporary, tensor_file_errors(folder):
            self.model.save_pretrained(temporary)
            self.tokenizer.save_pretrained(temporary)
            write_json(temporary / _RECIPE, self.recipe.model_dump(mode="json"))


def load_student(folder: Path) -> Student:
    """A student saved by this package, on the best device at hand.

    Raises:
        StudentError: the folder is missing or holds no such student.
    """
    if not (folder / _RECIPE).is_file():
        raise StudentError(f"{folder}: found no {_RECIPE}, expected a student folder such as RUN/phase-1/student")
    try:
        recipe = Recipe.model_validate(read_json(folder / _RECIPE))
    except ValidationError as error:
        raise StudentError(f"{folder / _RECIPE}: {describe(error)}") from None
    model, tokenizer = _load_pretrained(str(folder))
    return Student(model, tokenizer, recipe)


def pretrained_student(settings: StudentSettings, recipe: Recipe) -> Student:
    """A fresh student from a Hugging Face name or folder. Raises StudentError."""
    # Adapters saved alone note where their base lies: a folder as it is called from anywhere.
    name = str(Path(settings.name).resolve()) if Path(settings.name).is_dir() else settings.name
    model, tokenizer = _load_pretrained(name, dropout=settings.dropout)
    if is_adapted(model):
        if recipe.lora is not None and recipe.lora.save == "adapter":
            raise StudentError(
                f"student {settings.name}: found a folder of adapters, expected whole weights for new adapters to lie "
                "on; use student.lora_save=merged"
            )
        model = merged(model)
    student = Student(model, tokenizer, recipe)
    if recipe.chat_template and not (student.is_causal and tokenizer.chat_template):
        found = "no chat template in its tokenizer" if student.is_causal else "an encoder-decoder"
        raise StudentError(
            f"student {settings.name}: found {found}, expected a causal student with one, or "
            "student.chat_template=false"
        )
    _refuse_what_is_too_long(settings.name, student)
    return student


def _refuse_what_is_too_long(name: str, student: Student) -> None:
    """Raise StudentError if the recipe's texts are longer than the model has positions for."""
    most = getattr(student.model.config, "max_position_embeddings", None)
    recipe = student.recipe
    read = recipe.max_prompt_tokens
    written = recipe.most_written
    if most is not None and (read + written if student.is_causal else max(read, written)) > most:
        raise StudentError(
            f"student {name}: found prompts of up to {read} tokens and texts of up to {written}, expected them to fit "
            f"into its {most} positions{' together' if student.is_causal else ''}; lower student.max_prompt_tokens, "
            "student.max_target_tokens, generate.max_recall_tokens or generate.max_analysis_tokens"
        )


def place(model: PreTrainedModel) -> PreTrainedModel:
    """The model on a GPU if there is one, else on the CPU."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return cast(Any, model).to(device)  # type: ignore[no-any-return]


def _load_pretrained(name: str, dropout: float | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer; a dropout is set before the model is built, since attention keeps a copy of the number."""
    base = base_of(Path(name))
    if base is not None:
        try:
            model, tokenizer = _load_pretrained(base, dropout)
        except StudentError as error:
            reason = str(error).partition("found nothing that loads (")[2].partition("), expected")[0] or str(error)
            raise StudentError(
                f"student {name}: found adapters whose base {base} does not load ({reason}), expected it where it was "
                "when they were trained; student.lora_save=merged needs no base"
            ) from None
        return load_adapters(model, name), tokenizer
    try:
        config: Any = AutoConfig.from_pretrained(name)
        for field in _DROPOUTS:
            if dropout is not None and isinstance(getattr(config, field, None), float | int):
                setattr(config, field, dropout)
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model = kind.from_pretrained(name, config=config, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0]
        raise StudentError(
            f"student {name}: found nothing that loads ({reason}), expected a folder made by save_pretrained or, with "
            "a network, a Hugging Face name; student.init=scratch needs neither"
        ) from None
    _refuse_what_cannot_learn(name, model, tokenizer)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return place(model), tokenizer


def _refuse_what_cannot_learn(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise StudentError for models that know no end, or cannot be told positions and so read no padded batch."""
    if tokenizer.eos_token_id is None:
        raise StudentError(f"student {name}: found no end-of-sequence token, expected one, so that texts can end")
    is_seq2seq = model.config.is_encoder_decoder
    has_positions = "position_ids" in inspect.signature(model.forward).parameters
    if not is_seq2seq and (not has_positions or getattr(model, "_is_stateful", False)):
        raise StudentError(
            f"student {name}: found a {model.config.model_type} model, expected an encoder-decoder such as T5, or a "
            "decoder with attention and positions such as Qwen, Llama, SmolLM, Gemma or GPT-2"
        )
