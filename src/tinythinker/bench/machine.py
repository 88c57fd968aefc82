"""The best rates of this machine, to compare measurements with."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch

from tinythinker.core.conditions import processor
from tinythinker.core.records import Record


class Machine(Record):
    """Rates of a machine, measured rather than taken from a data sheet."""

    name: str
    threads: int
    """Number of torch's threads."""
    matmul_flops: float
    """Floating-point operations per second in one large float32 matrix product."""
    bytes_per_second: float
    """Memory bandwidth, reads plus writes, when a large tensor is copied."""


def measure_machine(device: torch.device) -> Machine:
    """The rates of this machine, measured in about a second."""
    size = 2048 if device.type == "cpu" else 8192
    a, b = (torch.full((size, size), 0.5, device=device) for _ in range(2))
    words = 1 << (26 if device.type == "cpu" else 29)
    source = torch.zeros(words, device=device)
    target = torch.empty_like(source)
    return Machine(
        name=torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        threads=torch.get_num_threads(),
        matmul_flops=2 * size**3 / _fastest(lambda: a @ b, device),
        bytes_per_second=2 * 4 * words / _fastest(lambda: target.copy_(source), device),
    )


def _fastest(work: Callable[[], object], device: torch.device, times: int = 5) -> float:
    """Seconds of the fastest of `times` calls, after one warm-up call."""
    taken = []
    for _ in range(times + 1):
        started = time.perf_counter()
        work()
        wait_for(device)
        taken.append(time.perf_counter() - started)
    return min(taken[1:])


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has finished its queued work; no effect on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory() -> int:
    """Peak bytes that this process has held so far; of GPU memory if there is a GPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage would report the peak of the parent process if that was higher.
        peak = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024
    import resource

    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
