from __future__ import annotations

from tinythinker.core.records import Stage
from tinythinker.evaluate.score import Score
from tinythinker.report.charts import accuracy_bars, first_wrong_bars, preference_curves, training_curves

SCORE = Score(accuracy=0.5, low=0.4, high=0.6, n=100, unreadable=0.0, tokens_per_answer=12.0, cut=0.0, stopped=0.0)


def test_bars_name_every_student_and_its_accuracy() -> None:
    drawn = accuracy_bars({"phase-1": SCORE, "round-1": SCORE.model_copy(update={"accuracy": 0.75, "high": 0.8})})
    assert all(text in drawn for text in ("phase-1", "round-1", ">50.0<", ">75.0<"))


def test_curves_show_every_stage_that_was_trained_and_the_validation() -> None:
    lines = [{"step": 1, "stage": "recall", "loss": 2.0}, {"step": 2, "stage": "analyze", "loss": 1.0}]
    drawn = training_curves([*lines, {"step": 2, "valid_accuracy": 0.5}], "Phase 1")
    assert drawn is not None
    assert all(text in drawn for text in ("recall loss", "analyze loss", "validation accuracy"))
    assert "summarize loss" not in drawn


def test_there_is_no_figure_of_nothing() -> None:
    assert training_curves([], "Phase 1") is None
    assert preference_curves({1: [{"step": 0, "valid_accuracy": 0.5}]}) is None
    assert first_wrong_bars({"phase-1": SCORE}) is None


def test_first_wrong_stages_are_stacked_by_stage() -> None:
    drawn = first_wrong_bars(
        {"phase-1": SCORE.model_copy(update={"first_wrong": {Stage.RECALL: 30, Stage.SUMMARIZE: 20}})}
    )
    assert drawn is not None
    assert "recall" in drawn


def test_the_same_figures_give_the_same_bytes() -> None:
    assert accuracy_bars({"a": SCORE}) == accuracy_bars({"a": SCORE})


def test_preference_curves_run_through_all_rounds() -> None:
    step = {"margin": 0.0, "chosen_logp": -3.0, "rejected_logp": -4.0, "reward_accuracy": 0.0}
    drawn = preference_curves({1: [{"step": 1, **step}, {"step": 2, **step}], 2: [], 3: [{"step": 1, **step}]})
    assert drawn is not None
    assert all(text in drawn for text in ("round 1", "round 3", "margin", "of the rejected"))
    assert "round 2" not in drawn
