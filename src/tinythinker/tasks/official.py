"""Where a benchmark's official files come from: a folder of yours, or the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tinythinker.core.errors import DataError
from tinythinker.settings.schema import RunSettings
from tinythinker.tasks.benchmark import Entry
from tinythinker.tasks.choice_jsonl import from_hub

T = TypeVar("T")


def files_in(folder: Path, title: str, *choices: Sequence[str]) -> list[Path]:
    """The official files in `data_dir`.

    Args:
        title: the benchmark, for people.
        choices: file names; of each choice the first one that exists is taken.

    Raises:
        DataError: a file is missing.
    """
    found = []
    for names in choices:
        there = [folder / name for name in names if (folder / name).is_file()]
        if not there:
            wanted = ", ".join(names[0] for names in choices)
            raise DataError(f"data_dir {folder}: found no {' or '.join(names)}, expected the {title} files {wanted}")
        found.append(there[0])
    return found


def fetch(settings: RunSettings, title: str, files: str, source: str, get: Callable[[], T]) -> T:
    """Ask the Hugging Face Hub.

    Args:
        title: the benchmark, for people.
        files: its official files, for people.
        source: address where these files are, besides the Hub.
        get: does the asking.

    Raises:
        DataError: the Hub does not answer; says what to do instead.
    """
    try:
        return get()
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0][:200]
        raise DataError(
            f"task {settings.task}: found no data_dir, and the Hugging Face Hub did not answer ({reason}); expected a "
            f"network, or data_dir=FOLDER with the official {title} files {files} (from {source})"
        ) from None


def hub_splits(name: str, config: str | None, splits: Sequence[str]) -> list[list[Entry]]:
    """The entries of some splits of a Hub data set. Raises DataError."""
    from datasets import load_dataset  # seconds to import, and seldom needed

    data = load_dataset(name, config)
    return [from_hub(data[split]) for split in splits]


def hub_file(name: str, file: str) -> Path:
    """One file of a Hub data set, on the local disk."""
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(name, file, repo_type="dataset"))
