"""A scripted HTTP server that plays a teacher, with any faults that a test asks for."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What the server sends."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    is_reset: bool = False
    """Send half of the body, then drop the connection."""
    drip_seconds: float = 0.0
    """Send the body in ten parts, with this pause before each."""


@dataclass(frozen=True)
class Request:
    """A request that the server received."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as JSON."""
        value: dict[str, Any] = json.loads(self.body)
        return value

    @property
    def n(self) -> int:
        """Number of completions requested."""
        return int(self.json.get("n", 1))


Handler = Callable[[Request], Answer]


def chat(texts: Sequence[str], *, finish: Sequence[str] = (), usage: tuple[int, int] | None = (100, 50)) -> bytes:
    """The body of a chat completion with these texts."""
    choices = [
        {
            "index": i,
            "message": {"role": "assistant", "content": text},
            "finish_reason": finish[i] if finish else "stop",
        }
        for i, text in enumerate(texts)
    ]
    body: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion", "model": "played", "choices": choices}
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return json.dumps(body).encode()


def choice(index: int = 0, finish: str | None = "stop", error: object = None, **message: Any) -> dict[str, Any]:
    """One choice of a chat completion, with any fields of its message: `content`, `reasoning` ..."""
    made = {"index": index, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return made if error is None else {**made, "error": error}


def body_of(*choices: dict[str, Any], **fields: object) -> bytes:
    """The body of a chat completion with these choices and further fields: `usage`, `error` ..."""
    return json.dumps({"id": "chatcmpl-1", "model": "played", "choices": choices, **fields}).encode()


def streamed(body: bytes, *, pieces: int = 7) -> bytes:
    """A chat completion as server-sent events: every text in pieces, the usage in the last chunk."""
    whole = json.loads(body)
    chunks: list[dict[str, Any]] = []
    for one in whole["choices"]:
        delta: dict[str, Any] = {"role": "assistant", "content": ""}
        chunks.append({"choices": [{"index": one["index"], "delta": delta, "finish_reason": None}]})
        for name, text in one["message"].items():
            size = max(1, -(-len(text or "") // pieces))
            for start in range(0, len(text or "") if name != "role" else 0, size):
                delta = {name: text[start : start + size]}
                chunks.append({"choices": [{"index": one["index"], "delta": delta, "finish_reason": None}]})
        chunks.append({"choices": [{"index": one["index"], "delta": {}, "finish_reason": one["finish_reason"]}]})
    chunks.append({"choices": [], "usage": whole.get("usage")})
    head = {"id": whole["id"], "object": "chat.completion.chunk", "model": whole["model"]}
    lines = [f"data: {json.dumps(head | chunk)}\n\n" for chunk in chunks]
    return "".join([": ping\n\n", *lines, "data: [DONE]\n\n"]).encode()


def refusal(status: int, message: str, code: str | None = None, **headers: str) -> Answer:
    """An error in OpenAI's shape."""
    return Answer(status, json.dumps({"error": {"message": message, "code": code}}).encode(), headers)


def rationale_text(request: Request, mark: str) -> str:
    """A perfect completion for the question of a request, made unique by its mark."""
    asked = request.json["messages"][-1]["content"].split("\n")
    gold = asked[-1].removeprefix("Answer: ")
    labels = [line[0] for line in asked[1:-1]]
    verdicts = [
        f"{label} is {'correct' if label == gold else 'incorrect'}. Because of {mark}, says {label}."
        for label in labels
    ]
    return "\n".join([f"Key Information: It is known that {mark}.", *verdicts])


class Server:
    """An asyncio server that records the requests it receives."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.requests: list[Request] = []
        self.keep_requests = True
        self.most_at_once = 0
        self._at_once = 0
        self.port = 0

    @property
    def url(self) -> str:
        """Base URL for a client."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, started: Callable[[], None]) -> None:
        """Serve until cancelled."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=2000)
        self.port = server.sockets[0].getsockname()[1]
        started()
        async with server:
            await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._one(reader, writer):
                pass
        writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        request = Request(method, path, headers, body)
        if self.keep_requests:
            self.requests.append(request)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            answer = self.handler(request)
            await asyncio.sleep(answer.delay_seconds)
        finally:
            self._at_once -= 1
        lines = [f"HTTP/1.1 {answer.status} X", f"content-length: {len(answer.body)}"]
        lines += [
            f"{name}: {value}" for name, value in ({"content-type": "application/json"} | {**answer.headers}).items()
        ]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        if answer.is_reset:
            writer.write(answer.body[: len(answer.body) // 2])
            await writer.drain()
            return False
        parts = 10 if answer.drip_seconds else 1
        size = -(-len(answer.body) // parts)
        for start in range(0, len(answer.body), size):
            await asyncio.sleep(answer.drip_seconds)
            writer.write(answer.body[start : start + size])
        await writer.drain()
        return True


@contextmanager
def serving(handler: Handler) -> Iterator[Server]:
    """A server in a thread of this process."""
    server = Server(handler)
    started = threading.Event()
    end: list[Callable[[], object]] = []

    async def work() -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        end.append(lambda: loop.call_soon_threadsafe(ended.set))
        serve = asyncio.create_task(server.serve(started.set))
        await ended.wait()
        serve.cancel()

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    started.wait(10)
    try:
        yield server
    finally:
        end[0]()
        thread.join(10)


class PerfectTeacher:
    """A teacher that is always right, over a connection that fails in every possible way.

    Every completion holds a unique mark, so that tests can tell if one was received twice or lost.
    """

    def __init__(self, seed: int, *, faults: bool, most: float = 0.22) -> None:
        """Args: most: share of the requests that get a fault, if there are faults."""
        self._random = random.Random(seed)
        self._faults = faults
        sound = (1 - FAULTS["none"]) * (1 - most) / most
        self._weights = list((FAULTS | {"none": sound}).values())
        self.counts: Counter[str] = Counter()

    def __call__(self, request: Request) -> Answer:
        if request.path == "/stats":
            return Answer(body=json.dumps(self.counts).encode())
        self.counts["requests"] += 1
        fault = self._random.choices(list(FAULTS), self._weights)[0] if self._faults else "none"
        self.counts[f"fault {fault}"] += 1
        match fault:
            case "429 with Retry-After":
                return refusal(429, "slow down", **{"retry-after": "0.05"})
            case "429":
                return refusal(429, "slow down")
            case "500" | "503":
                return refusal(int(fault), "out of order")
            case "timeout":
                return Answer(body=self._body(request), delay_seconds=30)
            case "reset":
                return Answer(body=self._body(request), is_reset=True)
            case "truncated":
                body = self._body(request)
                return Answer(body=body[: len(body) // 2])
            case "empty":
                return Answer(body=chat([]))
            case "drip":
                return self._delivered(request, drip_seconds=0.05)
        return self._delivered(request)

    def _delivered(self, request: Request, **how: float) -> Answer:
        self.counts["delivered completions"] += request.n
        return Answer(body=self._body(request), **how)  # type: ignore[arg-type]

    def _body(self, request: Request) -> bytes:
        texts, finish = [], []
        for _ in range(request.n):
            text = rationale_text(request, f"{self._random.getrandbits(128):032x}")
            is_cut = self._faults and self._random.random() < 0.03
            if is_cut:
                text = text[: len(text) * 2 // 3]
            elif self._faults and self._random.random() < 0.2:
                lines = text.split("\n")
                del lines[self._random.randrange(len(lines))]
                text = "\n".join(lines)
            texts.append(text)
            finish.append("length" if is_cut else "stop")
        return chat(texts, finish=finish, usage=(500, 60 * request.n))


FAULTS = {
    "none": 0.78,
    "429 with Retry-After": 0.03,
    "429": 0.03,
    "500": 0.03,
    "503": 0.03,
    "timeout": 0.004,
    "reset": 0.03,
    "truncated": 0.03,
    "empty": 0.03,
    "drip": 0.006,
}
"""Probability of each fault. In addition, about a fifth of the delivered texts are malformed."""


@contextmanager
def played_apart(seed: int, *, faults: bool, most: float = 0.22) -> Iterator[str]:
    """A perfect teacher in a separate process; yields its base URL. Args: as for `PerfectTeacher`."""
    words = [sys.executable, __file__, "--seed", str(seed), "--most", str(most), *(["--faults"] if faults else [])]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def stats(url: str) -> dict[str, int]:
    """The counts of a teacher that runs in a separate process."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/stats", timeout=10) as answer:
        counts: dict[str, int] = json.loads(answer.read())
        return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--most", type=float, default=0.22)
    options = parser.parse_args()
    played = Server(PerfectTeacher(options.seed, faults=options.faults, most=options.most))
    played.keep_requests = False
    asyncio.run(played.serve(lambda: print(played.url, flush=True)))
