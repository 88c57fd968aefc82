"""What this machine can do at best, so that a figure can be put beside it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch

from tinythinker.core.records import Record


class Machine(Record):
    """Measured, not read off a data sheet."""

    name: str
    threads: int
    """Of torch."""
    matmul_flops: float
    """Floating-point operations per second of one large float32 matrix product."""
    bytes_per_second: float
    """Of memory, read and written, when a large tensor is copied."""


def measure_machine(device: torch.device) -> Machine:
    """Measure for about a second."""
    size = 2048 if device.type == "cpu" else 8192
    a, b = (torch.full((size, size), 0.5, device=device) for _ in range(2))
    words = 1 << (26 if device.type == "cpu" else 29)
    source = torch.zeros(words, device=device)
    target = torch.empty_like(source)
    return Machine(
        name=_name(device),
        threads=torch.get_num_threads(),
        matmul_flops=2 * size**3 / _fastest(lambda: a @ b, device),
        bytes_per_second=2 * 4 * words / _fastest(lambda: target.copy_(source), device),
    )


def _fastest(work: Callable[[], object], device: torch.device, times: int = 5) -> float:
    """Seconds of the fastest call, after one to warm up."""
    taken = []
    for _ in range(times + 1):
        started = time.perf_counter()
        work()
        wait_for(device)
        taken.append(time.perf_counter() - started)
    return min(taken[1:])


def wait_for(device: torch.device) -> None:
    """Until a GPU has done what it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def peak_memory() -> int:
    """Most bytes this process has held so far, of the GPU's memory if there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage would say what the process that started this one held, if that was more.
        peak = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024
    import resource

    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
