"""A model card from a run directory: what the student is, what it learned from, how well it answers, how to use it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tinythinker.core.errors import SettingsError, expected
from tinythinker.core.files import read_record, write_text
from tinythinker.core.formats import Json
from tinythinker.core.metrics import TrainingData
from tinythinker.core.progress import say
from tinythinker.core.records import SPLITS, Option, Question
from tinythinker.core.run import RunDirectory
from tinythinker.evaluate.answered import read_results
from tinythinker.evaluate.score import Interval, Score, score, wilson
from tinythinker.publish.plain import is_scored, page, plain_code, wordings
from tinythinker.publish.private import without_private
from tinythinker.report.tested import read_rounds
from tinythinker.settings.describe import flatten
from tinythinker.settings.resolve import validate
from tinythinker.settings.schema import HUB, RunSettings
from tinythinker.student.present import is_causal_folder, is_in_hub_cache
from tinythinker.tasks.registry import BENCHMARKS, benchmark_of
from tinythinker.teacher.quality import Quality, read_quality
from tinythinker.teacher.rationales import Header, read_header
from tinythinker.teacher.taught import read_questions

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
PLACEHOLDER = "OWNER/NAME"
"""Stands for the student's name in a card that is not being published."""
_SHOWN = {
    "seed": (),
    "limit": (),
    "stages": (),
    "student": ("name", "sentencepiece"),
    "train": ("shard", "micro_batch_size"),
    "generate": ("batch_size",),
    "reflect": ("pairs", "shard", "micro_batch_size"),
}
"""Groups of settings that a card shows, without those that may be a path or that change no result."""
_MADE_UP = Question(
    id="asked",
    stem="Where does rain go?",
    options=(Option(label="A", text="up"), Option(label="B", text="down")),
    gold=None,
)
"""The example for students of questions that may be private."""


@dataclass(frozen=True)
class CardResult:
    """One line of a card's table of results."""

    student: str
    """`phase 1`, or `phase 2, round 3`."""
    split: str
    how: str
    """How it answered, in words."""
    score: Score


@dataclass(frozen=True)
class CardFacts:
    """All that a card says, except how it says it."""

    settings: RunSettings
    name: str
    title: str
    dataset: str | None
    base: str | None
    licence: str | None
    counts: Mapping[str, int]
    """Questions by split."""
    options: str
    """Options of a test question: `4`, or `2 to 5`."""
    quality: Quality
    header: Header | None
    data: TrainingData | None
    results: Sequence[CardResult]
    chance: float
    """Share of right answers to the test questions if the option is drawn blindly."""
    majority: Interval
    """Accuracy of always giving the most frequent training label."""
    is_causal: bool
    example: Question


def card(
    run: RunDirectory, *, name: str = PLACEHOLDER, licence: str | None = None, base_model: str | None = None
) -> str:
    """The model card of a run's last student, as Markdown with the Hub's metadata on top.

    No path, key or address's secret of this machine stands in it.

    Args:
        name: what the student will be called.
        licence: the licence you publish it under, as the Hub spells it (`mit`); None names none.
        base_model: name on the Hub of the model that training began with; None takes `student.name` if that is one.

    Raises:
        DataError: the directory is no run, `teach` is not finished, or a file is damaged.
        StudentError: there is no student yet.
        SettingsError: a name does not have the Hub's form.
    """
    for what, value in (("name", name), ("base model", base_model)):
        if value is not None:
            refuse_no_hub_name(value, what)
    facts = _facts(run, name, licence, base_model)
    text = page("card.jinja").render(
        facts=facts,
        metadata=yaml.safe_dump(_metadata(facts), sort_keys=False, allow_unicode=True),
        rounds=read_rounds(run),
        wordings=wordings(facts.settings),
        code=plain_code(name, facts.settings, facts.example, is_causal=facts.is_causal),
        is_scored=is_scored(facts.settings),
        chosen=yaml.safe_dump(_shown(facts.settings), sort_keys=False, allow_unicode=True),
        versions=run.manifest().versions,
    )
    return without_private(text, run.root)


def write_card(run: RunDirectory, *, licence: str | None = None, base_model: str | None = None) -> Path:
    """Write `card.md` into the run directory (see `card`)."""
    write_text(run.card, card(run, licence=licence, base_model=base_model))
    return run.card


def refuse_no_hub_name(name: str, what: str) -> None:
    """Raise SettingsError unless a name has the form OWNER/NAME."""
    if not _HUB_NAME.fullmatch(name) or ".." in name or "--" in name:
        raise SettingsError(expected(what, name, "OWNER/NAME, as on the Hugging Face Hub"))


def _facts(run: RunDirectory, name: str, licence: str | None, base_model: str | None) -> CardFacts:
    settings = validate(run.manifest().settings)
    folder = run.student(run.trainings()[-1])
    asked = {split: read_questions(run, split) for split in SPLITS}
    is_public = settings.task in BENCHMARKS
    benchmark = benchmark_of(settings.task)
    sizes = sorted({len(question.options) for question in asked["test"]})
    return CardFacts(
        settings=settings,
        name=name,
        title=benchmark.title or (settings.task if is_public else "multiple-choice questions"),
        dataset=benchmark.dataset or _hub_dataset(settings.task),
        base=base_model or _base(settings),
        licence=licence,
        counts={split: len(questions) for split, questions in asked.items()},
        options=str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}",
        quality=read_quality(run.quality),
        header=read_header(run.rationales),
        data=read_record(run.phase_1.data, TrainingData) if run.phase_1.data.exists() else None,
        results=_results(run),
        chance=_chance(asked["test"]),
        majority=_majority(asked["train"], asked["test"]),
        is_causal=is_causal_folder(folder),
        example=asked["test"][0] if is_public else _MADE_UP,
    )


def _hub_dataset(task: str) -> str | None:
    """The data set's name, if the task is one of the Hub."""
    return "/".join(task.removeprefix(HUB).split("@")[0].split("/")[:2]) if task.startswith(HUB) else None


def _base(settings: RunSettings) -> str | None:
    """The base model's name, if it surely is one of the Hub and no folder."""
    if settings.student.init == "scratch":
        return None
    if is_in_hub_cache(settings.student.name):
        return settings.student.name
    say("card: student.name may be a folder, so the card does not name it; --base-model OWNER/NAME does")
    return None


def _results(run: RunDirectory) -> list[CardResult]:
    """Finished verdicts of the first and the last student."""
    kept = {run.trainings()[0], run.trainings()[-1]}
    return [
        CardResult(_student(name), split, _how(how), score(answered.verdicts))
        for file, answered in read_results(run).items()
        for name, split, how in [file.split(".", 2)]
        if name in kept and answered.is_finished
    ]


def _student(name: str) -> str:
    phase, _, number = name.partition("-")
    return "phase 1" if phase == "phase" else f"phase 2, round {number}"


def _how(how: str) -> str:
    """A way of answering in words: from the name of a file of verdicts."""
    way, _, plan = how.rpartition(".") if how.endswith(("summarize", "full")) else (how, "", "")
    if way.startswith("vote-"):
        _, votes, _, temperature = way.split("-", 3)
        way = f"vote over {votes} chains at temperature {temperature}"
    return f"{way}, only {plan.replace('_', ' and ')}" if plan else way


def _chance(questions: Sequence[Question]) -> float:
    return sum(1 / len(question.options) for question in questions) / len(questions)


def _majority(train: Sequence[Question], test: Sequence[Question]) -> Interval:
    golds = [question.gold for question in train]
    given = [max(question.labels, key=golds.count) for question in test]
    return wilson(sum(label == question.gold for label, question in zip(given, test, strict=True)), len(test))


def _shown(settings: RunSettings) -> Json:
    """The settings that decided the student, without what may be a path."""
    plain = settings.plain()
    hidden = {f"{group}.{name}" for group, names in _SHOWN.items() for name in names}
    flat = flatten({group: plain[group] for group in _SHOWN})
    return {key: value for key, value in flat.items() if key not in hidden and value is not None}


def _metadata(facts: CardFacts) -> Json:
    """What the Hub reads of a card (https://huggingface.co/docs/hub/model-cards)."""
    metadata: Json = {"library_name": "transformers", "tags": ["tinythinker", "multiple-choice", "reasoning"]}
    if facts.licence is not None:
        metadata["license"] = facts.licence
    if facts.base is not None:
        metadata["base_model"] = facts.base
    if facts.dataset is not None:
        metadata["datasets"] = [facts.dataset]
    if facts.results:
        data = {"name": facts.title, "type": facts.dataset or facts.title.lower().replace(" ", "-")}
        last = facts.results[-1]
        metric: Json = {"type": "accuracy", "value": round(last.score.accuracy, 4), "name": f"accuracy, {last.how}"}
        result: Json = {
            "task": {"type": "multiple-choice"},
            "dataset": {**data, "split": last.split},
            "metrics": [metric],
        }
        metadata["model-index"] = [{"name": facts.name, "results": [result]}]
    return metadata
