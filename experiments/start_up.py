"""Seconds until a command answers: the best and the median of several calls, each in a process of its own.

tinythinker run storeroom --out RUN reflect.rounds=0
python -m experiments.start_up RUN
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

QUESTION = ("Where is the apple?", "-o", "fridge", "-o", "drawer")


def seconds(command: list[str], times: int) -> list[float]:
    """Wall-clock seconds of each call; the first call, which fills the disk cache, is not among them."""
    found = []
    for _ in range(times + 1):
        started = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        found.append(time.perf_counter() - started)
    return found[1:]


def main() -> None:
    """Print one line per command."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("run", type=Path)
    arguments.add_argument("--times", type=int, default=5)
    given = arguments.parse_args()
    own = ["-m", "tinythinker"]
    commands = {
        "python": ["-c", ""],
        "import torch": ["-c", "import torch"],
        "ask": [*own, "ask", str(given.run), *QUESTION],
        "--help": [*own, "--help"],
        "settings": [*own, "settings", "storeroom"],
        "report": [*own, "report", str(given.run)],
        "methods": [*own, "methods"],
    }
    print(f"{'command':<14}{'best':>8}{'median':>8}")
    best = {}
    for name, command in commands.items():
        took = seconds(command, given.times)
        best[name] = min(took)
        print(f"{name:<14}{min(took):>7.2f}s{statistics.median(took):>7.2f}s", flush=True)
    print(f"ask answers {best['ask'] - best['import torch']:.2f} s after what `import torch` takes")


if __name__ == "__main__":
    main()
