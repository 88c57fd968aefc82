"""A run of a few questions of one's own, and a teacher played for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ask
from tinythinker.core.records import Question
from tinythinker.core.run import RunDirectory
from tinythinker.settings.schema import RunSettings, load_settings
from tinythinker.teacher.llm.interview import Interview

KEY = "sk-test-4f9d2c71aa"
Interviewer = Callable[..., Interview]


def some_questions(count: int = 4, gold: str = "A") -> list[Question]:
    """Questions with two options, `q0` on."""
    return [ask(f"Where is number {i}?", "up", "down", gold=gold, id=f"q{i}") for i in range(count)]


def llm_settings(url: str, *overrides: str) -> RunSettings:
    """Settings for asking a teacher at this address, without long waits."""
    given = [
        "teacher.source=openai",
        "teacher.model=played",
        f"teacher.base_url={url}",
        "teacher.samples=2",
        "teacher.backoff_seconds=0.001",
        "teacher.timeout_seconds=5",
        "teacher.input_price=1000",
        "teacher.output_price=2000",
    ]
    return load_settings("mine.jsonl", [*given, *overrides])


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """An empty run directory."""
    return RunDirectory(tmp_path / "run")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def interview(run: RunDirectory) -> Interviewer:
    """Opens an interview of four questions, or of those given."""

    def open_it(url: str, *overrides: str, questions: list[Question] | None = None) -> Interview:
        return Interview(llm_settings(url, *overrides), questions or some_questions(), run)

    return open_it


def read_usage(run: RunDirectory) -> dict[str, object]:
    """`usage.json` of a run."""
    usage: dict[str, object] = json.loads(run.usage.read_text())
    return usage
