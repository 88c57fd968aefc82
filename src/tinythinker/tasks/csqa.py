"""CommonsenseQA (Talmor et al. 2019): five options; the official test labels are hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinythinker.core.records import Question
from tinythinker.settings.schema import RunSettings
from tinythinker.tasks.benchmark import Benchmark, Entries, Entry, questions_of
from tinythinker.tasks.official import fetch, files_in, hub_splits, read_official
from tinythinker.tasks.split import divide

VALID_QUESTIONS = 1221
"""Official training questions that become validation (METHOD section 2)."""
_TITLE, _HUB = "CommonsenseQA", "tau/commonsense_qa"
_TRAIN, _DEV = "train_rand_split.jsonl", "dev_rand_split.jsonl"


class CommonsenseQA(Benchmark):
    """Validation is drawn from the official training questions; the official dev set is the test set."""

    title, dataset = _TITLE, _HUB

    def read(self, settings: RunSettings) -> Entries:
        """See `Benchmark.read`: parts `train` and `dev`."""
        if settings.data_dir is not None:
            files = files_in(settings.data_dir, _TITLE, [_TRAIN], [_DEV])
            train, dev = map(read_official, files)
            return Entries({"train": train, "dev": dev}, tuple(files))
        train, dev = fetch(
            settings,
            _TITLE,
            f"{_TRAIN} and {_DEV}",
            "https://www.tau-nlp.org/commonsenseqa",
            lambda: hub_splits(_HUB, None, ("train", "validation")),
        )
        return Entries({"train": train, "dev": dev})

    def split(self, parts: Mapping[str, Sequence[Entry]], settings: RunSettings) -> Mapping[str, Sequence[Question]]:
        """See `Benchmark.split`."""
        questions = questions_of(parts["train"])
        valid = min(VALID_QUESTIONS, max(1, len(questions) // 5))
        return {**divide(questions, {"valid": valid}, settings.seed), "test": questions_of(parts["dev"])}

    def prompt_family(self, questions: Sequence[Question]) -> str:
        """See `Benchmark.prompt_family`."""
        return "commonsense"
