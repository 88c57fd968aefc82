"""Adding a benchmark, a teacher source, a preference loss and a study method: one definition and one line each.

docs/EXTENDING.md shows the same four. Each is used below as a person would use it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.conftest import ask
from tinythinker import api
from tinythinker.core.errors import SettingsError
from tinythinker.core.files import read_records
from tinythinker.core.metrics import read_metrics
from tinythinker.core.records import Question, Rationale
from tinythinker.reflect.losses import PREFERENCE_LOSSES, PairLogps, PreferenceLoss, dpo_margin
from tinythinker.settings.resolve import load_settings
from tinythinker.settings.schema import ReflectSettings, RunSettings
from tinythinker.study.methods import METHODS, Method
from tinythinker.tasks.benchmark import Benchmark, Entries, Entry, questions_of
from tinythinker.tasks.registry import BENCHMARKS
from tinythinker.tasks.split import divide
from tinythinker.teacher.source import Asking, Given, free
from tinythinker.teacher.sources import TEACHER_SOURCES

KILOS = {"ant": 0, "mouse": 1, "hen": 2, "cat": 4, "dog": 20, "pig": 80}


class Animals(Benchmark):
    """Which of two animals is heavier?"""

    def read(self, settings: RunSettings) -> Entries:
        pairs = itertools.permutations(KILOS, 2)
        entries = [
            Entry(
                ask(
                    "Which is heavier?", one, other, gold="A" if KILOS[one] > KILOS[other] else "B", id=f"{one}-{other}"
                )
            )
            for one, other in pairs
        ]
        return Entries({"all": entries})

    def split(self, parts: Mapping[str, Sequence[Entry]], settings: RunSettings) -> Mapping[str, Sequence[Question]]:
        return divide(questions_of(parts["all"]), {"valid": 6, "test": 8}, settings.seed)


def encyclopedia(asking: Asking) -> Given:
    """A source that knows what every animal weighs."""
    rationales = [
        Rationale(
            question_id=question.id,
            recall=", ".join(f"a {option.text} weighs {KILOS[option.text]}" for option in question.options),
            analyses=tuple(f"it weighs {KILOS[option.text]}." for option in question.options),
        )
        for question in asking.questions
    ]
    return Given(rationales, free(asking), licence="common knowledge")


def hinge(policy: PairLogps, reference: PairLogps, settings: ReflectSettings) -> Tensor:
    """max(0, 1 - β margin) of each pair, shape (pairs,)."""
    return torch.relu(1 - settings.beta * dpo_margin(policy, reference))


@pytest.fixture(autouse=True)
def _registered(forgotten: None) -> None:
    """Register all four."""
    BENCHMARKS.add("animals", Animals())
    TEACHER_SOURCES.add("encyclopedia", encyclopedia)
    PREFERENCE_LOSSES.add("hinge", PreferenceLoss(hinge))
    METHODS["hinged"] = Method("both phases with a hinge loss", ("reflect.loss=hinge",))


SMALL = (
    "teacher.source=encyclopedia",
    "student.init=scratch",
    "train.max_steps=4",
    "train.batch_size=8",
    "generate.max_recall_tokens=8",
    "generate.max_analysis_tokens=8",
    "generate.answer=constrained",
    "reflect.rounds=1",
    "reflect.samples_per_question=4",
    "reflect.temperature=2.0",
    "reflect.stages=[recall]",
    "reflect.max_steps=2",
)


def test_a_new_benchmark_source_and_loss_run_through_every_verb(tmp_path: Path) -> None:
    run = api.start("animals", tmp_path / "run", *SMALL, "reflect.loss=hinge")
    scores = api.run(run)
    assert (scores["phase-1"].n, len(read_records(run.questions("train"), Question))) == (8, 30 - 6 - 8)
    assert "it weighs 80." in run.rationales.read_text()
    steps = read_metrics(run.round(1).metrics).steps
    assert steps[0].margin == 0.0
    # Before the first step the margin is 0, so that every pair costs 1; alpha adds the chosen texts' likelihood.
    assert steps[0].loss > 1.0


def test_a_new_method_is_a_row_of_a_study(tmp_path: Path) -> None:
    results = api.study("animals", *SMALL, out=tmp_path / "study", methods=["phase_1", "hinged"], seeds=1)
    assert [row.method for row in results.rows] == ["phase_1", "hinged"]
    assert "hinged: both phases with a hinge loss" in [f"{name}: {own.meaning}" for name, own in api.methods().items()]


def test_new_names_are_offered_where_settings_are_listed_and_misspelt() -> None:
    (line,) = [line for line in api.settings("reflect") if line.key == "reflect.loss"]
    assert line.allowed == "dpo | ipo | dpo_norm | grpo | none | hinge"
    with pytest.raises(SettingsError, match=r"setting reflect\.loss: found 'hing', expected .*did you mean 'hinge'"):
        load_settings("animals", ["reflect.loss=hing"])
    with pytest.raises(SettingsError, match="did you mean 'animals'"):
        load_settings("animal")


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one that is not taken"):
        PREFERENCE_LOSSES.add("dpo", PreferenceLoss(hinge))
