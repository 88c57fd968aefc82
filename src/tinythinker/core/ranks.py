"""Which process am I, and what is my share? `torchrun` and `accelerate launch` start several processes.

With one process, every function here does the obvious and loads nothing. Several processes must make the same
calls in the same order; only the first one writes files and prints messages.
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
"""How long processes wait for each other: the first may wait up to a day for a teacher's batch. A process
that has ended is noticed at once."""


def count() -> int:
    """How many processes work together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def number() -> int:
    """The number of this process, counted from 0."""
    return int(os.environ.get("RANK", "0")) if count() > 1 else 0


def is_first() -> bool:
    """Is this the process that writes files and prints messages?"""
    return number() == 0


def go_alone() -> None:
    """Make this process work as if it were the only one; the others have nothing to do.

    Libraries that it loads and processes that it starts then see only one process too. Does nothing if there
    is only one.
    """
    if count() > 1:
        for name in ("WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK"):
            os.environ.pop(name, None)


def share(items: Sequence[T], block: int = 1) -> Sequence[T]:
    """This process's share of the items: every `count()`-th block of `block` consecutive items."""
    return [items[i] for i in _places(number(), len(items), block)] if count() > 1 else items


def _places(rank: int, total: int, block: int) -> list[int]:
    return [i for i in range(total) if i // block % count() == rank]


def shares(items: Sequence[T]) -> list[Sequence[T]]:
    """Every process's share of the items."""
    return [items[rank :: count()] for rank in range(count())]


def gather(mine: Sequence[T], total: int, block: int = 1) -> list[T]:
    """The results of all processes, in the order of the items; every process gets the same list.

    Args:
        mine: this process's results, one per item of its share.
        total: number of items in all shares.
        block: the block size given to `share`.

    Raises:
        StudentError: a process of this job has ended.
    """
    if count() == 1:
        return list(mine)
    results: list[T | None] = [None] * total
    for rank, part in enumerate(_everyones(list(mine))):
        for i, result in zip(_places(rank, total, block), part, strict=True):
            results[i] = result
    return results  # type: ignore[return-value]


def on_first(work: Callable[[], T]) -> T:
    """Do some work on the first process only; every process gets its result or its error.

    Raises:
        TinyThinkerError: the work raised it.
        StudentError: a process of this job has ended.
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


def most(mine: int) -> int:
    """The largest of all processes' numbers. Raises StudentError if a process has ended."""
    return mine if count() == 1 else max(_everyones(mine))


def wait() -> None:
    """Wait until every process gets here. Raises StudentError if a process has ended."""
    if count() > 1:
        _everyones(None)


def join() -> None:
    """Connect to the other processes, if there are any. Raises SettingsError if there are too few GPUs."""
    if count() > 1:
        import torch
        from accelerate import PartialState

        devices, here = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        if 0 < devices < here:
            raise SettingsError(expected("processes on this machine", here, f"at most {devices}, one per GPU"))
        PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)


def leave() -> None:
    """Wait for the others at the end and disconnect cleanly, instead of in the middle of an exit."""
    if count() > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            wait()
            dist.destroy_process_group()


def _everyones(mine: Any) -> list[Any]:
    import torch.distributed as dist

    join()
    found: list[Any] = [None] * count()
    with lost_processes():
        dist.all_gather_object(found, mine)
    return found


@contextmanager
def lost_processes() -> Iterator[None]:
    """Turn the communication library's many lines about a process that has ended into a one-line error."""
    try:
        yield
    except RuntimeError as error:
        if count() == 1 or not any(word in str(error) for word in ("onnection", "NCCL", "gloo", "imed out", "eer")):
            raise
        raise StudentError(
            f"process {number()} of {count()}: found another process of this job gone, expected all to run "
            "to the end; run the same command again to continue"
        ) from None
