"""Many clients ask a service at once: every question is answered, as `predict` answers it, or refused with 429.

A Storeroom student is trained for this, or taken from the run in TINYTHINKER_RUN. TINYTHINKER_SECONDS, 60 by default,
says how long the clients ask.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from tinythinker import api
from tinythinker.core.files import read_records
from tinythinker.core.records import Question
from tinythinker.core.run import RunDirectory
from tinythinker.use.prediction import Prediction

pytestmark = pytest.mark.slow

CLIENTS = 200
SECONDS = float(os.environ.get("TINYTHINKER_SECONDS", "60"))
HEAD = "POST /v1/answer HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
NEAR = 1e-4
"""How far probabilities may lie apart: the last bits depend on which questions are answered together."""


class Given(NamedTuple):
    """A response."""

    question: int
    status: int
    body: bytes
    seconds: float
    began: float


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    if "TINYTHINKER_RUN" in os.environ:
        return RunDirectory(Path(os.environ["TINYTHINKER_RUN"]))
    made = api.start("storeroom", tmp_path_factory.mktemp("runs") / "run", "train.max_steps=150", "reflect.rounds=0")
    api.teach(made)
    api.train(made)
    return made


async def client(number: int, port: int, bodies: list[bytes], until: float, given: list[Given]) -> None:
    """Ask one question after the other over one connection, beginning at a place of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    place = number
    while time.monotonic() < until:
        body, began = bodies[place % len(bodies)], time.monotonic()
        writer.write(f"{HEAD}content-length: {len(body)}\r\n\r\n".encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        found = re.search(r"content-length: (\d+)", answer)
        assert found is not None, answer
        text = await reader.readexactly(int(found[1]))
        given.append(Given(place % len(bodies), int(answer.split()[1]), text, time.monotonic() - began, began))
        place += 1
        if given[-1].status == 429:
            await asyncio.sleep(float(re.findall(r"retry-after: (\d+)", answer)[0]))
    writer.close()


async def clients(port: int, bodies: list[bytes]) -> list[Given]:
    given: list[Given] = []
    until = time.monotonic() + SECONDS
    await asyncio.gather(*(client(number, port, bodies, until, given) for number in range(CLIENTS)))
    return given


def answers(run: RunDirectory, words: list[str], bodies: list[bytes]) -> tuple[list[Given], str, int]:
    """What a service gives 200 clients, its figures, and its exit code after SIGTERM."""
    command = [sys.executable, "-m", "tinythinker", "serve", str(run.root), "--port", "0", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        given = asyncio.run(clients(int(address.rpartition(":")[2]), bodies))
        figures = urllib.request.urlopen(f"{address}/metrics").read().decode()
        process.send_signal(signal.SIGTERM)
        return given, figures, process.wait(60)


def refuse_differing(given: list[Given], wanted: list[Prediction]) -> None:
    for body in {(one.question, one.body) for one in given if one.status == 200}:
        made, expected = Prediction.model_validate_json(body[1]), wanted[body[0]]
        assert made.probabilities == pytest.approx(expected.probabilities, abs=NEAR)
        same = {"id": made.id, "gold": None, "is_correct": None, "probabilities": made.probabilities}
        assert made == expected.model_copy(update=same)


@pytest.mark.parametrize(("words", "statuses"), [([], {200}), (["--queue", "50"], {200, 429})])
def test_200_clients_get_the_answers_of_predict_or_429(run: RunDirectory, words: list[str], statuses: set[int]) -> None:
    questions = read_records(run.questions("test"), Question)
    wanted: list[Prediction] = []
    began = time.monotonic()
    api.predict(run, run.questions("test"), each=wanted.append)
    predict_seconds = time.monotonic() - began
    bodies = [
        json.dumps({"question": one.stem, "options": [option.text for option in one.options]}).encode()
        for one in questions
    ]
    given, figures, code = answers(run, words, bodies)
    counts = Counter(one.status for one in given)
    waits = sorted(one.seconds for one in given if one.status == 200)
    batches = {
        name: float(re.findall(rf"tinythinker_batch_size_{name} (\S+)", figures)[0]) for name in ("sum", "count")
    }
    print(f"\n{' '.join(words) or 'usual limits'}: {CLIENTS} clients, {SECONDS:g} s, by status {dict(counts)}")
    print(
        f"{counts[200] / SECONDS:.1f} answers per second, {batches['sum'] / batches['count']:.1f} questions per batch"
    )
    median, most = waits[len(waits) // 2], waits[-1]
    print(f"seconds to an answer: median {median:.2f}, 95% {waits[len(waits) * 95 // 100]:.2f}, most {most:.2f}")
    print(f"predict, loading included: {len(questions) / predict_seconds:.1f} per second")
    assert set(counts) == statuses
    assert code == 0
    refuse_differing(given, wanted)
