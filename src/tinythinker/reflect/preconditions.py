"""Checks of settings and files before phase 2 begins or goes on."""

from __future__ import annotations

from collections.abc import Sequence

from tinythinker.core.errors import DataError, SettingsError, StudentError, expected
from tinythinker.core.files import iterate_records, read_record
from tinythinker.core.records import PreferencePair, Question, Stage
from tinythinker.core.run import RunDirectory
from tinythinker.reflect.given import read_pairs
from tinythinker.reflect.pairs import PairCounts
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
    if not set(PLANS[plan]) & set(reflect.stages):
        wanted = f"a stage that stages.plan={plan} has, or reflect.rounds=0"
        raise SettingsError(expected("reflect.stages", list(reflect.stages), wanted))
    if Stage.RECALL in PLANS[plan]:
        return
    where = "setting reflect.{} with stages.plan=" + plan
    if reflect.sampling == "uncertain":
        raise SettingsError(expected(where.format("sampling"), "uncertain", "even: it concerns recalls"))
    if reflect.on_policy < 1:
        raise SettingsError(expected(where.format("on_policy"), reflect.on_policy, "1: it concerns recalls"))


def refuse_missing_rounds(run: RunDirectory) -> None:
    """Raise StudentError if a round has begun and one before it has no student: rounds build on each other."""
    begun = run.begun_rounds()
    for number in range(1, max(begun, default=1)):
        if not run.round(number).is_finished:
            raise StudentError(
                f"{run.round(number).student}: found no student, expected the one that round {number + 1} starts from; "
                f"restore it, or delete round-{number + 1} and later ones, and reflect again"
            )


def refuse_foreign_pairs(run: RunDirectory, questions: Sequence[Question] | None) -> None:
    """Raise DataError if the pairs of a round are not as many as were counted, or not about the training questions.

    Args:
        questions: the training questions; None: pairs came from a file and may be about any (`reflect.pairs`).
    """
    known = None if questions is None else {question.id for question in questions}
    for folder in map(run.round, run.begun_rounds()):
        if not (folder.pairs.exists() and folder.counts.exists()):
            continue
        counts, count, foreign = read_record(folder.counts, PairCounts), 0, None
        for pair in iterate_records(folder.pairs, PreferencePair):
            count += 1
            if known is not None and pair.question_id not in known:
                foreign = pair.question_id
        wanted = counts.pairs
        if count == wanted and foreign is None:
            continue
        found = f"{count} pairs" if count != wanted else f"a pair of question {foreign!r}"
        raise DataError(
            f"{folder.pairs}: found {found}, expected {wanted} pairs of training questions; restore the file, or run "
            f"`tinythinker reflect {run.root} --force` to make them again"
        )
