"""Which library multiplies float32 matrices on a CPU."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch


@contextmanager
def fast_float32() -> Iterator[None]:
    """Multiply float32 matrices by oneDNN and not MKL where that is faster and as exact: AMD's CPUs with AVX512.

    MKL takes slower ways on CPUs that are not Intel's. torch turns to oneDNN only where it is told that bfloat16 would
    do; on CPUs that cannot multiply float32 as bfloat16 (without AMX) oneDNN keeps every digit all the same, which is
    tried out before it is relied on. Whoever has chosen a precision of their own keeps it.
    """
    own: Any = torch.backends.mkldnn
    before = getattr(getattr(own, "matmul", None), "fp32_precision", None)
    if before != "none" or not _pays():
        yield
        return
    own.matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        own.matmul.fp32_precision = before


@cache
def _pays() -> bool:
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    is_made_for = capabilities.get("avx512_f") and not capabilities.get("amx_bf16") and not torch.cuda.is_available()
    return bool(is_made_for) and "AuthenticAMD" in _vendor() and _is_exact()


def _vendor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else platform.processor()


def _is_exact() -> bool:
    """Does float32 stay float32 when torch is told that bfloat16 would do?"""
    own: Any = torch.backends.mkldnn
    before = own.matmul.fp32_precision
    # Numbers that bfloat16, and TF32, would round off.
    a = torch.linspace(-1, 1, 64 * 512).sin().reshape(64, 512)
    b = torch.linspace(-3, 2, 512 * 64).cos().reshape(512, 64)
    own.matmul.fp32_precision = "bf16"
    try:
        made = a @ b
    finally:
        own.matmul.fp32_precision = before
    exact = a.double() @ b.double()
    return bool((made - exact).abs().max() < 1e-5 * exact.abs().max())
