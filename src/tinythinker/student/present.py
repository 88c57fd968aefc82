"""Is what a student is made of there? Checked without torch, before any work is done or paid for."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from ssl import SSLError
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tinythinker.core.errors import StudentError
from tinythinker.core.files import read_json
from tinythinker.settings.schema import StudentSettings

RECIPE_FILE = "tinythinker.json"
"""Lies next to the weights of a student that this package has saved."""
_MODEL_FILES = ("config.json", "adapter_config.json")


def refuse_absent_student(settings: StudentSettings) -> None:
    """Raise StudentError if the folder, file or package that a student needs is not there.

    A name on the Hugging Face Hub passes if there is a network; whether it exists shows when it is loaded.
    """
    if settings.lora is not None:
        refuse_absent_peft()
    if settings.init == "scratch":
        if settings.sentencepiece is not None:
            refuse_absent_vocabulary(settings.sentencepiece)
        return
    wanted = "a folder made by save_pretrained or, with a network, a Hugging Face name"
    _refuse_absent_model(settings.name, wanted, "student.init=scratch needs neither")


def refuse_no_student(name: str) -> None:
    """Raise StudentError if there is neither a trained student nor a pretrained model of this name or folder."""
    if not (Path(name) / RECIPE_FILE).is_file():
        wanted = "a run directory, a student's folder or, with a network, a Hugging Face name"
        _refuse_absent_model(name, wanted, "a student's folder is such as RUN/phase-1/student")


def _refuse_absent_model(name: str, wanted: str, hint: str) -> None:
    folder = Path(name)
    if folder.is_dir():
        if any((folder / file).is_file() for file in _MODEL_FILES):
            return
        found = f"no {_MODEL_FILES[0]} in it"
    elif _is_path(name):
        found = "no such folder"
    elif not _is_at_hand(name):
        found = "it neither on this machine nor a network to download it"
    else:
        return
    raise StudentError(f"student {name}: found {found}, expected {wanted}; {hint}")


def is_causal_folder(folder: Path) -> bool:
    """Does a student's folder hold a causal model, or adapters for one? Raises DataError."""
    whole, adapters = (folder / name for name in _MODEL_FILES)
    if whole.is_file():
        return not read_json(whole).get("is_encoder_decoder", False)
    return read_json(adapters).get("task_type") == "CAUSAL_LM"


def is_in_hub_cache(name: str) -> bool:
    """Is a model of this name in the local cache of the Hugging Face Hub, and no folder of this name here?"""
    from huggingface_hub import try_to_load_from_cache

    if _is_path(name) or Path(name).exists():
        return False
    return any(isinstance(try_to_load_from_cache(name, file), str) for file in _MODEL_FILES)


def refuse_absent_peft() -> None:
    """Raise StudentError if the optional package peft is not installed."""
    if find_spec("peft") is None:
        raise StudentError(
            "student.lora.rank: found no package peft, expected it; install it with `pip install 'tinythinker[peft]'`"
        )


def refuse_absent_vocabulary(file: Path) -> None:
    """Raise StudentError if a SentencePiece file is not there."""
    if not file.is_file():
        raise StudentError(f"student.sentencepiece: found no file {file}, expected a SentencePiece vocabulary")


def _is_path(name: str) -> bool:
    """Can this be no name on the Hub, which is NAME or OWNER/NAME?"""
    return name.count("/") > 1 or name.startswith((".", "/", "~", "\\")) or name.endswith("/")


def _is_at_hand(name: str) -> bool:
    """Is a model of the Hub in the cache, or can the Hub be reached? The library itself would try for half a minute."""
    from huggingface_hub import hf_hub_url

    if is_in_hub_cache(name):
        return True
    if any(os.environ.get(word, "0").upper() in ("1", "TRUE", "YES", "ON") for word in _OFFLINE):
        return False
    try:
        asked = Request(hf_hub_url(name, _MODEL_FILES[0]), method="HEAD")
        urlopen(asked, timeout=_PATIENCE_SECONDS).close()
    except HTTPError:  # it answers; whether it knows the name shows when the model is loaded
        return True
    except OSError as error:
        return isinstance(getattr(error, "reason", None), SSLError)  # the library may trust other certificates
    return True


_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Variables that tell the library to use no network."""
_PATIENCE_SECONDS = 10
