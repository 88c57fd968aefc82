"""Data sets of the Hugging Face Hub as tables: `hub:OWNER/NAME[/CONFIG][@REVISION]`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from tinythinker.core.errors import DataError, SettingsError, expected, first_line
from tinythinker.settings.schema import HUB
from tinythinker.tasks.tables.rows import Line, Sheet, as_json

_NAME = re.compile(r"(?P<repository>[^/@\s]+/[^/@\s]+)(?:/(?P<config>[^/@\s]+))?(?:@(?P<revision>[^/@\s]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubData(NamedTuple):
    """A data set as it was at one revision."""

    sheets: Mapping[str, Sheet]
    """By the data set's own names of its splits."""
    name: str
    """`hub:OWNER/NAME[/CONFIG]`."""
    revision: str
    """Commit of the data set; `unknown` if neither the Hub nor the local copy says it."""


def read_hub(task: str) -> HubData:
    """Every split of a data set, at the newest revision unless the task names one.

    Raises:
        SettingsError: the task does not have that form.
        DataError: neither the Hub nor the local cache has the data set.
    """
    match = _NAME.fullmatch(task.removeprefix(HUB))
    if match is None:
        raise SettingsError(expected("task", task, "hub:OWNER/NAME, hub:OWNER/NAME/CONFIG, and @REVISION if you like"))
    repository, config = str(match["repository"]), match["config"]
    name = f"{HUB}{repository}{f'/{config}' if config else ''}"

    from datasets import ClassLabel, load_dataset  # seconds to import, and seldom needed

    revision = match["revision"] or _newest(repository)
    try:
        data = load_dataset(repository, config, revision=revision)
    except Exception as error:  # noqa: BLE001 (the library that carries the request has errors of its own)
        raise DataError(
            f"{name}: found no such data set ({first_line(error)}), expected one on the Hugging Face Hub and a "
            "network, or a copy in the local cache; a file of questions needs neither"
        ) from None
    sheets = {}
    for split, rows in data.items():
        named = {column: kind.int2str for column, kind in rows.features.items() if isinstance(kind, ClassLabel)}
        where = f"{name}/{split}"
        lines = [
            Line(number, {column: _value(value, named.get(column)) for column, value in row.items()})
            for number, row in enumerate(rows, start=1)
        ]
        sheets[str(split)] = Sheet(where, f"Hugging Face Hub, revision {revision or _cached(rows)}", lines)
        revision = revision or _cached(rows)
    return HubData(sheets, name, revision or "unknown")


def _value(value: object, name_of: Callable[[int], str] | None) -> JsonValue:
    """A value as JSON; a class by its name, where it has one."""
    return name_of(value) if name_of is not None and isinstance(value, int) and value >= 0 else as_json(value)


def _newest(repository: str) -> str | None:
    """The commit that the Hub has now; None if it does not answer, and the local cache must do."""
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_OFFLINE

    try:
        return None if HF_HUB_OFFLINE else HfApi().dataset_info(repository).sha
    except Exception:  # noqa: BLE001 (the library that carries the request has errors of its own)
        return None


def _cached(rows: object) -> str | None:
    """The commit of a copy in the local cache, whose folder bears its name."""
    files = getattr(rows, "cache_files", None) or [{"filename": ""}]
    folder = Path(str(files[0]["filename"])).parent.name
    return folder if _COMMIT.fullmatch(folder) else None
