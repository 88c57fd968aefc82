"""StrategyQA (Geva et al. 2021): yes/no questions in one JSON list, each with the facts it was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinythinker.core.records import Question
from tinythinker.settings.schema import RunSettings
from tinythinker.tasks.benchmark import Benchmark, Entries, Entry, questions_of
from tinythinker.tasks.official import fetch, files_in, hub_file, read_official
from tinythinker.tasks.split import divide

_TITLE, _HUB, _FILE = "StrategyQA", "voidful/StrategyQA", "strategyqa_train.json"


class StrategyQA(Benchmark):
    """The labelled questions, shuffled 80/10/10; A is yes and B is no (METHOD section 2)."""

    title, dataset = _TITLE, _HUB

    def read(self, settings: RunSettings) -> Entries:
        """See `Benchmark.read`: one part, `train`."""
        if settings.data_dir is not None:
            (file,) = files_in(settings.data_dir, _TITLE, [_FILE])
            return Entries({"train": read_official(file)}, (file,))
        entries = fetch(
            settings,
            _TITLE,
            _FILE,
            "https://allenai.org/data/strategyqa",
            lambda: read_official(hub_file(_HUB, _FILE)),
        )
        return Entries({"train": entries})

    def split(self, parts: Mapping[str, Sequence[Entry]], settings: RunSettings) -> Mapping[str, Sequence[Question]]:
        """See `Benchmark.split`."""
        questions = questions_of(parts["train"])
        tenth = len(questions) // 10
        return divide(questions, {"valid": tenth, "test": tenth}, settings.seed)

    def prompt_family(self, questions: Sequence[Question]) -> str:
        """See `Benchmark.prompt_family`."""
        return "yes_no"
