"""The first verb: settings and a teacher -> a run directory with questions and rationales. Needs no torch."""

from __future__ import annotations

from tinythinker.core.files import write_record, write_records
from tinythinker.core.progress import say
from tinythinker.core.records import SPLITS, Stage
from tinythinker.core.run import RunDirectory
from tinythinker.settings.schema import RunSettings
from tinythinker.stages.plan import PLANS
from tinythinker.tasks.registry import load_task
from tinythinker.teacher.collect import collect_rationales
from tinythinker.teacher.llm.interview import open_interview
from tinythinker.teacher.quality import Quality, read_quality
from tinythinker.teacher.rationales import write_rationales


def collect(run: RunDirectory, settings: RunSettings) -> Quality:
    """Read the questions, collect rationales for the training split, and write both into the run directory.

    Returns:
        Figures of what was kept and what was not. `quality.json`, which holds them, is written last: with it all is
        there.

    Raises:
        DataError, TeacherError: the questions or the rationales cannot be loaded.
        KeyboardInterrupt: the user stopped it; what was received is kept.
    """
    task = load_task(settings)
    say(f"teach: {', '.join(f'{len(task.splits[split])} {split}' for split in SPLITS)} questions")
    collected = collect_rationales(settings, task, run)
    for split in SPLITS:
        write_records(run.questions(split), collected.questions if split == "train" else task.splits[split])
    write_rationales(run.rationales, collected.header, collected.rationales)
    write_records(run.rejected, collected.rejected)
    run.add_inputs([*task.inputs, *collected.inputs], task.revisions)
    write_record(run.usage, collected.usage)
    write_record(run.quality, collected.quality)
    for line in collected.quality.lines():
        say(f"teach: {line}")
    if settings.teacher.llm is not None and Stage.ANALYZE not in PLANS[settings.stages.plan]:
        say(f"teach: stages.plan={settings.stages.plan} leaves the analyses unused; stages.plan=full uses them")
    return collected.quality


def has_more_to_ask(run: RunDirectory, settings: RunSettings) -> bool:
    """Is there something a finished `teach` may still ask for, and has nothing been built on it yet?"""
    if settings.teacher.llm is None or "train" in run.manifest().begun or not read_quality(run.quality).missing:
        return False
    return bool(open_interview(settings, run).next_jobs())
