"""What kind of model a student's name stands for, as far as this machine knows. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tinythinker.core.errors import DataError
from tinythinker.core.files import Json, read_json

Family = Literal["seq2seq", "causal"]


def family_of(name: str) -> Family | None:
    """The family of a pretrained model, by its configuration; None if this machine has none, or it does not say.

    Args:
        name: a folder, or a Hugging Face name, which is looked up among what has been downloaded.
    """
    config = _config(name)
    if config is None:
        return None
    kinds = config.get("architectures")
    if config.get("is_encoder_decoder") is True:
        return "seq2seq"
    if not isinstance(kinds, list) or not kinds:
        return None
    return "causal" if str(kinds[0]).endswith(("ForCausalLM", "LMHeadModel")) else "seq2seq"


def file_of(name: str, file: str) -> Path | None:
    """A file of a model's folder or, of a Hugging Face name, of its copy on this machine; None if it is not there."""
    if Path(name).is_dir():
        return Path(name) / file if (Path(name) / file).is_file() else None

    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, file)
    except HFValidationError:  # a path, not a name
        return None
    return Path(found) if isinstance(found, str) else None


def _config(name: str) -> Json | None:
    """A model's configuration; that of the model below, if it is a folder of adapters."""
    if (file := file_of(name, "config.json")) is not None:
        return _read(file)
    adapters = file_of(name, "adapter_config.json")
    base = (_read(adapters) or {}).get("base_model_name_or_path") if adapters is not None else None
    return _config(base) if isinstance(base, str) and base != name else None


def _read(file: Path) -> Json | None:
    try:
        return read_json(file)
    except DataError:  # loading the model complains of it
        return None
