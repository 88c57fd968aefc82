"""How many requests per second the teacher's client makes, compared with the bare SDK; does its memory grow?

    .venv/bin/python -m experiments.client_overhead

Both ask the same local server, which runs in a separate process and answers immediately: 4,000 questions with
the CommonsenseQA prompt, one completion each, 32 requests at a time. "Bare" is only the SDK, with the same
number of workers: it does not parse, write or count. Each runs twice, in turns.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import openai

from tests.teacher.llm.server import played_apart
from tinythinker.core.records import LABELS, Option, Question
from tinythinker.core.run import RunDirectory
from tinythinker.settings.resolve import load_settings
from tinythinker.settings.schema import RunSettings
from tinythinker.teacher.llm.interview import Interview

QUESTIONS = 4000
WORKERS = 32


def questions() -> list[Question]:
    """Questions with five options."""
    options = tuple(Option(label=label, text=f"place {label}") for label in LABELS[:5])
    return [
        Question(id=f"q{i}", stem=f"Where would you look for thing number {i}?", options=options, gold="A")
        for i in range(QUESTIONS)
    ]


def megabytes() -> float:
    """Memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def settings(url: str) -> RunSettings:
    """Settings for one completion per question, `WORKERS` requests at a time."""
    given = [
        "teacher.source=openai",
        "teacher.llm.model=gpt-4o",
        f"teacher.llm.base_url={url}",
        "teacher.llm.samples=1",
    ]
    return load_settings("csqa", [*given, f"teacher.llm.concurrency={WORKERS}"])


def ours(url: str, asked: Sequence[Question], folder: Path) -> float:
    """Requests per second through the whole client."""
    interview = Interview(settings(url), asked, RunDirectory(folder))
    started = time.perf_counter()
    interview.ask()
    seconds = time.perf_counter() - started
    assert not interview.missing()  # noqa: S101
    return len(asked) / seconds


def bare(url: str, asked: Sequence[Question], folder: Path) -> float:
    """Requests per second through the SDK alone."""
    prompt = Interview(settings(url), asked[:1], RunDirectory(folder)).prompt
    todo: Iterator[Question] = iter(asked)

    async def work() -> None:
        async with openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0) as client:

            async def worker() -> None:
                for question in todo:
                    await client.chat.completions.create(**cast(Any, prompt.body(question)), max_tokens=256)

            await asyncio.gather(*(worker() for _ in range(WORKERS)))

    started = time.perf_counter()
    asyncio.run(work())
    return len(asked) / (time.perf_counter() - started)


def main() -> None:
    """Measure and print."""
    asked = questions()
    with played_apart(0, faults=False) as url, tempfile.TemporaryDirectory() as temporary:
        for turn in range(2):
            slow = bare(url, asked, Path(temporary) / "bare")
            before = megabytes()
            fast = ours(url, asked, Path(temporary) / f"run-{turn}")
            print(
                f"bare SDK {slow:.0f} requests/s, client {fast:.0f} requests/s, ratio {fast / slow:.2f}; "
                f"memory {before:.0f} MB before, {megabytes():.0f} MB after {QUESTIONS} requests"
            )


if __name__ == "__main__":
    main()
