"""Can a teacher do its work? Checked before anything is written or asked; costs nothing."""

from __future__ import annotations

from tinythinker.core.errors import DataError
from tinythinker.core.run import RunDirectory
from tinythinker.settings.schema import RunSettings
from tinythinker.tasks.registry import Task
from tinythinker.teacher.ecqa import ecqa_files
from tinythinker.teacher.facts import facts
from tinythinker.teacher.llm.prompt import make_prompt
from tinythinker.teacher.none import none
from tinythinker.teacher.recorded import recorded_rationales
from tinythinker.teacher.scripted import scripted
from tinythinker.teacher.source import Asking


def refuse_unready_teacher(settings: RunSettings, task: Task, run: RunDirectory) -> None:
    """Raise SettingsError, DataError or TeacherError if a built-in source lacks what it reads.

    A source that was registered from outside is not checked.
    """
    train = list(task.splits["train"])
    asking = Asking(settings, task, train, run)
    match settings.teacher.source:
        case "openai":
            make_prompt(settings, train)
        case "ecqa":
            ecqa_files(asking.path)
        case "recorded" if settings.teacher.path is None and settings.data.recall is not None:
            pass
        case "recorded":
            if not asking.path.is_file():
                raise DataError(f"teacher.path {asking.path}: found no such file, expected a file of rationales")
            for _ in recorded_rationales(asking.path, train)[1]:
                pass
        case "facts":
            facts(asking)
        case "scripted":
            scripted(asking)
        case "none":
            none(asking)
