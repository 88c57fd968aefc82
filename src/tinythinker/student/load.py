"""Loading students: those saved by this package, and pretrained models by name or folder."""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from tinythinker.core.errors import DataError, StudentError, first_line, is_out_of_memory, is_panic
from tinythinker.core.files import read_record
from tinythinker.core.progress import say
from tinythinker.settings.schema import SHORTEST_PROMPT, GenerateSettings, StageSettings, StudentSettings
from tinythinker.student.adapters import base_of, is_adapted, load_adapters, merged
from tinythinker.student.present import RECIPE_FILE, refuse_no_student
from tinythinker.student.student import Recipe, Student, quiet_library

_DROPOUTS = "dropout_rate dropout attention_dropout attn_pdrop embd_pdrop resid_pdrop".split()
"""Names of the dropout rates in the model families' configurations."""
_MOST_NAMED = 3
"""Tensors that an error names."""


UNTRAINED = Recipe(
    stages=StageSettings(plan="summarize", template="cloze"),
    generate=GenerateSettings(answer="constrained"),
    max_prompt_tokens=None,
    max_target_tokens=StudentSettings().max_target_tokens,
    is_trained=False,
)
"""How a plain pretrained model answers: by the most likely text of an option."""


def load_student(name: str | Path) -> Student:
    """A student, on a GPU if there is one: saved by this package or, untrained, any pretrained model.

    Args:
        name: a folder, or a Hugging Face name.

    Raises:
        StudentError: there is no such student, or it does not load.
    """
    folder = Path(name)
    refuse_no_student(str(name))
    if not (folder / RECIPE_FILE).is_file():
        student = pretrained_student(StudentSettings(name=str(name)), UNTRAINED)
        say(f"{name}: not trained by tinythinker; it answers with the option that is the most likely text")
        return student
    try:
        recipe = read_record(folder / RECIPE_FILE, Recipe)
    except DataError as error:
        raise StudentError(str(error)) from None
    model, tokenizer = _load_pretrained(str(folder))
    return Student(model, tokenizer, recipe)


def pretrained_student(settings: StudentSettings, recipe: Recipe) -> Student:
    """A fresh student from a Hugging Face name or folder. Raises StudentError."""
    # Adapters saved alone record the path of their base, so it must be absolute.
    name = str(Path(settings.name).resolve()) if Path(settings.name).is_dir() else settings.name
    model, tokenizer = _load_pretrained(name, dropout=settings.dropout)
    if is_adapted(model):
        if recipe.lora is not None and recipe.lora.save == "adapter":
            raise StudentError(
                f"student {settings.name}: found a folder of adapters, expected whole weights for new adapters to lie "
                "on; use student.lora.save=merged"
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
    """Raise StudentError if the recipe allows texts longer than the model's positions."""
    most, recipe = student.positions, student.recipe
    read = recipe.max_prompt_tokens or SHORTEST_PROMPT
    written = recipe.most_written
    if most is not None and (read + written if student.is_causal else max(read, written)) > most:
        raise StudentError(
            f"student {name}: found prompts of {read} tokens and texts of up to {written}, expected them to fit "
            f"into its {most} positions{' together' if student.is_causal else ''}; lower student.max_prompt_tokens, "
            "student.max_target_tokens, generate.max_recall_tokens or generate.max_analysis_tokens"
        )


def place(model: PreTrainedModel) -> PreTrainedModel:
    """The model on a GPU if there is one, else on the CPU."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return cast(Any, model).to(device)  # type: ignore[no-any-return]


def _load_pretrained(name: str, dropout: float | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer; dropout is set before the model is built, because attention copies the number."""
    base = base_of(Path(name))
    if base is not None:
        if base_of(Path(base)) is not None:
            raise StudentError(
                f"student {name}: found adapters on top of {base}, which holds adapters too, expected whole weights "
                "there"
            )
        try:
            model, tokenizer = _load_pretrained(base, dropout)
        except StudentError as error:
            reason = str(error).partition("found nothing that loads (")[2].partition("), expected")[0] or str(error)
            raise StudentError(
                f"student {name}: found adapters whose base {base} does not load ({reason}), expected it where it was "
                "when they were trained; student.lora.save=merged needs no base"
            ) from None
        return load_adapters(model, name), tokenizer
    with _loading_errors(name), quiet_library():
        config: Any = AutoConfig.from_pretrained(name, trust_remote_code=False)
        _refuse_foreign_code(name, config)
        for field in _DROPOUTS:
            if dropout is not None and isinstance(getattr(config, field, None), float | int):
                setattr(config, field, dropout)
        kind: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model, loaded = kind.from_pretrained(
            name,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            trust_remote_code=False,
        )
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    _refuse_weights_that_do_not_fit(name, loaded)
    _refuse_what_cannot_learn(name, model, tokenizer)
    _say_the_truth_about_tying(model)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return place(model), tokenizer


def _refuse_foreign_code(name: str, config: PreTrainedConfig) -> None:
    """Raise StudentError if a configuration asks for an attention kernel from the Hub, which is somebody's code."""
    for part in (config, config.get_text_config()):
        wanted = getattr(part, "_attn_implementation", None)
        if isinstance(wanted, str) and "/" in wanted:
            raise StudentError(
                f"student {name}: found attention by the code of {wanted} in its config.json, expected none: no code "
                "of a student is ever run; remove attn_implementation from config.json"
            )


@contextmanager
def _loading_errors(name: str) -> Iterator[None]:
    """Turn whatever the libraries raise about a student's files into a StudentError, except want of memory.

    `Exception`, because they let through every kind: unpicklers, configuration checkers and tokenizers raise their own,
    and the last a bare one.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)  # said of what is then refused
            yield
    except StudentError:
        raise
    except BaseException as error:
        if is_out_of_memory(error) or not (isinstance(error, Exception) or is_panic(error)):
            raise
        reason = first_line(error)
        wanted = "a folder made by save_pretrained or, with a network, a Hugging Face name"
        remedy = "student.init=scratch needs neither"
        if "custom code" in reason:
            reason, remedy = "it needs code of its own", "no code of a student is ever run"
        elif isinstance(error, UnpicklingError):
            remedy = "save the weights as safetensors"
        raise StudentError(
            f"student {name}: found nothing that loads ({reason}), expected {wanted}; {remedy}"
        ) from None


def _say_the_truth_about_tying(model: PreTrainedModel) -> None:
    """Let the configuration say whether the output layer shares the embeddings' weights.

    transformers 5 says of every T5 that it does. Saved like that, a T5 with an output layer of its own loses it in
    transformers 4, which goes by what the configuration says.
    """
    inner, outer = model.get_input_embeddings(), model.get_output_embeddings()
    if model.config.is_encoder_decoder and outer is not None:
        model.config.tie_word_embeddings = inner.weight is outer.weight


def _refuse_weights_that_do_not_fit(name: str, loaded: Mapping[str, Iterable[Any]]) -> None:
    """Raise StudentError if a tensor is missing, unexpected or of another shape: the library would draw it at random.

    Args:
        loaded: what the library reports of loading; tensors that a family may lack or leave out are not in it.
    """
    missing, unexpected = sorted(loaded["missing_keys"]), sorted(loaded["unexpected_keys"])
    misshapen = sorted(str(one[0]) for one in loaded["mismatched_keys"])
    faults = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    if any(faults.values()):
        found = ", ".join(f"{len(names)} tensors {what}" for what, names in faults.items() if names)
        every = [key for keys in itertools.zip_longest(*faults.values()) for key in keys if key]
        named = ", ".join(every[:_MOST_NAMED]) + (" ..." if len(every) > _MOST_NAMED else "")
        raise StudentError(
            f"student {name}: found {found} ({named}), expected the weights of the architecture in its config.json; "
            "copy the folder again, or correct config.json"
        )


def _refuse_what_cannot_learn(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise StudentError for models that cannot end a text or cannot read a padded batch.

    The former have no end-of-sequence token; the latter accept no positions or carry a recurrent state.
    """
    if tokenizer.eos_token_id is None:
        raise StudentError(f"student {name}: found no end-of-sequence token, expected one, so that texts can end")
    is_seq2seq = model.config.is_encoder_decoder
    has_positions = "position_ids" in inspect.signature(model.forward).parameters
    if not is_seq2seq and (not has_positions or getattr(model, "_is_stateful", False)):
        raise StudentError(
            f"student {name}: found a {model.config.model_type} model, expected an encoder-decoder such as T5, or a "
            "decoder with attention and positions such as Qwen, Llama, SmolLM, Gemma or GPT-2"
        )
