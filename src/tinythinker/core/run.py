"""The run directory: every path in it, and the manifest that records how it was made."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout
from pydantic import Field, JsonValue, ValidationError

from tinythinker.core.conditions import Conditions
from tinythinker.core.contents import Content, check, sha256, without
from tinythinker.core.errors import DataError, SettingsError, StudentError
from tinythinker.core.files import (
    Json,
    describe,
    file_errors,
    read_json,
    read_record,
    remove,
    temporary_of,
    write_json,
    write_record,
    write_text,
)
from tinythinker.core.records import SPLITS, Record

VERBS = ("teach", "train", "reflect", "evaluate")
"""The verbs that fill a run directory, in order; each builds on all earlier ones."""

Flat = Mapping[str, JsonValue]
"""Settings as `{"reflect.beta": 0.5, ...}`, plain JSON values."""


class Manifest(Record):
    """What a run was made with: settings, versions, input files, time."""

    settings: Json
    """All settings, merged from defaults, preset, file and overrides."""
    begun: dict[str, Json] = Field(default_factory=dict)
    """The settings each verb began with; every later call of that verb must use the same ones."""
    versions: dict[str, str] = Field(default_factory=dict)
    git: str | None = None
    """Commit of the working directory's repository, with `+changes` if it was not clean."""
    inputs: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of every file that questions or rationales were read from, by path; of a data set on the Hugging Face
    Hub its revision, by name."""
    files: dict[str, Content] = Field(default_factory=dict)
    """What the run's finished files hold, by path within the run."""
    conditions: dict[str, tuple[Conditions, ...]] = Field(default_factory=dict)
    """What each verb worked under, from the first time on; a further entry for every change."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Wall-clock seconds per verb, summed over its calls."""


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
    """The settings that must not change once work has been done with them."""

    by_verb: Mapping[str, Flat]
    """For every verb the flattened settings that decide its result."""
    defaults: Flat
    """Of all settings: what a run begun before a setting existed counts as having."""
    upgrade: Callable[[Flat], Flat]
    """Turns settings that an older version wrote down into today's."""

    @property
    def flat(self) -> Flat:
        """The settings of all verbs together."""
        return {key: value for settings in self.by_verb.values() for key, value in settings.items()}


def differences(before: Flat, now: Flat, defaults: Flat | None = None) -> list[str]:
    """One `key: was X, now Y` for every setting that differs."""
    was = {**{key: value for key, value in (defaults or {}).items() if key in now}, **before}
    keys = [*before, *(key for key in now if key not in before)]
    return [f"{k}: was {was.get(k)!r}, now {now.get(k)!r}" for k in keys if was.get(k) != now.get(k)]


class Worker(Record):
    """Who is at work in a folder."""

    verb: str
    pid: int
    host: str
    since: str
    """Local time, such as 2026-11-25 23:10:05."""

    def __str__(self) -> str:
        return f"`{self.verb}`, process {self.pid} on {self.host}, since {self.since}"

    @property
    def is_alive(self) -> bool:
        """Is its process still there, as far as this machine can tell?"""
        if self.host != socket.gethostname() or os.name != "posix":
            return True
        try:
            os.kill(self.pid, 0)
        except OSError as error:
            return not isinstance(error, ProcessLookupError)
        return True


def note_of(lock: Path) -> Path:
    """The file that says who holds a lock."""
    return lock.with_name(f"{lock.name}.json")


@contextmanager
def alone_in(folder: Path, lock: Path, verb: str) -> Iterator[None]:
    """Keep other processes out of a folder while this one works there; the lock ends with the process.

    Args:
        verb: what this process does, for the message that another one gets.

    Raises:
        DataError: another process is working there.
    """
    note = note_of(lock)
    with file_errors(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            now = datetime.now().isoformat(" ", "seconds")
            write_record(note, Worker(verb=verb, pid=os.getpid(), host=socket.gethostname(), since=now))
            try:
                yield
            finally:
                # Whoever opened the file before it went finds it without a name, and tries again (filelock).
                with suppress(OSError):
                    note.unlink(missing_ok=True)
                    lock.unlink(missing_ok=True)
    except Timeout:
        try:
            who = f" ({read_record(note, Worker)})"
        except DataError:  # it is about to begin or to end
            who = ""
        raise DataError(
            f"{folder}: found another process at work in it{who}, expected to be alone; wait for it or stop it"
        ) from None


class TrainingFolder:
    """Names every file of one training: phase 1, or a round of phase 2."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.student = root / "student"
        """The finished student; there only when the training is done."""
        self.best = root / "best"
        """The best student so far, while the training is under way."""
        self.metrics = root / "metrics.jsonl"
        self.data = root / "data.json"

    @property
    def name(self) -> str:
        """What the training is called: `phase-1`, `round-2`."""
        return self.root.name

    @property
    def is_finished(self) -> bool:
        """Has the training left its student here?"""
        return self.student.exists()

    @property
    def results(self) -> list[Path]:
        """Files and folders that later work is based on."""
        return [self.data, self.metrics, self.student]

    @property
    def final(self) -> list[Path]:
        """Those results that will not change any more. Older versions did not write all of them."""
        return self.results if self.is_finished else []

    def checkpoint(self, step: int) -> Path:
        """The checkpoint after a number of optimizer steps."""
        return self.root / f"checkpoint-{step:08d}"

    def checkpoints(self) -> list[Path]:
        """All checkpoints, oldest first."""
        return sorted(self.root.glob("checkpoint-*"))

    def remove_checkpoints(self, before: int | None = None) -> None:
        """Remove the checkpoints of earlier steps; all if `before` is None."""
        for checkpoint in self.checkpoints():
            if before is None or int(checkpoint.name.removeprefix("checkpoint-")) < before:
                remove(checkpoint)

    def remove_leftovers(self) -> None:
        """Remove what a kill at the very end of a finished training left next to its student."""
        self.remove_checkpoints()
        remove(self.best)


class RoundFolder(TrainingFolder):
    """Names every file of one round of self-reflection."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.chains = root / "chains.jsonl"
        """Chains with a sampled recall."""
        self.more_chains = root / "more-chains.jsonl"
        """Those drawn later for uncertain questions (`reflect.sampling=uncertain`)."""
        self.analyze_chains = root / "analyze-chains.jsonl"
        """Chains with sampled analyses."""
        self.counts = root / "counts.json"
        self.pairs = root / "pairs.jsonl"
        """Written last: with it the sampling is done."""
        self.reference = root / "reference.jsonl"
        """Log-probabilities of the pairs under the frozen reference."""

    @property
    def results(self) -> list[Path]:
        """Files and folders that later work is based on."""
        return [self.counts, self.pairs, *super().results]

    @property
    def final(self) -> list[Path]:
        """Those results that will not change any more; pairs are final as soon as they are there."""
        return super().final or ([self.counts, self.pairs] if self.pairs.exists() else [])


class BatchFolder:
    """Names the files of a run's batch jobs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def requests(self, name: str) -> Path:
        """The request file of a job."""
        return self.root / f"{name}.jsonl"

    def state(self, name: str) -> Path:
        """How far a job has got."""
        return self.root / f"{name}.state.json"

    def request_files(self) -> list[Path]:
        """Request files that are out: of jobs that have not been collected, and those exported for you to submit."""
        return sorted(self.root.glob("*.jsonl"))

    def states(self) -> list[Path]:
        """The states of all jobs."""
        return sorted(self.root.glob("*.state.json"))


class RunDirectory:
    """The paths of all files of a run. No other code builds a path inside one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest_file = root / "manifest.json"
        self.lock = root / "teacher" / ".lock"
        self.rationales = root / "teacher" / "rationales.jsonl"
        self.rejected = root / "teacher" / "rejected.jsonl"
        self.usage = root / "teacher" / "usage.json"
        self.quality = root / "teacher" / "quality.json"
        self.completions = root / "teacher" / "completions.jsonl"
        self.batches = BatchFolder(root / "teacher" / "batches")
        self.phase_1 = TrainingFolder(root / "phase-1")
        self.verdicts_folder = root / "verdicts"
        self.probes = root / "probes"
        self.trackers = root / "trackers"
        """What experiment trackers keep on disk."""
        self.report = root / "report.html"
        self.card = root / "card.md"
        self.exports = root / "exports"

    def __fspath__(self) -> str:
        """The folder, so that a run stands wherever a path may stand."""
        return str(self.root)

    def questions(self, split: str) -> Path:
        """File with the questions of a split: train, valid or test."""
        return self.root / "questions" / f"{split}.jsonl"

    def round(self, number: int) -> RoundFolder:
        """One round of self-reflection, from 1."""
        return RoundFolder(self.root / f"round-{number}")

    def rounds(self) -> list[int]:
        """Numbers of the rounds that have a student, in order."""
        return [number for number in self.begun_rounds() if self.round(number).is_finished]

    def begun_rounds(self) -> list[int]:
        """Numbers of the rounds that have a folder, in order."""
        names = (folder.name.removeprefix("round-") for folder in self.root.glob("round-*"))
        return sorted(int(name) for name in names if name.isdecimal())

    def part(self, name: str) -> Path:
        """One folder of the run: `questions`, `teacher`, `phase-1`, `round-1` ..."""
        return self.root / name

    def training(self, name: str) -> TrainingFolder:
        """The training of this name: `phase-1`, `round-2`."""
        return TrainingFolder(self.root / name)

    def trainings(self) -> list[str]:
        """Names of phase 1 and of every finished round, in order."""
        return [self.phase_1.name, *(self.round(number).name for number in self.rounds())]

    def student(self, name: str) -> Path:
        """The student folder of phase 1 or a round.

        Raises:
            StudentError: it is not there.
            DataError: a file in it is not what its training left.
        """
        folder = self.training(name).student
        if not folder.exists():
            raise StudentError(f"{folder}: found no student, expected one; run `tinythinker train {self.root}` first")
        self.refuse_damage(folder)
        return folder

    def same_student(self, name: str) -> str | None:
        """The first training before this one that left the same weights and recipe; None if there is none.

        The trainings of a run share the vocabulary, whose files may be written in another way after loading.
        """
        held = self.manifest().files

        def files_of(training: str) -> Mapping[str, str]:
            start = f"{self.training(training).student.relative_to(self.root).as_posix()}/"
            return {
                file.removeprefix(start): one.sha256
                for file, one in held.items()
                if file.startswith(start) and file.endswith((".safetensors", "tinythinker.json"))
            }

        names = self.trainings()
        own = files_of(name)
        return next((other for other in names[: names.index(name)] if own and files_of(other) == own), None)

    def verdicts(self, name: str) -> Path:
        """Verdicts of one student, split and way of answering; a name is, say, `round-1.test.greedy`."""
        return self.verdicts_folder / f"{name}.jsonl"

    def verdicts_files(self) -> set[Path]:
        """All files of verdicts, with those that were finished once and are gone. Raises DataError.

        Without their folder there are none: whoever removes the folder means it.
        """
        if not self.verdicts_folder.is_dir():
            return set()
        known = (self.root / name for name in self.manifest().files)
        return {
            *self.verdicts_folder.glob("*.*.*.jsonl"),
            *(file for file in known if file.parent == self.verdicts_folder),
        }

    def probe(self, student: str, split: str) -> Path:
        """What a probe of one student found."""
        return self.probes / f"{student}.{split}.json"

    def tracked(self, training: str) -> Path:
        """What experiment trackers keep of a training, and what they have been sent."""
        return self.trackers / training

    def inner_runs(self) -> list[RunDirectory]:
        """Run directories that lie directly inside this one, by name."""
        return [RunDirectory(file.parent) for file in sorted(self.root.glob("*/manifest.json"))]

    def made_by(self, verb: str) -> list[Path]:
        """What a verb makes and starting over deletes, which excludes paid answers and what they cost."""
        made: dict[str, list[Path]] = {
            "teach": [self.root / "questions", self.rationales, self.rejected, self.quality],
            "train": [self.phase_1.root, self.tracked(self.phase_1.name)],
            "reflect": [
                *(self.round(number).root for number in self.begun_rounds()),
                *sorted(self.trackers.glob("round-*")),
            ],
            "evaluate": [self.verdicts_folder, self.probes, self.report, self.card],
        }
        return made[verb]

    @property
    def exists(self) -> bool:
        """Has a verb begun in this directory?"""
        return self.manifest_file.is_file()

    def manifest(self) -> Manifest:
        """Read the manifest. Raises DataError if it is missing or damaged."""
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

    def refuse_foreign(self) -> None:
        """Raise SettingsError if this is neither a run directory nor new, empty, or just being made into one."""
        if self.exists:
            return
        note = note_of(self.lock)
        own = {self.lock.parent, self.lock, note, *map(temporary_of, (note, self.manifest_file)), self.manifest_file}
        is_other = self.root.exists() and not self.root.is_dir()
        is_other = is_other or any(path not in own for path in self.root.rglob("*"))
        if is_other and not self.exists:  # asked again, because another process may have made the run meanwhile
            raise SettingsError(
                f"{self.root}: found other files and no manifest.json, expected a new, empty or run directory"
            )

    def begin(self, verb: str, settings: Json, bound: Bound, *, force: bool = False) -> None:
        """Record the settings a verb works with, or refuse them if earlier work used different ones.

        Args:
            verb: one of `VERBS`.
            settings: all settings, stored in the manifest.
            bound: those settings that must not change.
            force: delete the results of this and all later verbs, and start over.

        Raises:
            SettingsError: a verb began with other settings; the message says which differ.
            DataError: the directory cannot be read or written.
        """
        self.refuse_foreign()
        manifest = self.manifest() if self.exists else Manifest(settings=settings)
        again = VERBS[VERBS.index(verb) :] if force else ()
        kept = {name: getattr(manifest, name) for name in ("begun", "seconds", "conditions")}
        kept = {name: {other: one for other, one in by.items() if other not in again} for name, by in kept.items()}
        self.refuse_changes(kept["begun"], bound)
        files = manifest.files
        for other in again:
            for path in self.made_by(other):
                remove(path)
                files = without(files, self._name(path))
        kept["begun"][verb] = dict(bound.by_verb[verb])
        state = {**kept, "settings": settings, "files": files, "versions": _versions(), "git": _git()}
        self.save(manifest.model_copy(update=state))

    def withdraw(self, verb: str, before: Manifest) -> None:
        """Take back the settings of a verb that failed before it made anything; does nothing if it made something."""
        if not self.has_work_of(verb):
            self.save(self.manifest().model_copy(update={"settings": before.settings, "begun": before.begun}))

    def release(self, verb: str) -> None:
        """Forget that a verb has begun, so that its settings may be others next time; keeps all that it made."""
        manifest = self.manifest()
        begun = {name: settings for name, settings in manifest.begun.items() if name != verb}
        self.save(manifest.model_copy(update={"begun": begun}))

    def has_work_of(self, verb: str) -> bool:
        """Has a verb left anything that its settings decided? If not, other settings may replace them."""
        if verb == "teach":
            return any(path.exists() for path in (self.root / "questions", self.completions, self.batches.root))
        return any(path.exists() for path in self.made_by(verb))

    def changes(self, begun: Mapping[str, Flat], bound: Bound) -> tuple[str, list[str]] | None:
        """The first verb that began with other settings than these, and how they differ; None if none did."""
        for verb in filter(self.has_work_of, VERBS):
            before = bound.upgrade(begun.get(verb, {}))
            if before and (changed := differences(before, bound.by_verb[verb], bound.defaults)):
                return verb, changed
        return None

    def refuse_changes(self, begun: Mapping[str, Flat], bound: Bound) -> None:
        """Raise SettingsError if a verb began with other settings than these."""
        if (found := self.changes(begun, bound)) is not None:
            verb, changed = found
            raise SettingsError(
                f"{self.root}: `{verb}` was begun with other settings ({'; '.join(changed)}); use the same settings or "
                f"another directory, or run `{verb}` with --force to start over from there"
                + (" (completions already received are kept)" if self.completions.exists() else "")
            )

    @contextmanager
    def locked(self, verb: str) -> Iterator[None]:
        """Keep other processes out while this one works here, so that no answer is billed or written twice.

        Raises:
            DataError: another process is working here.
        """
        with alone_in(self.root, self.lock, verb):
            yield

    def worker(self) -> Worker | None:
        """Who is at work here; None if nobody is, or whoever was has been killed."""
        try:
            who = read_record(note_of(self.lock), Worker)
        except DataError:
            return None
        return who if who.is_alive else None

    def write_report(self, page: str) -> None:
        """Write `report.html`. Of several processes that do so at once, each waits for its turn. Raises DataError."""
        lock = self.report.with_name(f".{self.report.name}.lock")
        with file_errors(self.report), FileLock(lock):
            try:
                write_text(self.report, page)
            finally:
                lock.unlink(missing_ok=True)

    def write_probe(self, student: str, split: str, found: Record) -> Path:
        """Write what a probe found, and what the file holds. Only for the process that works here alone.

        Raises:
            DataError: it cannot be written.
        """
        file = self.probe(student, split)
        self.forget(file)
        write_record(file, found)
        self.confirm(file)
        return file

    def refuse_changed_inputs(self) -> None:
        """Raise SettingsError if a file that the run was made from still exists and has changed since."""
        for name, digest in self.manifest().inputs.items():
            if Path(name).is_file() and sha256(Path(name)) != digest:
                raise SettingsError(
                    f"{self.root}: found {name} changed since `teach` read it, expected the same; use another "
                    "directory, or --force to start over from it"
                    + (" (completions already received are kept)" if self.completions.exists() else "")
                )

    def add_inputs(self, files: Iterable[Path], revisions: Mapping[str, str]) -> None:
        """Record the hashes of files that the run was made from, and the revisions of data sets."""
        manifest = self.manifest()
        hashes = {str(path): sha256(path) for path in files} | dict(revisions)
        self.save(manifest.model_copy(update={"inputs": manifest.inputs | hashes}))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def final(self, *verbs: str) -> list[Path]:
        """Files and folders of these verbs that will not change any more, without the verdicts."""
        made: dict[str, list[Path]] = {
            "teach": [*map(self.questions, SPLITS), self.rationales, self.rejected, self.quality]
            if self.quality.exists()
            else [],
            "train": self.final_of(self.phase_1),
            "reflect": [path for number in self.begun_rounds() for path in self.final_of(self.round(number))],
        }
        return [path for verb in verbs for path in made[verb]]

    def final_of(self, folder: TrainingFolder) -> list[Path]:
        """Results of a training that will not change any more: those that are there, and those known to have been."""
        known = self.manifest().files
        return [path for path in folder.final if path.exists() or self._name(path) in known]

    def _check(self, paths: Iterable[Path]) -> dict[str, Content]:
        """What should be written down about files, or about all files in folders. Raises DataError."""
        known, news = self.manifest().files, {}
        for path in paths:
            start = self._name(path)
            found = [self._name(file) for file in path.rglob("*") if file.is_file()] if path.is_dir() else [start]
            for name in sorted({*found, *(name for name in known if name.startswith(f"{start}/"))}):
                made_by, remedy = self._maker(name)
                checked = check(self.root / name, known.get(name), made_by, remedy)
                if checked.is_news:
                    news[name] = checked.content
        return news

    def _maker(self, name: str) -> tuple[str, str]:
        """The verb that made a file, and what to do if the file is damaged."""
        folder = name.split("/")[0]
        if folder in ("questions", "teacher"):
            remedy = "delete it and call `teach` again with the run's settings, which makes the same file"
            if name == self._name(self.rationales):
                remedy += "; to learn from an edited file, give a copy to another run as teacher.path"
            return "teach", f"restore it, or {remedy}"
        if folder == self.verdicts_folder.name:
            return "evaluate", f"restore it, or delete it and run `tinythinker evaluate {self.root}` again"
        if folder == self.probes.name:
            return "probe", "restore it, or delete it and probe again"
        verb = "train" if folder == self.phase_1.name else "reflect"
        return verb, f"restore it, or run `tinythinker {verb} {self.root} --force` to start over from there"

    def refuse_damage(self, *paths: Path) -> None:
        """Raise DataError if a file, or a file in a folder, is not what its verb left, as far as that is known."""
        self._check(paths)

    def confirm(self, *paths: Path) -> None:
        """Refuse damage, and write down what is not known yet. Only for the process that works here alone.

        A file is finished before its content is written down, so a kill in between leaves a file that counts as new.

        Raises:
            DataError: a file is not what its verb left.
        """
        if news := self._check(paths):
            manifest = self.manifest()
            self.save(manifest.model_copy(update={"files": manifest.files | news}))

    def forget(self, *paths: Path) -> None:
        """Before files or folders are made again: what they held does not count any more."""
        manifest = self.manifest()
        files = manifest.files
        for path in paths:
            files = without(files, self._name(path))
        if files != manifest.files:
            self.save(manifest.model_copy(update={"files": files}))

    def add_conditions(self, verb: str, now: Conditions) -> list[str]:
        """Record what a verb works under. Returns what has changed since its last call, in words."""
        manifest = self.manifest()
        known = manifest.conditions.get(verb, ())
        if known and known[-1] == now:
            return []
        self.save(manifest.model_copy(update={"conditions": {**manifest.conditions, verb: (*known, now)}}))
        return now.changes_since(known[-1]) if known else []

    def add_seconds(self, verb: str, seconds: float) -> None:
        """Add wall-clock seconds to the total of a verb."""
        manifest = self.manifest()
        total = manifest.seconds | {verb: round(manifest.seconds.get(verb, 0.0) + seconds, 2)}
        self.save(manifest.model_copy(update={"seconds": total}))


def last_student(path: Path) -> Path:
    """The student that a path refers to: a run directory's last one, or else the path itself, whatever it names.

    Raises:
        StudentError: it is a run directory without a student.
        DataError: the student lies in a run, and a file of it is not what its training left.
    """
    run = RunDirectory(path)
    if run.exists:
        return run.student(run.trainings()[-1])
    folder = path.resolve()
    around = _around(folder) if path.is_dir() else None
    if around is not None:
        around.refuse_damage(folder)
    return path


def run_around(folder: Path) -> RunDirectory:
    """The run directory that contains a student's folder. Raises SettingsError if there is none."""
    found = _around(folder)
    if found is None:
        raise SettingsError(f"{folder}: found no run directory around it, expected one; give --run, for its questions")
    return found


def _around(folder: Path) -> RunDirectory | None:
    return next((run for run in map(RunDirectory, folder.parents) if run.exists), None)


class StudyDirectory:
    """Names every file of a study. Each of its cells is a run directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.grid = root / "study.json"
        self.cells = root / "cells"
        self.results = root / "results.json"
        self.comparisons = root / "comparisons.json"
        self.table = root / "table.md"
        self.page = root / "study.html"
        self.lock = root / ".lock"

    def cell(self, folder: Path) -> RunDirectory:
        """The run directory of a cell.

        Args:
            folder: as `study.folders.cell_of` names it.
        """
        return RunDirectory(self.root / folder)

    def begun_cells(self) -> set[Path]:
        """Run directories of all cells that have been begun."""
        return {file.parent for file in self.cells.rglob("seed-*/manifest.json")}
