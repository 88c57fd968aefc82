"""Fixtures for asking a teacher: a few questions, a run directory, and settings for a local server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ask
from tinythinker.core.records import Question
from tinythinker.core.run import RunDirectory
from tinythinker.settings.resolve import load_settings
from tinythinker.settings.schema import RunSettings
from tinythinker.teacher.llm.interview import Interview

KEY = "sk-test-4f9d2c71aa"
Interviewer = Callable[..., Interview]


def some_questions(count: int = 4, gold: str = "A") -> list[Question]:
    """`count` questions with two options and ids from `q0` on."""
    return [ask(f"Where is number {i}?", "up", "down", gold=gold, id=f"q{i}") for i in range(count)]


def llm_settings(url: str, *overrides: str) -> RunSettings:
    """Settings for asking a teacher at this address, without long waits."""
    given = [
        "teacher.source=openai",
        "teacher.llm.model=played",
        f"teacher.llm.base_url={url}",
        "teacher.llm.samples=2",
        "teacher.llm.backoff_seconds=0.001",
        "teacher.llm.timeout_seconds=5",
        "teacher.llm.input_price=1000",
        "teacher.llm.output_price=2000",
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
    """Opens an interview with four questions, or with the given ones."""

    def open_it(url: str, *overrides: str, questions: list[Question] | None = None) -> Interview:
        return Interview(llm_settings(url, *overrides), questions or some_questions(), run)

    return open_it


def read_usage(run: RunDirectory) -> dict[str, object]:
    """`usage.json` of a run."""
    usage: dict[str, object] = json.loads(run.usage.read_text())
    return usage
