"""Where a benchmark's official files come from: a folder of yours, or the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from tinythinker.core.errors import DataError
from tinythinker.core.formats import Json
from tinythinker.settings.schema import DataSettings, RunSettings
from tinythinker.tasks.benchmark import Entry
from tinythinker.tasks.tables.rows import Line, Sheet, read_rows
from tinythinker.tasks.tables.tables import read_tables

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


def read_official(path: Path) -> list[Entry]:
    """Every question of an official file, with its fact or facts; hidden answers are None.

    Raises:
        DataError: a question is wrong; the message names file and line.
    """
    return _entries(read_rows(path))


def from_hub(rows: Iterable[Json]) -> list[Entry]:
    """Every question of a Hugging Face version: the same content in other columns. Raises DataError."""
    return _entries(Sheet("row", "Hugging Face Hub", [Line(number, row) for number, row in enumerate(rows)]))


def _entries(sheet: Sheet) -> list[Entry]:
    (table,) = read_tables([(sheet, "")], DataSettings())
    return list(table.whole)


def hub_splits(name: str, config: str | None, splits: Sequence[str]) -> list[list[Entry]]:
    """The entries of some splits of a Hub data set. Raises DataError."""
    from datasets import load_dataset  # seconds to import, and seldom needed

    data = load_dataset(name, config)
    return [from_hub(data[split]) for split in splits]


def hub_file(name: str, file: str) -> Path:
    """One file of a Hub data set, on the local disk."""
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(name, file, repo_type="dataset"))
