from __future__ import annotations

from tinythinker.core.metrics import Metrics, StepMetrics, Validation
from tinythinker.core.records import Stage
from tinythinker.evaluate.score import Score
from tinythinker.report.charts import accuracy_bars, first_wrong_bars, preference_curves, training_curves

SCORE = Score(accuracy=0.5, low=0.4, high=0.6, n=100, unreadable=0.0, tokens_per_answer=12.0, cut=0.0, stopped=0.0)

VALIDATION = Validation(step=2, valid_accuracy=0.5)


def test_bars_name_every_student_and_its_accuracy() -> None:
    drawn = accuracy_bars({"phase-1": SCORE, "round-1": SCORE.model_copy(update={"accuracy": 0.75, "high": 0.8})})
    assert all(text in drawn for text in ("phase-1", "round-1", ">50.0<", ">75.0<"))


def test_curves_show_every_trained_stage_and_the_validation() -> None:
    steps = [StepMetrics(step=1, stage="recall", loss=2.0), StepMetrics(step=2, stage="analyze", loss=1.0)]
    drawn = training_curves(Metrics(steps, [VALIDATION]), "Phase 1")
    assert drawn is not None
    assert all(text in drawn for text in ("recall loss", "analyze loss", "validation accuracy"))
    assert "summarize loss" not in drawn


def test_without_data_there_is_no_figure() -> None:
    assert training_curves(Metrics([], []), "Phase 1") is None
    assert preference_curves({1: Metrics([], [VALIDATION])}) is None
    assert first_wrong_bars({"phase-1": SCORE}) is None


def test_first_wrong_stages_are_stacked_by_stage() -> None:
    drawn = first_wrong_bars(
        {"phase-1": SCORE.model_copy(update={"first_wrong": {Stage.RECALL: 30, Stage.SUMMARIZE: 20}})}
    )
    assert drawn is not None
    assert "recall" in drawn


def test_the_same_scores_give_the_same_bytes() -> None:
    assert accuracy_bars({"a": SCORE}) == accuracy_bars({"a": SCORE})


def test_preference_curves_cover_all_rounds() -> None:
    first, second = (
        StepMetrics(
            step=step, stage="recall", loss=1.0, margin=0.0, chosen_logp=-3.0, rejected_logp=-4.0, reward_accuracy=0.0
        )
        for step in (1, 2)
    )
    drawn = preference_curves({1: Metrics([first, second], []), 2: Metrics([], []), 3: Metrics([first], [])})
    assert drawn is not None
    assert all(text in drawn for text in ("round 1", "round 3", "margin", "of the rejected"))
    assert "round 2" not in drawn
