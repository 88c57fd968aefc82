"""The settings of a verb or a group, with the values that a task gives them."""

from __future__ import annotations

from tinythinker.core.errors import SettingsError, expected
from tinythinker.settings.describe import FieldLine, as_yaml, describe_settings, flatten, known_keys
from tinythinker.settings.resolve import load_settings
from tinythinker.settings.schema import SECTIONS


def list_settings(name: str | None = None, task: str | None = None) -> list[FieldLine]:
    """Every setting, in order.

    Args:
        name: a verb (those that it is the first to read) or a group, such as `student`; None lists all.
        task: show this task's values instead of the defaults.

    Raises:
        SettingsError: no such verb, group or task.
    """
    groups = {key.split(".")[0] for key in known_keys() if "." in key}
    if name is not None and name not in SECTIONS and name not in groups:
        wanted = f"one of {', '.join(SECTIONS)}, or of {', '.join(sorted(groups))}"
        raise SettingsError(expected("verb or group", name, wanted))
    values = {} if task is None else flatten(load_settings(task).plain())
    lines = describe_settings(name) if name is None or name in SECTIONS else describe_settings()
    return [
        line.model_copy(update={"default": as_yaml(values[line.key])}) if line.key in values else line
        for line in lines
        if name is None or name in SECTIONS or line.key.split(".")[0] == name
    ]
