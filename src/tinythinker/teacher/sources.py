"""Every teacher source by name. A new one is a function in a file of its own and one line here."""

from __future__ import annotations

from tinythinker.core.names import Registry
from tinythinker.settings.schema import SOURCES
from tinythinker.teacher.ecqa import ecqa
from tinythinker.teacher.facts import facts
from tinythinker.teacher.llm.language_model import language_model
from tinythinker.teacher.none import none
from tinythinker.teacher.official_data import official
from tinythinker.teacher.recorded import recorded
from tinythinker.teacher.scripted import scripted
from tinythinker.teacher.source import Source

TEACHER_SOURCES: Registry[Source] = Registry(
    SOURCES,
    {
        "openai": language_model,
        "ecqa": ecqa,
        "facts": facts,
        "official": official,
        "recorded": recorded,
        "scripted": scripted,
        "none": none,
    },
)
"""By the name that `teacher.source` gives."""
