"""OpenBookQA (Mihaylov et al. 2018): four options, and the core science fact of each question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinythinker.core.records import SPLITS, Question
from tinythinker.settings.schema import RunSettings
from tinythinker.tasks.benchmark import Benchmark, Entries, Entry, questions_of
from tinythinker.tasks.official import fetch, files_in, hub_splits, read_official

_TITLE, _HUB = "OpenBookQA", "allenai/openbookqa"


class OpenBookQA(Benchmark):
    """The official splits; core facts where the `_complete` files are there."""

    title, dataset = _TITLE, _HUB

    def read(self, settings: RunSettings) -> Entries:
        """See `Benchmark.read`: parts `train`, `valid` and `test`."""
        if settings.data_dir is not None:
            names = [[f"{part}_complete.jsonl", f"{part}.jsonl"] for part in ("train", "dev", "test")]
            files = files_in(settings.data_dir, _TITLE, *names)
            return Entries(dict(zip(SPLITS, map(read_official, files), strict=True)), tuple(files))
        parts = fetch(
            settings,
            _TITLE,
            "train_complete.jsonl, dev_complete.jsonl and test_complete.jsonl",
            "https://allenai.org/data/open-book-qa",
            lambda: hub_splits(_HUB, "additional", ("train", "validation", "test")),
        )
        return Entries(dict(zip(SPLITS, parts, strict=True)))

    def split(self, parts: Mapping[str, Sequence[Entry]], settings: RunSettings) -> Mapping[str, Sequence[Question]]:
        """See `Benchmark.split`."""
        return {name: questions_of(entries) for name, entries in parts.items()}

    def prompt_family(self, questions: Sequence[Question]) -> str:
        """See `Benchmark.prompt_family`."""
        return "science"
