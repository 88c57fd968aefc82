"""Verbs of a tiny run in processes of their own, which are forked ready to work and can be disturbed at a moment."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from tests.conftest import TINY

IMPORTED = ("acquire.phase_1", "reflect.rounds", "evaluate.verdicts", "evaluate.probe", "report.page", "report.charts")
SETTINGS = (*TINY, "reflect.rollback=false")
"""Every round keeps its student, so that the weights change in each."""
VERBS = ("teach", "train", "reflect", "evaluate", "probe", "report")
"""Every verb that writes into a run, in order; `run` does most of them at once."""
REFUSAL = (
    r"error: \S+: found another process at work in it( \(`(\w+)`, process (\d+) on \S+, since [-\d]+ [:\d]+\))?, "
    r"expected to be alone; wait for it or stop it"
)
LONGEST_SECONDS = 120
"""What no verb of a tiny run takes."""


def words(verb: str, run: Path, *more: str) -> list[str]:
    """The arguments of `tinythinker` for a verb on a run."""
    is_new = verb in ("teach", "run")
    return [verb, "storeroom", "--out", str(run), *SETTINGS, *more] if is_new else [verb, str(run), *more]


@cache
def _context() -> ForkServerContext:
    """A server that has imported everything; its children begin to work within milliseconds."""
    os.environ["OMP_NUM_THREADS"] = "1"  # a process with threads must not be forked
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.campaign.forked", *(f"tinythinker.{name}" for name in IMPORTED)])
    return context


@dataclass(frozen=True)
class Ended:
    """How a verb's process ended."""

    code: int
    """Its exit code; minus the signal that ended it."""
    out: str
    err: str
    seconds: float
    """From the start of the verb to its end, without the start-up of the program."""


class Process:
    """A verb in a process of its own: ready when made, working from `go` on."""

    def __init__(self, arguments: Sequence[str], log: Path, prepare: Callable[[], None] | None = None) -> None:
        """Args: log: where its output goes, in two files; prepare: called in the new process before it is ready."""
        self.log = log
        self._ours, theirs = _context().Pipe()
        work = (list(arguments), log, theirs, prepare)
        self._process: ForkServerProcess = _context().Process(target=_work, args=work)
        self._process.start()
        theirs.close()
        self._ours.recv()
        self._began = 0.0

    def go(self) -> Process:
        """Let it work."""
        self._began = time.monotonic()
        self._ours.send(None)
        return self

    def is_over_after(self, seconds: float) -> bool:
        """Wait this long after the start, or until it has ended; has it?"""
        self._process.join(max(0.0, self._began + seconds - time.monotonic()))
        return not self._process.is_alive()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def wait(self) -> Ended:
        """Wait until it has ended."""
        self._process.join(LONGEST_SECONDS)
        seconds = time.monotonic() - self._began
        if self._process.exitcode is None:
            self._process.kill()
            raise AssertionError(f"{self.log}: does not end")
        out, err = (self.log.with_suffix(end).read_text(errors="replace") for end in (".out", ".err"))
        return Ended(self._process.exitcode, out, err, seconds)


def _work(
    arguments: Sequence[str], log: Path, pipe: Connection[None, None], prepare: Callable[[], None] | None
) -> None:
    """The `tinythinker` command with these arguments, from the moment it is told to go."""
    for number, end in ((1, ".out"), (2, ".err")):
        file = os.open(log.with_suffix(end), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if prepare is not None:
        prepare()
    from tinythinker.__main__ import main

    sys.argv = ["tinythinker", *arguments]
    code: object = 1
    pipe.send(None)
    pipe.recv()
    try:
        main()
    except SystemExit as end_:
        code = end_.code
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)


def finish(arguments: Sequence[str], log: Path, prepare: Callable[[], None] | None = None) -> Ended:
    """Run a verb to its end."""
    return Process(arguments, log, prepare).go().wait()


def whole_run(run: Path, verbs: Sequence[str] = VERBS) -> dict[str, float]:
    """An undisturbed run, verb by verb, and the seconds that each took."""
    run.parent.mkdir(parents=True, exist_ok=True)
    seconds = {}
    for verb in verbs:
        ended = finish(words(verb, run), run.with_name(f"{run.name}-{verb}"))
        assert ended.code == 0, ended.err
        seconds[verb] = ended.seconds
    return seconds


def result(run: Path) -> dict[str, str]:
    """All that a run holds, by path within it, without what may differ between equal runs: times, and the report."""
    return {
        file.relative_to(run).as_posix(): _content(file)
        for file in sorted(run.rglob("*"))
        if file.is_file() and ".lock" not in file.name
    }


def _content(file: Path) -> str:
    if file.stat().st_size == 0:
        return ""
    if file.name == "manifest.json":
        manifest = json.loads(file.read_text())
        kept = {name: manifest[name] for name in ("settings", "begun", "inputs")}
        return json.dumps({**kept, "files": sorted(manifest["files"])}, sort_keys=True)
    if file.name == "metrics.jsonl":
        text = file.read_text(errors="backslashreplace")
        return re.sub(
            r',"seconds":[\d.e-]+', "", re.sub(r"([,:]) ", r"\1", text)
        )  # a resumed training spaces its lines
    if file.name == "report.html":
        return "whole" if file.read_text(errors="replace").rstrip().endswith("</html>") else "cut"
    content = file.read_bytes()
    return content.decode(errors="backslashreplace") if len(content) < 100_000 else hashlib.sha256(content).hexdigest()


def differing(run: Path, wanted: dict[str, str]) -> list[str]:
    """Names of the files that differ from an undisturbed run, that are missing, or that should not be there."""
    found = result(run)
    return sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))


def weights_of(run: Path) -> list[str]:
    """The weights of all students of a run, as hashes."""
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(run.glob("*/student/model.safetensors"))]
