"""Checks of the settings before phase 2 begins."""

from __future__ import annotations

from tinythinker.core.errors import SettingsError, expected
from tinythinker.core.records import Stage
from tinythinker.reflect.given import read_pairs
from tinythinker.settings.schema import RunSettings
from tinythinker.stages.plan import PLANS


def refuse_reflection_on_nothing(settings: RunSettings) -> None:
    """Check that phase 2 has something to reflect on.

    Raises:
        SettingsError: there are rounds to do and the plan lacks what they would reflect on.
        DataError: the pairs to train on (`reflect.pairs`) cannot be read.
    """
    reflect, plan = settings.reflect, settings.stages.plan
    if not reflect.rounds:
        return
    if reflect.pairs is not None:
        read_pairs(reflect.pairs)
        return
    if not {str(stage) for stage in PLANS[plan]} & set(reflect.stages):
        wanted = f"a stage that stages.plan={plan} has, or reflect.rounds=0"
        raise SettingsError(expected("reflect.stages", list(reflect.stages), wanted))
    if Stage.RECALL in PLANS[plan]:
        return
    where = "setting reflect.{} with stages.plan=" + plan
    if reflect.sampling == "uncertain":
        raise SettingsError(expected(where.format("sampling"), "uncertain", "even: it concerns recalls"))
    if reflect.on_policy < 1:
        raise SettingsError(expected(where.format("on_policy"), reflect.on_policy, "1: it concerns recalls"))
