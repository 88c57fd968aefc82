"""How many requests a second the teacher's client makes, beside the bare SDK, and whether its memory grows.

    .venv/bin/python -m experiments.client_overhead

Both ask the same local server, which answers at once, in a process of its own: 4,000 questions with the CommonsenseQA
prompt, one completion each, 32 requests at a time. "Bare" is the SDK in as many workers and nothing else, so it neither
parses nor writes nor counts. Twice each, in turns.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import openai

from tests.teacher.llm.server import played_apart
from tinythinker.core.records import LABELS, Option, Question
from tinythinker.core.run import RunDirectory
from tinythinker.settings.schema import RunSettings, load_settings
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
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def settings(url: str) -> RunSettings:
    """One completion per question, at once."""
    given = ["teacher.source=openai", "teacher.model=gpt-4o", f"teacher.base_url={url}", "teacher.samples=1"]
    return load_settings("csqa", [*given, f"teacher.concurrency={WORKERS}"])


def ours(url: str, asked: Sequence[Question], folder: Path) -> float:
    """Requests a second through the whole client."""
    interview = Interview(settings(url), asked, RunDirectory(folder))
    started = time.perf_counter()
    interview.ask()
    seconds = time.perf_counter() - started
    assert not interview.missing()  # noqa: S101
    return len(asked) / seconds


def bare(url: str, asked: Sequence[Question], folder: Path) -> float:
    """Requests a second of the SDK alone."""
    prompt = Interview(settings(url), asked[:1], RunDirectory(folder)).prompt
    todo: Iterator[Question] = iter(asked)

    async def work() -> None:
        async with openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0) as client:

            async def worker() -> None:
                for question in todo:
                    await client.chat.completions.create(**prompt.body(question), max_tokens=256)

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
