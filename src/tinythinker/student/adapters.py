"""Low-rank adapters (LoRA) on a student's frozen weights. Source: Hu et al. 2021, arXiv:2106.09685."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

from safetensors import SafetensorError
from transformers import PreTrainedModel

from tinythinker.core.errors import StudentError, expected, first_line, is_out_of_memory
from tinythinker.core.seeds import seed_torch
from tinythinker.settings.schema import LoraSettings
from tinythinker.student.present import refuse_absent_peft

ADAPTER_FILE = "adapter_config.json"


def require_peft() -> Any:
    """The optional package peft. Raises StudentError if it is not installed."""
    refuse_absent_peft()
    import peft

    return peft


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide peft's warnings to its direct users: names that will change, flags that it corrects itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def add_adapters(model: PreTrainedModel, how: LoraSettings, seed: int) -> PreTrainedModel:
    """The model with fresh adapters, which change nothing yet; its other weights are frozen.

    Raises:
        StudentError: peft is not installed, or the model has no layers with these names.
    """
    peft = require_peft()
    if is_adapted(model):
        return model
    seed_torch(seed, "adapters")
    config = peft.LoraConfig(
        task_type="SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM",
        r=how.rank,
        lora_alpha=how.alpha,
        lora_dropout=how.dropout,
        target_modules="all-linear" if how.targets is None else list(how.targets),
    )
    try:
        with _quiet():
            return cast(PreTrainedModel, peft.get_peft_model(model, config))
    except ValueError as error:
        reason = str(error).split("\n")[0]
        found = list(how.targets or ())
        raise StudentError(
            expected("student.lora.targets", found, f"names of layers of a {model.config.model_type} model ({reason})")
        ) from None


def is_adapted(model: PreTrainedModel) -> bool:
    """Does the model have adapters?"""
    return hasattr(model, "peft_config")


def merged(model: PreTrainedModel) -> PreTrainedModel:
    """The model with its adapters merged into its weights, all of which are trainable again."""
    with _quiet():
        whole = cast(PreTrainedModel, cast(Any, model).merge_and_unload())
    whole.requires_grad_(True)
    return whole


def load_adapters(base: PreTrainedModel, folder: str) -> PreTrainedModel:
    """The base model with the adapters saved in a folder, ready for more training. Raises StudentError."""
    with _quiet(), _folder_errors(folder):
        return cast(PreTrainedModel, require_peft().PeftModel.from_pretrained(base, folder, is_trainable=True))


def base_of(folder: Path) -> str | None:
    """Name of the base model of a folder's adapters; None if it holds whole weights. Raises StudentError."""
    if not (folder / ADAPTER_FILE).is_file():
        return None
    with _folder_errors(folder):
        return str(require_peft().PeftConfig.from_pretrained(str(folder)).base_model_name_or_path)


@contextmanager
def _folder_errors(folder: str | Path) -> Iterator[None]:
    """Turn the libraries' errors about a damaged folder into a one-line StudentError."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, UnpicklingError) as error:
        if is_out_of_memory(error):
            raise
        reason = first_line(error)
        raise StudentError(
            f"student {folder}: found damaged adapters ({reason}), expected adapters saved by a training"
        ) from None


def merged_from(model: PreTrainedModel, adapters: Path) -> PreTrainedModel:
    """A model that has adapters, with those of a folder in their place and made part of its weights."""
    from safetensors.torch import load_file

    require_peft().set_peft_model_state_dict(model, load_file(adapters / "adapter_model.safetensors"))
    return merged(model)
