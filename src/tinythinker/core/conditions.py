"""What the bits of a result depend on besides the settings: threads, processes, hardware and libraries."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from tinythinker.core import ranks
from tinythinker.core.records import Record


class Conditions(Record):
    """What a verb worked under."""

    threads: int
    """Number of torch's threads."""
    processes: int
    device: str
    """Name of the GPU, or of the processor if there is none."""
    python: str
    torch: str
    transformers: str

    def changes_since(self, before: Conditions) -> list[str]:
        """What differs, in words: `threads 2 (was 1)`."""
        was, now = before.model_dump(), self.model_dump()
        return [f"{name} {value} (was {was[name]})" for name, value in now.items() if value != was[name]]


def conditions_now() -> Conditions:
    """What this process works under. Loads torch."""
    import torch

    has_gpu = torch.cuda.is_available()
    return Conditions(
        threads=torch.get_num_threads(),
        processes=ranks.count(),
        device=torch.cuda.get_device_name() if has_gpu else processor(),
        python=platform.python_version(),
        torch=metadata.version("torch"),
        transformers=metadata.version("transformers"),
    )


def processor() -> str:
    """Name of this machine's processor and its number of cores."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor() or platform.machine()}, {os.cpu_count()} cores"
