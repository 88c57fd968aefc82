"""An endpoint that fails one request in four, and five SIGKILLs: all is complete, and no answer is paid twice.

A language model is asked for 1,000 questions x 8 completions by the `teach` command. The server counts what it
delivered; only completions under way at a kill may be missing on disk.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.campaign.forked import Process, finish
from tests.teacher.conftest import KEY
from tests.teacher.llm.server import played_apart, stats
from tinythinker.core.files import read_records
from tinythinker.core.run import RunDirectory
from tinythinker.core.seeds import stream
from tinythinker.teacher.llm.ledger import Reply
from tinythinker.teacher.quality import read_quality
from tinythinker.teacher.rationales import read_rationales

pytestmark = pytest.mark.slow

QUESTIONS, SAMPLES, KILLS, FAULTY = 1_000, 8, 5, 0.25
AT_ONCE = 32
"""Requests that the client has under way at most: `teacher.llm.concurrency` as a rule."""


def give_key() -> None:
    """Give the process the key of the endpoint."""
    os.environ["OPENAI_API_KEY"] = KEY


def test_a_lossy_endpoint_and_kills_leave_every_question_complete_and_nothing_paid_twice(tmp_path: Path) -> None:
    task, run = tmp_path / "mine.jsonl", RunDirectory(tmp_path / "run")
    task.write_text(
        "".join(
            json.dumps({"question": f"Where is number {i}?", "options": ["up", "down"], "answer": i % 2}) + "\n"
            for i in range(QUESTIONS + 400)
        )
    )
    draw, in_flight = stream(0, "lossy"), list[int]()
    began = time.monotonic()
    with played_apart(0, faults=True, most=FAULTY) as url:
        words = [
            *("teach", str(task), "--out", str(run.root), "teacher.source=openai", "teacher.llm.model=played"),
            *(f"teacher.llm.base_url={url}", f"teacher.llm.samples={SAMPLES}", "teacher.llm.waves=40"),
            *("teacher.llm.timeout_seconds=2", "teacher.llm.backoff_seconds=0.02", f"limit.train={QUESTIONS}"),
            *("teacher.llm.input_price=1000", "teacher.llm.output_price=2000", f"teacher.llm.concurrency={AT_ONCE}"),
        ]
        for number in range(KILLS):
            target = stats(url).get("requests", 0) + int(draw.integers(10, QUESTIONS // 4))
            process = Process(words, tmp_path / f"teach-{number}", give_key).go()
            while not process.is_over_after(0) and stats(url).get("requests", 0) < target:
                time.sleep(0.01)
            process.send(signal.SIGKILL)
            assert process.wait().code == -signal.SIGKILL, "it ended before it could be killed"
            time.sleep(0.5)  # the server has delivered what was under way, to nobody
            in_flight.append(stats(url)["delivered completions"] - len(stored(run)) - sum(in_flight))
        ended = finish(words, tmp_path / "teach", give_key)
        assert ended.code == 0, ended.err
        counts = stats(url)
    texts = stored(run)
    assert len(set(texts)) == len(texts)
    lost = counts["delivered completions"] - len(texts)
    assert lost == sum(in_flight)
    assert all(0 <= one <= AT_ONCE * SAMPLES for one in in_flight)
    quality = read_quality(run.quality)
    assert (quality.missing, quality.questions_without_rationale) == ({}, 0)
    assert len(read_rationales(run.rationales)[1]) == QUESTIONS * SAMPLES
    faults = sum(number for name, number in counts.items() if name.startswith("fault") and name != "fault none")
    print(
        f"{counts['requests']} requests, {faults} with a fault ({100 * faults / counts['requests']:.0f}%); "
        f"{counts['delivered completions']} completions delivered, {len(texts)} stored, none twice; "
        f"{QUESTIONS} x {SAMPLES} kept; in flight at the {KILLS} kills: {in_flight}; "
        f"{time.monotonic() - began:.0f} s"
    )


def stored(run: RunDirectory) -> list[str]:
    """The texts of all completions on disk."""
    if not run.completions.exists():
        return []
    replies = read_records(run.completions, Reply, is_growing=True)
    return [completion.text for reply in replies for completion in reply.completions]
