"""The run directory: every path in it, and the manifest that says how it came about."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout
from pydantic import Field, ValidationError

from tinythinker.core.errors import DataError, SettingsError
from tinythinker.core.files import Json, describe, file_errors, read_json, write_json
from tinythinker.core.records import Record

VERBS = ("teach", "train", "reflect", "evaluate")
"""The verbs that fill a run directory, in order; each builds on all before it."""

Flat = Mapping[str, object]
"""Settings as `{"reflect.beta": 0.5, ...}`, plain JSON values."""


class Manifest(Record):
    """What a run was made with."""

    settings: Json
    """All settings as resolved from defaults, preset, file and overrides."""
    begun: dict[str, Json] = Field(default_factory=dict)
    """The settings each verb began its work with; they bind every later call of that verb."""
    versions: dict[str, str] = Field(default_factory=dict)
    git: str | None = None
    """Commit of the working directory's repository, with `+changes` if it was not clean."""
    inputs: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of every file the questions and rationales were read from."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Wall-clock seconds each verb worked, summed over its calls."""


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes. Raises DataError."""
    with file_errors(path):
        return hashlib.sha256(path.read_bytes()).hexdigest()


def _versions() -> dict[str, str]:
    names = ("tinythinker", "torch", "transformers", "tokenizers", "accelerate", "numpy", "openai")
    return {name: metadata.version(name) for name in names}


def _git() -> str | None:
    def ask(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return ask("rev-parse", "HEAD") + ("+changes" if ask("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


class Bound(NamedTuple):
    """The settings that may not change under finished work."""

    by_verb: Mapping[str, Flat]
    """For every verb the flattened settings that decide its outcome."""
    defaults: Flat
    """Of all settings: what a run had that was begun before a setting existed."""


def differences(before: Flat, now: Flat, defaults: Flat | None = None) -> list[str]:
    """One `key: was X, now Y` for every setting that is not the same."""
    was = {**{key: own for key, own in (defaults or {}).items() if key in now}, **before}
    keys = [*before, *(key for key in now if key not in before)]
    return [f"{k}: was {was.get(k)!r}, now {now.get(k)!r}" for k in keys if was.get(k) != now.get(k)]


@contextmanager
def alone_in(folder: Path, lock: Path) -> Iterator[None]:
    """Keep other processes from working in a folder; the lock is gone with the process that holds it.

    Raises:
        DataError: another process is at work there.
    """
    with file_errors(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout:
        raise DataError(
            f"{folder}: found another process at work in it, expected to be alone; wait for it or stop it"
        ) from None


class RunDirectory:
    """Names every file of a run. Nothing else builds a path inside one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest_file = root / "manifest.json"
        self.rationales = root / "teacher" / "rationales.jsonl"
        self.rejected = root / "teacher" / "rejected.jsonl"
        self.usage = root / "teacher" / "usage.json"
        self.quality = root / "teacher" / "quality.json"
        self.completions = root / "teacher" / "completions.jsonl"
        self.batches = root / "teacher" / "batches"
        self.phase_1 = root / "phase-1"
        self.verdicts_folder = root / "verdicts"
        self.probes = root / "probes"
        self.report = root / "report.html"

    def questions(self, split: str) -> Path:
        """Questions of a split: train, valid or test."""
        return self.root / "questions" / f"{split}.jsonl"

    def round(self, number: int) -> Path:
        """Folder of one round of self-reflection, from 1."""
        return self.root / f"round-{number}"

    def rounds(self) -> list[int]:
        """Numbers of the rounds that have a student, in order."""
        return [number for number in self.begun_rounds() if (self.round(number) / "student").exists()]

    def begun_rounds(self) -> list[int]:
        """Numbers of the rounds that have a folder, in order."""
        names = (folder.name.removeprefix("round-") for folder in self.root.glob("round-*"))
        return sorted(int(name) for name in names if name.isdecimal())

    def verdicts(self, name: str) -> Path:
        """Verdicts of one student, split and way of answering, such as `round-1.test.greedy`."""
        return self.verdicts_folder / f"{name}.jsonl"

    def made_by(self, verb: str) -> list[Path]:
        """What a verb makes, and what starting it over deletes: never what was paid for, nor what it cost."""
        made: dict[str, list[Path]] = {
            "teach": [self.root / "questions", self.rationales, self.rejected, self.quality],
            "train": [self.phase_1],
            "reflect": [self.round(number) for number in self.begun_rounds()],
            "evaluate": [self.verdicts_folder, self.probes, self.report],
        }
        return made[verb]

    @property
    def exists(self) -> bool:
        """Has this directory been started?"""
        return self.manifest_file.is_file()

    def manifest(self) -> Manifest:
        """Read the manifest. Raises DataError where there is none or it is damaged."""
        if not self.exists:
            raise DataError(
                f"{self.root}: found no manifest.json, expected a run directory made by `tinythinker teach` or `run`"
            )
        try:
            return Manifest.model_validate(read_json(self.manifest_file))
        except ValidationError as error:
            raise DataError(f"{self.manifest_file}: {describe(error)}") from None

    def save(self, manifest: Manifest) -> None:
        """Write the manifest, whole or not at all."""
        write_json(self.manifest_file, manifest.model_dump(mode="json"))

    def begin(self, verb: str, settings: Json, bound: Bound, *, force: bool = False) -> None:
        """Register the settings a verb works with, or refuse if finished work was made with others.

        Args:
            verb: one of `VERBS`.
            settings: all settings, kept in the manifest.
            bound: those of them that may not change.
            force: delete what this and all later verbs made, and start over.

        Raises:
            SettingsError: this or an earlier verb began with other settings; the message says which differ.
            DataError: the directory cannot be read or written.
        """
        if self.root.exists() and not self.exists and (not self.root.is_dir() or any(self.root.iterdir())):
            raise SettingsError(
                f"{self.root}: found other files and no manifest.json, expected a new, empty or run directory"
            )
        manifest = self.manifest() if self.exists else Manifest(settings=settings)
        again = VERBS[VERBS.index(verb) :] if force else ()
        begun = {other: own for other, own in manifest.begun.items() if other not in again}
        seconds = {other: own for other, own in manifest.seconds.items() if other not in again}
        self.refuse_changes(begun, bound)
        for other in again:
            for path in self.made_by(other):
                _remove(path)
        begun[verb] = dict(bound.by_verb[verb])
        state = {"settings": settings, "begun": begun, "seconds": seconds, "versions": _versions(), "git": _git()}
        self.save(manifest.model_copy(update=state))

    def refuse_changes(self, begun: Mapping[str, Flat], bound: Bound) -> None:
        """Raise SettingsError if a verb began with other settings than these."""
        for verb in VERBS:
            if verb in begun and (changed := differences(begun[verb], bound.by_verb[verb], bound.defaults)):
                raise SettingsError(
                    f"{self.root}: `{verb}` was begun with other settings ({'; '.join(changed)}); use the same "
                    f"settings, another directory, or `{verb}` with --force to start over from there"
                    + (" (completions already received are kept)" if self.completions.exists() else "")
                )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from working here, so that nothing is asked for, and paid for, twice.

        Raises:
            DataError: another process is at work here.
        """
        with alone_in(self.root, self.root / "teacher" / ".lock"):
            yield

    def refuse_changed_inputs(self) -> None:
        """Raise SettingsError if a file that the run was made from is there and has changed since."""
        for name, digest in self.manifest().inputs.items():
            if Path(name).is_file() and sha256(Path(name)) != digest:
                raise SettingsError(
                    f"{self.root}: found {name} changed since `teach` read it, expected the same; use another "
                    "directory, or --force to start over from it"
                    + (" (completions already received are kept)" if self.completions.exists() else "")
                )

    def add_inputs(self, files: Iterable[Path]) -> None:
        """Record the hashes of files the run was made from."""
        manifest = self.manifest()
        hashes = {str(path): sha256(path) for path in files}
        self.save(manifest.model_copy(update={"inputs": manifest.inputs | hashes}))

    def add_seconds(self, verb: str, seconds: float) -> None:
        """Add to the time a verb has worked."""
        manifest = self.manifest()
        total = manifest.seconds | {verb: round(manifest.seconds.get(verb, 0.0) + seconds, 2)}
        self.save(manifest.model_copy(update={"seconds": total}))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
