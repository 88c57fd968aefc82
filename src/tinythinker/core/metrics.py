"""What a training wrote down about itself: `metrics.jsonl`, a line per optimizer step and per validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tinythinker.core.files import Json, read_objects


class Validation(NamedTuple):
    """Accuracy on the validation questions after so many optimizer steps."""

    step: int
    accuracy: float


def read_metrics(path: Path) -> list[Json]:
    """The lines so far, none if there is no file; of a training under way, too. Raises DataError."""
    return [line for _, line in read_objects(path, is_growing=True)] if path.exists() else []


def validations(lines: Sequence[Json]) -> list[Validation]:
    """The validations in order."""
    return [
        Validation(int(str(line["step"])), float(str(line["valid_accuracy"])))
        for line in lines
        if "valid_accuracy" in line
    ]


def best_validation(lines: Sequence[Json]) -> Validation | None:
    """The one whose student was kept: the best, the earliest of equals."""
    return max(validations(lines), key=lambda own: own.accuracy, default=None)
