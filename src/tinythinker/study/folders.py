"""Where the cells of a study lie: a folder name for every value and method, and the names of older versions."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tinythinker.core.run import RunDirectory, StudyDirectory, differences
from tinythinker.settings.describe import flatten
from tinythinker.settings.resolve import bound_of, load_settings, validate
from tinythinker.study.grid import Grid, Place

_PLAIN = re.compile(r"[a-z0-9_][a-z0-9._+=-]{0,63}(?<!\.)")
_NOT_PLAIN = re.compile(r"seed-.*|(.*-)?[0-9a-f]{8}|(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
"""The folders below a method's, the ends of the names made here, and names that Windows keeps for devices."""


def folder_name(text: str) -> str:
    """The folder of a value or a method: the text itself if any disk can hold it, else with a digest of the text.

    Different texts have different names, also where case does not count.

    >>> folder_name("phase_1"), folder_name("a/b"), folder_name("..")
    ('phase_1', 'a-b-82badf67', 'e6fc5bb9')
    """
    if _PLAIN.fullmatch(text) and not _NOT_PLAIN.fullmatch(text):
        return text
    readable = re.sub(r"[^a-z0-9_+=]+", "-", text.lower()).strip("-")[:40]
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{readable}-{digest}" if readable else digest


def cell_of(grid: Grid, place: Place, directory: StudyDirectory) -> RunDirectory:
    """The run directory of a cell, begun or not; under its name of version 0.1 if that version began it."""
    varied = [] if place.value is None else [folder_name(place.value)]
    cell = directory.cell(Path("cells", *varied, folder_name(place.method), f"seed-{place.seed}"))
    older = _older_folder(place)
    if cell.exists or older is None:
        return cell
    before = directory.cell(older)
    return before if before.root != cell.root and _is_cell(grid, place, before) else cell


def _older_folder(place: Place) -> Path | None:
    """The folder of version 0.1, where different cells could meet; None if it lay outside."""
    varied = [] if place.value is None else [place.value.strip("[]").replace("/", "-").replace(", ", "-")]
    names = [*varied, place.method.replace(" ", "-").replace("/", "-")]
    return None if ".." in names else Path("cells", *names, f"seed-{place.seed}")


def _is_cell(grid: Grid, place: Place, run: RunDirectory) -> bool:
    """Has this run been begun with the settings of the cell?"""
    return run.exists and changes(grid, place, run) is None


def changes(grid: Grid, place: Place, run: RunDirectory) -> list[str] | None:
    """How a run's settings differ from what the grid asks for, as `core.run.differences` says it; None if they do not.

    Compares what the run's verbs began with, and the setting that varies, which may concern none of them.
    """
    settings = load_settings(grid.task, (*grid.overrides(place), *kept_budget(run)))
    manifest = run.manifest()
    if (found := run.changes(manifest.begun, bound_of(settings))) is not None:
        return found[1]
    if grid.vary is None:
        return None
    key = grid.vary[0]
    was, now = (flatten(one.plain()).get(key) for one in (validate(manifest.settings), settings))
    return differences({key: was}, {key: now}) or None


def kept_budget(run: RunDirectory) -> tuple[str, ...]:
    """Settings for the length of phase 1, as computed when it began; empty if it has not begun. Raises DataError."""
    begun = run.manifest().begun.get("train", {}) if run.exists and run.has_work_of("train") else {}
    keys = ("train.epochs", "train.max_steps", "train.validate_every")
    return tuple(f"{key}={'null' if begun[key] is None else begun[key]}" for key in keys if key in begun)
