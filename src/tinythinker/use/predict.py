"""A student's answers to a file of questions, written as they come; a call that was killed is resumed by the next."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from tinythinker.core.contents import sha256
from tinythinker.core.errors import SettingsError, expected
from tinythinker.core.files import Json, file_errors, read_record, remove, resolved, temporary_of, write_record
from tinythinker.core.progress import say
from tinythinker.core.records import LABELS, Question, Record
from tinythinker.core.run import alone_in, differences
from tinythinker.core.stored import complete
from tinythinker.evaluate.score import Interval, wilson
from tinythinker.settings.describe import flatten
from tinythinker.settings.resolve import chosen, load_settings
from tinythinker.settings.schema import TASKS, RunSettings
from tinythinker.tasks.benchmark import questions_of
from tinythinker.tasks.tables.findings import findings_of
from tinythinker.tasks.tables.own import training_sheet
from tinythinker.tasks.tables.tables import read_tables
from tinythinker.use.ask import find, load
from tinythinker.use.prediction import Prediction

if TYPE_CHECKING:
    from tinythinker.use.answering import LoadedStudent

_DECIDING = ("evaluate.votes", "evaluate.temperature", "evaluate.plan", "seed")
"""Settings that decide an answer; everything else, such as limits of length, a student keeps as it was taught."""
_CHAINS = 64
"""Chains between two writes."""


class Predicted(Record):
    """What came of a file of questions."""

    n: int
    """Number of questions."""
    unreadable: int
    """Answers that could not be read."""
    count_gold: int
    """Questions that bring their right answer."""
    accuracy: Interval | None
    """Over these; None if there are none."""

    def line(self) -> str:
        """All of it, for people."""
        said = f"{self.n:,} answers, {self.unreadable:,} unreadable"
        if self.accuracy is None:
            return f"{said}; the questions bring no right answers to compare with"
        found = self.accuracy
        over = "" if self.count_gold == self.n else f" over the {self.count_gold:,} questions that bring their answer"
        return f"{said}; accuracy {found.share:.3f} (95% interval {found.low:.3f} to {found.high:.3f}){over}"


class _MadeWith(Record):
    """What a file of answers is made with, kept next to it, so that other answers are never mixed with them."""

    student: str
    """Its folder or name."""
    student_sha256: str | None
    """Of the files in its folder; None for a name."""
    file: str
    questions_sha256: str
    settings: Json
    """Those that decide an answer."""
    predicted: Predicted | None = None
    """None as long as questions are left."""

    def changes(self, now: _MadeWith) -> list[str]:
        """How another one differs, in words. A copy of a student or of a file is the same."""
        found = differences(self.settings, now.settings)
        if (self.student_sha256 or self.student) != (now.student_sha256 or now.student):
            found.append(f"student: was {self.student}, now {now.student}, with other files")
        if self.questions_sha256 != now.questions_sha256:
            found.append(f"questions: was {self.file}, now {now.file}, with other questions")
        return found


def predict(
    student: str | PathLike[str],
    file: str,
    overrides: Sequence[str] = (),
    *,
    config: Path | None = None,
    out: Path | None = None,
    each: Callable[[Prediction], None] | None = None,
) -> Predicted:
    """A student's answers to a file of questions: see `tinythinker.api.predict`."""
    settings = _settings(file, overrides, config)
    if out is not None and out.suffix not in (".jsonl", ".csv"):
        raise SettingsError(expected("--out", str(out), "a file name that ends with .jsonl or .csv"))
    if out is not None and resolved(out) == resolved(Path(file)):
        raise SettingsError(expected("--out", str(out), "another file than the questions"))
    folder = find(student)
    questions = _questions(settings)

    @cache
    def loaded() -> LoadedStudent:
        return load(student)

    def work(some: Sequence[Question]) -> list[Prediction]:
        return loaded().predict(some, settings.evaluate, settings.seed)

    chunk = max(1, _CHAINS // settings.evaluate.votes)
    if out is None:
        parts = (work(questions[start : start + chunk]) for start in range(0, len(questions), chunk))
        return _summed(_told((made for part in parts for made in part), each))
    job = _Job(out, questions, work, chunk)
    with alone_in(out, out.with_name(f".{out.name}.lock"), "predict"):
        return job.finish(_made_with(folder, file, questions, settings))


def _settings(file: str, overrides: Sequence[str], config: Path | None) -> RunSettings:
    """The settings of a file of questions. Raises SettingsError for one that would decide nothing here."""
    if file in TASKS and not Path(file).is_file():
        wanted = "a file of questions; `tinythinker evaluate` answers a run's own"
        raise SettingsError(expected("file", file, wanted))
    settings = load_settings(file, overrides, config)
    foreign = [key for key in sorted(chosen(overrides, None)) if not key.startswith(("data.", *_DECIDING))]
    if foreign:
        wanted = f"data.*, {', '.join(_DECIDING)}; in everything else a student does as it was taught"
        raise SettingsError(f"setting {foreign[0]}: found it here, expected one of {wanted}")
    return settings


def _questions(settings: RunSettings) -> list[Question]:
    (table,) = read_tables([(training_sheet(settings), "")], settings.data)
    questions = questions_of(table.whole)
    # Questions in one order matter to a student that learns from them, not to one that answers them.
    for line in findings_of(table).model_copy(update={"is_in_one_order": False}).short():
        say(line)
    return questions


def _made_with(folder: Path, file: str, questions: Sequence[Question], settings: RunSettings) -> _MadeWith:
    files = sorted(one for one in folder.iterdir() if one.is_file()) if folder.is_dir() else []
    every = flatten(settings.plain())
    return _MadeWith(
        student=str(folder),
        student_sha256=_digest(f"{one.name} {sha256(one)}" for one in files) if files else None,
        file=file,
        questions_sha256=_digest(question.model_dump_json() for question in questions),
        settings={key: every[key] for key in _DECIDING},
    )


def _digest(lines: Iterable[str]) -> str:
    found = hashlib.sha256()
    for line in lines:
        found.update(f"{line}\n".encode())
    return found.hexdigest()


def _told(made: Iterable[Prediction], each: Callable[[Prediction], None] | None) -> Iterator[Prediction]:
    for one in made:
        if each is not None:
            each(one)
        yield one


def _summed(predictions: Iterable[Prediction]) -> Predicted:
    n = unreadable = gold = right = 0
    for one in predictions:
        n += 1
        unreadable += not one.is_readable
        gold += one.gold is not None
        right += bool(one.is_correct)
    return Predicted(n=n, unreadable=unreadable, count_gold=gold, accuracy=wilson(right, gold) if gold else None)


class _Job:
    """Answers on their way into a file.

    Args:
        work: answers some questions.
        chunk: questions between two writes.
    """

    def __init__(
        self,
        out: Path,
        questions: Sequence[Question],
        work: Callable[[Sequence[Question]], Sequence[Prediction]],
        chunk: int,
    ) -> None:
        self._out, self._questions, self._work, self._chunk = out, questions, work, chunk
        self._note = out.with_name(f"{out.name}.made-with.json")
        self._lines = out if out.suffix == ".jsonl" else out.with_name(f".{out.name}.part.jsonl")

    def finish(self, now: _MadeWith) -> Predicted:
        """Answer what is left. Raises SettingsError if the file holds anything but such answers."""
        before = self._before(now)
        if before is not None and before.predicted is not None and self._out.exists():
            say(f"predict: {self._out} is already finished")
            if self._lines != self._out:
                remove(self._lines)
                return before.predicted
        write_record(self._note, now)
        stored = complete(
            self._lines, Prediction, self._questions, self._work, fits=_fits, chunk=self._chunk, name="predict"
        )
        predicted = _summed(stored)
        if self._lines != self._out:
            _write_table(self._out, stored, max(len(question.options) for question in self._questions))
        write_record(self._note, now.model_copy(update={"predicted": predicted}))
        if self._lines != self._out:
            remove(self._lines)
        return predicted

    def _before(self, now: _MadeWith) -> _MadeWith | None:
        """What the answers that are there were made with; None if there are none."""
        if not self._out.exists() and not self._lines.exists():
            return None
        if not self._note.exists():
            raise SettingsError(
                f"{self._out}: found a file without {self._note.name} next to it, so not one that `predict` wrote, "
                "expected a new file; choose another --out"
            )
        before = read_record(self._note, _MadeWith)
        if changed := before.changes(now):
            raise SettingsError(
                f"{self._out}: found answers that were made otherwise ({'; '.join(changed)}), expected the same "
                "student, questions and settings; choose another --out, or delete it"
            )
        return before


def _fits(question: Question, made: Prediction) -> bool:
    texts = tuple(option.text for option in question.options)
    return (made.id, made.question, made.options, made.gold) == (question.id, question.stem, texts, question.gold)


def _write_table(path: Path, predictions: Iterable[Prediction], count_options: int) -> None:
    """Write predictions as CSV, whole or not at all. Raises DataError."""
    labels = LABELS[:count_options]
    names = [
        *("id", "question", *labels, "answer", "text", *(f"probability_{label}" for label in labels)),
        *("recall", *(f"analysis_{label}" for label in labels), "conclusion", "is_readable", "gold", "is_correct"),
    ]
    temporary = temporary_of(path)
    with file_errors(path):
        try:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, names, extrasaction="ignore")
                writer.writeheader()
                writer.writerows(map(_row, predictions))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _row(one: Prediction) -> dict[str, object]:
    by_label: dict[str, object] = dict(zip(LABELS, one.options, strict=False))
    by_label |= {f"probability_{label}": share for label, share in (one.probabilities or {}).items()}
    by_label |= {f"analysis_{label}": text for label, text in zip(LABELS, one.analyses, strict=False)}
    return {**one.model_dump(mode="json"), **by_label}
