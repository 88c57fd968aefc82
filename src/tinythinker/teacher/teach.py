"""The first verb: settings and a teacher -> a run directory with questions and rationales. Needs no torch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tinythinker.core import ranks
from tinythinker.core.files import write_json, write_records
from tinythinker.core.progress import say
from tinythinker.core.records import SPLITS, Stage
from tinythinker.core.run import RunDirectory
from tinythinker.settings.schema import RunSettings, load_settings, override, validate
from tinythinker.stages.plan import PLANS
from tinythinker.tasks.registry import load_task
from tinythinker.teacher.collect import collect_rationales
from tinythinker.teacher.llm.interview import open_interview
from tinythinker.teacher.quality import Quality, read_quality
from tinythinker.teacher.rationales import write_rationales


def start(task: str, out: str | Path, *overrides: str, config: Path | None = None, force: bool = False) -> RunDirectory:
    """Resolve the settings of a task and open (or reopen) a run directory for it.

    Args:
        task: csqa, obqa, strategyqa, storeroom, or a .jsonl or .csv file.
        out: the run directory.
        overrides: `key.path=value`, over the preset and the config file.
        config: a YAML file of settings.
        force: delete what the directory's run made, and start over.

    Raises:
        SettingsError: a setting is wrong, or the directory belongs to a run with other settings.
    """
    run = RunDirectory(Path(out))
    settings = ranks.on_first(lambda: load_settings(task, overrides, config))
    ranks.on_first(lambda: run.begin("teach", settings.plain(), settings.bound(), force=force))
    return run


def settings_of(run: RunDirectory, verb: str, overrides: Sequence[str], force: bool) -> RunSettings:
    """The run's settings with overrides on top, registered for a verb; those of `evaluate` are for this call only."""
    before = ranks.on_first(lambda: validate(run.manifest().settings))
    settings = ranks.on_first(lambda: override(before, overrides))
    kept = settings.model_copy(update={"evaluate": before.evaluate})
    ranks.on_first(lambda: run.begin(verb, kept.plain(), settings.bound(), force=force))
    return settings


@contextmanager
def timed(run: RunDirectory, verb: str) -> Iterator[None]:
    """Add the time spent inside to what a verb has taken."""
    started = time.monotonic()
    try:
        yield
    finally:
        if ranks.is_first():
            run.add_seconds(verb, time.monotonic() - started)


def teach(run: RunDirectory, *overrides: str, force: bool = False) -> Quality:
    """Read the questions, and collect the teacher's rationales for the training split.

    A language model's answers are kept as they come: a call that was stopped, by whatever, is gone on with by the
    next one, and no answer is asked for twice, not even with `force`.

    Returns:
        Figures of what was kept and what was not; also in `teacher/quality.json`.

    Raises:
        DataError, TeacherError: the questions or the rationales cannot be had.
        KeyboardInterrupt: a person stopped it.
    """
    settings = settings_of(run, "teach", overrides, force)
    return ranks.on_first(lambda: _teach(run, settings))


def _teach(run: RunDirectory, settings: RunSettings) -> Quality:
    if run.quality.exists():
        run.refuse_changed_inputs()
        if not _has_more_to_ask(run, settings):
            say("teach: finished before; nothing asked")
            return read_quality(run.quality)
    with timed(run, "teach"):
        task = load_task(settings)
        say(f"teach: {', '.join(f'{len(task.splits[split])} {split}' for split in SPLITS)} questions")
        collected = collect_rationales(settings, task, run)
        for split in SPLITS:
            write_records(run.questions(split), collected.questions if split == "train" else task.splits[split])
        write_rationales(run.rationales, collected.header, collected.rationales)
        write_records(run.rejected, collected.rejected)
        run.add_inputs([*task.inputs, *collected.inputs])
        write_json(run.usage, collected.usage)
        write_json(run.quality, collected.quality.model_dump(mode="json"))  # last: says that all is there
    for line in collected.quality.lines():
        say(f"teach: {line}")
    if settings.teacher.source == "openai" and Stage.ANALYZE not in PLANS[settings.stages.plan]:
        say(f"teach: stages.plan={settings.stages.plan} leaves the analyses unused; stages.plan=full uses them")
    return collected.quality


def _has_more_to_ask(run: RunDirectory, settings: RunSettings) -> bool:
    """Has a finished `teach` left something out that it may still ask for, and nobody has built on it yet?"""
    if settings.teacher.source != "openai" or "train" in run.manifest().begun or not read_quality(run.quality).missing:
        return False
    return bool(open_interview(settings, run).next_jobs())
