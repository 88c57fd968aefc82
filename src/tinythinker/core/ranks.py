"""One process, or several that `torchrun` or `accelerate launch` started together: which am I, and what is my share?

Alone, every function here does the obvious and loads nothing. Together, all processes make the same calls in the same
order; only the first one writes files and talks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

from tinythinker.core.errors import SettingsError, StudentError, TinyThinkerError, expected

T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""The others wait while the first one asks a teacher, up to a day by batch; one that is gone is noticed at once."""


def count() -> int:
    """Processes that work together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def number() -> int:
    """Which of them this one is, from 0."""
    return int(os.environ.get("RANK", "0")) if count() > 1 else 0


def is_first() -> bool:
    """Is this the one that writes and talks?"""
    return number() == 0


def go_alone() -> None:
    """Work as if there were no others, who have nothing to do; without others, this changes nothing.

    What this process starts, and libraries it loads, are to know of no others either.
    """
    if count() > 1:
        for name in ("WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK"):
            os.environ.pop(name, None)


def share(items: Sequence[T], block: int = 1) -> Sequence[T]:
    """What of some work this process does: every `count()`-th item, or block of so many items."""
    return [items[i] for i in _places(number(), len(items), block)] if count() > 1 else items


def _places(rank: int, total: int, block: int) -> list[int]:
    return [i for i in range(total) if i // block % count() == rank]


def shares(items: Sequence[T]) -> list[Sequence[T]]:
    """What every process does of some work."""
    return [items[rank :: count()] for rank in range(count())]


def gather(own: Sequence[T], total: int, block: int = 1) -> list[T]:
    """The results of every process's share, in the order of the items; the same on all.

    Args:
        own: one per item of this process's share.
        total: items of all.
        block: as they were shared out.

    Raises:
        StudentError: a process of this job is gone.
    """
    if count() == 1:
        return list(own)
    results: list[T | None] = [None] * total
    for rank, part in enumerate(_everyones(list(own))):
        for i, result in zip(_places(rank, total, block), part, strict=True):
            results[i] = result
    return results  # type: ignore[return-value]


def on_first(work: Callable[[], T]) -> T:
    """What only the first process does; every process gets what came out, be it a result or an error.

    Raises:
        TinyThinkerError: the work did.
        StudentError: a process of this job is gone.
    """
    if count() == 1:
        return work()
    result: T | None = None
    failed: TinyThinkerError | None = None
    if is_first():
        try:
            result = work()
        except TinyThinkerError as error:
            failed = error
    result, failed = _everyones((result, failed))[0]
    if failed is not None:
        failed.is_told = not is_first()
        raise failed
    return cast(T, result)


def most(own: int) -> int:
    """The largest of every process's number. Raises StudentError if one is gone."""
    return own if count() == 1 else max(_everyones(own))


def wait() -> None:
    """Until every process is here. Raises StudentError if one is gone."""
    if count() > 1:
        _everyones(None)


def join() -> None:
    """Find the others; alone, nothing. Raises SettingsError if GPUs are too few."""
    if count() > 1:
        import torch
        from accelerate import PartialState

        devices, here = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        if 0 < devices < here:
            raise SettingsError(expected("processes on this machine", here, f"at most {devices}, one per GPU"))
        PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)


def leave() -> None:
    """When all is done: wait for the others, and end what connects them in order, not in the middle of an exit."""
    if count() > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            wait()
            dist.destroy_process_group()


def _everyones(own: Any) -> list[Any]:
    import torch.distributed as dist

    join()
    found: list[Any] = [None] * count()
    with lost_processes():
        dist.all_gather_object(found, own)
    return found


@contextmanager
def lost_processes() -> Iterator[None]:
    """Say in one line what the communication library says in many when another process is gone."""
    try:
        yield
    except RuntimeError as error:
        if count() == 1 or not any(word in str(error) for word in ("onnection", "NCCL", "gloo", "imed out", "eer")):
            raise
        raise StudentError(
            f"process {number()} of {count()}: found another process of this job gone, expected all to the end; run "
            "the same command again to go on"
        ) from None
