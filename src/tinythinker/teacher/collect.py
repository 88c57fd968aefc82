"""Settings and questions -> rationales, from whichever teacher the settings name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinythinker.core.errors import SettingsError, TeacherError, expected
from tinythinker.core.files import Json, write_records
from tinythinker.core.progress import say
from tinythinker.core.records import Question, Rationale, Rejected
from tinythinker.core.run import RunDirectory
from tinythinker.settings.schema import RunSettings
from tinythinker.tasks.registry import Task
from tinythinker.teacher.ecqa import ecqa_files, ecqa_rationales, fact_rationales
from tinythinker.teacher.quality import Quality, measure
from tinythinker.teacher.rationales import Header, split_hash
from tinythinker.teacher.recorded import recorded_rationales
from tinythinker.teacher.scripted import scripted_rationales
from tinythinker.teacher.select import Selected, advice, select_rationales

_SELECTION = ("label_policy", "samples", "temperature", "max_tokens", "waves", "show_gold", "examples", "structured")
_SELECTION_LLM = (*_SELECTION, "keep", "duplicate_distance", "reject_leaks")
_LICENCES = {
    "ecqa": "ECQA annotations: CDLA-Sharing-1.0",
    "facts": "facts of the benchmark's own files, under the benchmark's licence",
    "scripted": "made up by tinythinker (MIT)",
    "recorded": "as the file they were taken from says",
}


@dataclass(frozen=True)
class Collected:
    """What a teacher gave, and what is to be said about it."""

    questions: tuple[Question, ...]
    """The training questions; with `label_policy=teacher` some have another gold label than before."""
    rationales: tuple[Rationale, ...]
    rejected: tuple[Rejected, ...]
    header: Header
    quality: Quality
    usage: Json
    inputs: tuple[Path, ...]
    """Files that were read."""


@dataclass(frozen=True)
class _Given:
    """What a source gave, before selection."""

    answers: Iterable[Rationale | Rejected]
    usage: Json
    inputs: tuple[Path, ...] = ()
    missing: dict[str, int] | None = None
    model: str | None = None
    prompt: str | None = None
    origin: Header | None = None


def collect_rationales(settings: RunSettings, task: Task, run: RunDirectory) -> Collected:
    """Ask the teacher about the training questions, and about no others.

    Raises:
        SettingsError: this source does not go with this task, or needs another setting.
        TeacherError: nothing came of it, or a language model could not be asked to the end.
        KeyboardInterrupt: a person stopped the asking; what was received is kept.
    """
    train = list(task.splits["train"])
    given = _ask(settings, task, train, run)
    selected = select_rationales(given.answers, train, settings.teacher)
    if not selected.rationales and settings.stages.plan != "summarize":
        write_records(run.rejected, selected.rejected)
        raise TeacherError(
            f"teacher.source={settings.teacher.source}: found no usable rationale for {len(train)} training questions"
            f"{_reasons(selected)}, expected some (all that came is in {run.rejected}); stages.plan=summarize "
            "learns from labels alone"
        )
    cost = given.usage.get("cost")
    source = settings.teacher.source
    questions = [question.labelled(selected.relabelled.get(question.id, question.gold)) for question in train]
    return Collected(
        questions=tuple(questions),
        rationales=selected.rationales,
        rejected=selected.rejected,
        header=_header(settings, train, given, selected),
        quality=measure(
            source,
            selected,
            train,
            settings.teacher.label_policy,
            float(str(cost)) if cost is not None else None,
            given.missing or {},
        ),
        usage=given.usage,
        inputs=given.inputs,
    )


def _reasons(selected: Selected) -> str:
    """The commonest flaw, and an example of it."""
    if not selected.rejected:
        return ""
    flaws = [rejected.flaw for rejected in selected.rejected]
    most = max(set(flaws), key=lambda flaw: (flaws.count(flaw), flaw))
    example = next(rejected for rejected in selected.rejected if rejected.flaw is most)
    return f" ({len(flaws)} rejected; most like that of question {example.question_id}, {advice(example)})"


def _ask(settings: RunSettings, task: Task, train: Sequence[Question], run: RunDirectory) -> _Given:
    source, path = settings.teacher.source, settings.teacher.path
    free: Json = {"source": source, "cost": 0.0}
    if source == "openai":
        from tinythinker.teacher.llm.interview import (
            Interview,  # the SDK takes a second to import, and is seldom needed
        )

        with run.locked():
            interview = Interview(settings, train, run)
            interview.ask()
        return _Given(
            answers=interview.answers(),
            usage=interview.usage(),
            inputs=(settings.teacher.prompt,) if settings.teacher.prompt else (),
            missing=interview.missing(),
            model=interview.answered_by(),
            prompt=interview.prompt.hash,
        )
    if source == "scripted":
        if task.world is None:
            raise SettingsError(
                expected("teacher.source", source, f"another source: only storeroom has a script, not {settings.task}")
            )
        return _Given(
            scripted_rationales(
                task.world, train, settings.teacher, settings.seed, per_question=settings.storeroom.rationales
            ),
            free,
        )
    if source == "facts":
        if not task.facts:
            raise TeacherError(
                f"teacher.source=facts: found no facts with the questions of {settings.task}, expected OpenBookQA's "
                "*_complete.jsonl or StrategyQA's official file in data_dir"
            )
        return _Given(fact_rationales(task.facts, train), free)
    if path is None:
        wanted = "the folder with ecqa_*.jsonl" if source == "ecqa" else "a file of rationales"
        raise SettingsError(expected(f"teacher.path for teacher.source={source}", None, wanted))
    if source == "ecqa":
        files = tuple(ecqa_files(path))
        return _Given(ecqa_rationales(files, train), free, files)
    origin, answers = recorded_rationales(path, train)
    if origin is not None and origin.split != split_hash(train):
        say(
            f"teach: {path} was made for other training questions ({origin.questions} of {origin.task}, "
            f"seed {origin.settings.get('seed')}); what the two share is used: the same seed, split and limit share all"
        )
    if origin is not None and origin.relabelled and settings.teacher.label_policy == "gold":
        say(
            f"teach: {path} replaced the gold labels of {len(origin.relabelled)} questions; "
            "teacher.label_policy=teacher does so here, too"
        )
    return _Given(answers, free, (path,), origin=origin)


def _header(settings: RunSettings, train: Sequence[Question], given: _Given, selected: Selected) -> Header:
    """Where these rationales come from, without addresses and paths."""
    teacher = settings.teacher
    names = _SELECTION_LLM if teacher.source == "openai" else ("label_policy",)
    origin = given.origin
    licence = teacher.licence or (origin.licence if origin else None) or _LICENCES.get(teacher.source)
    return Header(
        source=teacher.source,
        teacher=given.model or (origin.teacher if origin else None),
        prompt=given.prompt or (origin.prompt if origin else None),
        settings={name: value for name, value in teacher.model_dump(mode="json").items() if name in names}
        | {"seed": settings.seed},
        task=Path(settings.task).name,
        questions=len(train),
        split=split_hash(train),
        relabelled=dict(selected.relabelled),
        licence=licence or f"written by {given.model}; the terms of its provider apply",
        origin=origin,
    )
