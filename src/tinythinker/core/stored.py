"""Records that stay on disk and are read when they are needed, so that memory does not grow with their number."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar, overload

from tinythinker.core import ranks
from tinythinker.core.errors import DataError
from tinythinker.core.files import appending, file_errors, iterate_records, record_of
from tinythinker.core.progress import Progress
from tinythinker.core.records import Record

R = TypeVar("R", bound=Record)
T = TypeVar("T")

_TOGETHER = 512
"""Picked items that are in memory at once while all of them pass by."""


class OnDemand(Sequence[T]):
    """A sequence whose items are made or read when they are needed; a subclass says how many and which."""

    def _at(self, place: int) -> T:
        """The item at a place, from 0."""
        raise NotImplementedError

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[T]: ...
    def __getitem__(self, place: int | slice) -> T | Sequence[T]:
        found = range(len(self))[place]
        return self._at(found) if isinstance(found, int) else self.take(found)

    def take(self, places: Sequence[int]) -> list[T]:
        """The items at these places, now."""
        return [self._at(place) for place in places]


class Stored(OnDemand[R]):
    """The records of a finished JSON Lines file, as a sequence; of each line only its place is kept.

    Raises:
        DataError: the file is missing; when a record is read: its line is not such a record.
    """

    def __init__(self, path: Path, kind: type[R]) -> None:
        self.path, self._kind = path, kind
        self._starts = array("q", [0])
        with file_errors(path), path.open("rb") as file:
            for line in file:
                self._starts.append(self._starts[-1] + len(line))

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __iter__(self) -> Iterator[R]:
        return iterate_records(self.path, self._kind)

    def _at(self, place: int) -> R:
        return self.take([place])[0]

    def take(self, places: Sequence[int]) -> list[R]:
        """The records at these places."""
        found = []
        with file_errors(self.path), self.path.open("rb") as file:
            for place in places:
                file.seek(self._starts[place])
                line = file.read(self._starts[place + 1] - self._starts[place])
                found.append(record_of(line.decode("utf-8"), self._kind, f"{self.path}:{place + 1}"))
        return found

    def cut(self, count: int) -> None:
        """Leave only the first records in the file."""
        if count < len(self):
            with file_errors(self.path), self.path.open("r+b") as file:
                file.truncate(self._starts[count])
            del self._starts[count + 1 :]


class Picked(OnDemand[T]):
    """Some items of a sequence in another order, taken from it when they are needed."""

    def __init__(self, items: Sequence[T], places: Sequence[int]) -> None:
        self._items, self._places = items, array("q", places)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[T]:
        for start in range(0, len(self), _TOGETHER):
            yield from self.take(range(start, min(start + _TOGETHER, len(self))))

    def _at(self, place: int) -> T:
        return self._items[self._places[place]]

    def take(self, places: Sequence[int]) -> list[T]:
        """The items at these places, now."""
        wanted = [self._places[place] for place in places]
        return self._items.take(wanted) if isinstance(self._items, OnDemand) else [self._items[i] for i in wanted]


def pick(items: Sequence[T], places: Sequence[int]) -> Sequence[T]:
    """The items at these places: now, or when they are needed if they are not in memory."""
    return [items[place] for place in places] if isinstance(items, list | tuple) else Picked(items, places)


def complete(
    path: Path,
    kind: type[R],
    items: Sequence[T],
    work: Callable[[Sequence[T]], Sequence[R]],
    *,
    fits: Callable[[T, R], bool],
    chunk: int,
    name: str,
) -> Stored[R]:
    """One record per item, in order, computed chunk by chunk; a finished chunk is appended to a file.

    A file with a record for every item is complete.

    Whole chunks already in the file are kept; a partial chunk is computed again. Chunk boundaries never
    change, so an interrupted file ends up the same as an uninterrupted one. Several processes compute one
    chunk each at a time, and the first process writes; the chunks are the same for any number of processes.

    Args:
        fits: is this the record of this item? Records of other items are never used, and never overwritten.
        chunk: items to compute together.
        name: label of the progress bar.

    Raises:
        DataError: the file holds records of other items, or cannot be read or written.
    """
    done = ranks.on_first(lambda: _done_before(path, kind, items, fits, chunk))
    with ExitStack() as stack:
        file = stack.enter_context(appending(path)) if ranks.is_first() else None
        progress = stack.enter_context(Progress(name, len(items), done))
        while done < len(items):
            some = items[done : done + chunk * ranks.count()]
            mine = ranks.share(some, block=chunk)
            made = ranks.gather(work(mine) if mine else [], len(some), block=chunk)
            if file is not None:
                file.add(*made)
            done += len(made)
            progress.advance(len(made))
    ranks.wait()
    return Stored(path, kind)


def _done_before(path: Path, kind: type[R], items: Sequence[T], fits: Callable[[T, R], bool], chunk: int) -> int:
    """The number of records in a file, which is cut to whole chunks unless all are there."""
    if not path.exists():
        return 0
    with appending(path):  # drops a line that a kill has torn
        pass
    stored = Stored(path, kind)
    if len(stored) > len(items):
        raise DataError(f"{path}: found {len(stored)} lines, expected at most {len(items)}; delete the file to go on")
    for number, (item, record) in enumerate(zip(items, stored, strict=False), start=1):
        if not fits(item, record):
            raise DataError(
                f"{path}:{number}: found another question's line, expected its own; delete the file to go on"
            )
    if len(stored) < len(items):
        stored.cut(len(stored) // chunk * chunk)
    return len(stored)
