"""Settings and questions -> rationales, from whichever teacher the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinythinker.core.errors import TeacherError
from tinythinker.core.files import write_records
from tinythinker.core.records import Question, Rationale, Rejected
from tinythinker.core.run import RunDirectory
from tinythinker.settings.schema import RunSettings
from tinythinker.tasks.registry import Task
from tinythinker.teacher.quality import Quality, measure
from tinythinker.teacher.rationales import Header, split_hash
from tinythinker.teacher.select import Selected, advice, select_rationales
from tinythinker.teacher.source import Asking, Given, to_explain
from tinythinker.teacher.sources import TEACHER_SOURCES
from tinythinker.teacher.usage import Usage

_SELECTION = (
    "samples temperature max_tokens waves show_gold examples structured keep duplicate_distance duplicates reject_leaks"
).split()
"""Settings of a language model that the header of a rationales file repeats; no addresses and no paths."""


@dataclass(frozen=True)
class Collected:
    """A teacher's rationales, sorted into kept and rejected, with their header, quality and usage."""

    questions: tuple[Question, ...]
    """The training questions; with `label_policy=teacher`, some have a new gold label."""
    rationales: tuple[Rationale, ...]
    rejected: tuple[Rejected, ...]
    header: Header
    quality: Quality
    usage: Usage
    inputs: tuple[Path, ...]
    """Files that were read."""


def collect_rationales(settings: RunSettings, task: Task, run: RunDirectory) -> Collected:
    """The teacher's rationales for the training questions; it is asked about no others.

    Raises:
        SettingsError: the source does not work with this task, or needs another setting.
        TeacherError: there is no usable rationale, or a language model could not be asked everything.
        KeyboardInterrupt: the user stopped it; the answers received so far are kept.
    """
    train = list(task.splits["train"])
    asked = to_explain(settings, train)
    # Files are read whole, a language model is paid for every question.
    asking = Asking(settings, task, train if settings.teacher.llm is None else asked, run)
    given = TEACHER_SOURCES[settings.teacher.source](asking)
    spared = {question.id for question in train} - {question.id for question in asked}
    answers = [answer for answer in given.answers if answer.question_id not in spared]
    selected = select_rationales(answers, asked, settings.teacher, settings.seed)
    if not selected.rationales and settings.stages.plan != "summarize":
        write_records(run.rejected, selected.rejected)
        raise TeacherError(
            f"teacher.source={settings.teacher.source}: found no usable rationale for {len(asked)} training questions"
            f"{_reasons(selected)}, expected some (all rejected answers are in {run.rejected}); "
            "stages.plan=summarize learns from labels alone"
        )
    questions = [question.labelled(selected.relabelled.get(question.id, question.gold)) for question in train]
    return Collected(
        questions=tuple(questions),
        rationales=selected.rationales,
        rejected=selected.rejected,
        header=_header(settings, train, given, selected),
        quality=measure(
            settings.teacher.source,
            selected,
            train,
            settings.teacher.label_policy,
            given.usage.cost,
            dict(given.missing),
            len(spared),
        ),
        usage=given.usage,
        inputs=given.inputs,
    )


def _reasons(selected: Selected) -> str:
    """The most frequent flaw, with an example."""
    if not selected.rejected:
        return ""
    flaws = [rejected.flaw for rejected in selected.rejected]
    most = max(set(flaws), key=lambda flaw: (flaws.count(flaw), flaw))
    example = next(rejected for rejected in selected.rejected if rejected.flaw is most)
    return f" ({len(flaws)} rejected; most like question {example.question_id}: {advice(example)})"


def _header(settings: RunSettings, train: Sequence[Question], given: Given, selected: Selected) -> Header:
    """The header that says where these rationales come from, without addresses or paths."""
    teacher, origin = settings.teacher, given.origin
    asked = {} if teacher.llm is None else teacher.llm.model_dump(mode="json", include=set(_SELECTION))
    return Header(
        source=teacher.source,
        teacher=given.model or (origin.teacher if origin else None),
        prompt=given.prompt or (origin.prompt if origin else None),
        settings={"label_policy": teacher.label_policy, **asked, "seed": settings.seed},
        task=Path(settings.task).name,
        questions=len(train),
        split=split_hash(train),
        relabelled=dict(selected.relabelled),
        licence=teacher.licence or given.licence,
        origin=origin,
    )
