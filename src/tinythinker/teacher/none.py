"""No teacher at all: the student learns from labels alone."""

from __future__ import annotations

from tinythinker.core.errors import SettingsError, expected
from tinythinker.teacher.source import Asking, Given, free


def none(asking: Asking) -> Given:
    """The source `none`. Raises SettingsError if the plan needs rationales."""
    plan = asking.settings.stages.plan
    if plan != "summarize":
        raise SettingsError(
            expected("teacher.source", "none", f"a source of rationales, which stages.plan={plan} learns from")
        )
    return Given((), free(asking), "no rationales")
