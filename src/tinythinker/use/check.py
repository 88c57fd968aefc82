"""A look at a file of questions before anything is done with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tinythinker.core.errors import SettingsError, expected
from tinythinker.settings.resolve import load_settings
from tinythinker.settings.schema import TASKS
from tinythinker.student.measure import longest_prompt
from tinythinker.tasks.tables.findings import Findings, findings_of
from tinythinker.tasks.tables.own import training_sheet
from tinythinker.tasks.tables.tables import read_tables


def check(file: str, overrides: Sequence[str] = (), config: Path | None = None) -> Findings:
    """What is recognised in a file of questions, how every question is read, and what is odd or wrong in it.

    Raises:
        SettingsError: a setting is wrong, or does not suit the file.
        DataError: the file cannot be read at all. Rows that cannot be read are `problems` of what is returned.
    """
    if file in TASKS and not Path(file).is_file():
        raise SettingsError(expected("file", file, "a file of questions; a benchmark's own files need no check"))
    settings = load_settings(file, overrides, config)
    (table,) = read_tables([(training_sheet(settings), "")], settings.data)
    return findings_of(table, longest_prompt(settings))
