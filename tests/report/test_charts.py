from __future__ import annotations

import re

import pytest

from tests.report.contrast import contrast
from tinythinker.core.metrics import Metrics, StepMetrics, Validation
from tinythinker.core.records import Stage
from tinythinker.evaluate.guessing import Guessing
from tinythinker.evaluate.score import Interval, Score
from tinythinker.report.charts import (
    accuracy_bars,
    first_wrong_bars,
    method_curves,
    method_dots,
    preference_curves,
    token_bars,
    training_curves,
    vote_curves,
)

SCORE = Score(accuracy=0.5, low=0.4, high=0.6, n=100, unreadable=0.0, tokens_per_answer=12.0, cut=0.0, stopped=0.0)

HALF = Interval(share=0.5, low=0.4, high=0.6)
VALIDATION = Validation(step=2, valid_accuracy=0.5)


def test_bars_name_every_student_and_its_accuracy() -> None:
    drawn = accuracy_bars({"phase 1": HALF, "round 1": Interval(share=0.75, low=0.7, high=0.8)}, "Test")
    assert all(text in drawn for text in ("phase 1", "round 1", ">50.0<", ">75.0<"))


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
    assert accuracy_bars({"a": HALF}, "Test") == accuracy_bars({"a": HALF}, "Test")


def test_preference_curves_cover_all_rounds() -> None:
    first, second = (
        StepMetrics(
            step=step, stage="recall", loss=1.0, margin=0.0, chosen_logp=-3.0, rejected_logp=-4.0, reward_accuracy=0.0
        )
        for step in (1, 2)
    )
    drawn = preference_curves({1: Metrics([first, second], []), 2: Metrics([], []), 3: Metrics([first], [])})
    assert drawn is not None
    assert all(text in drawn for text in ("round 1", "round 3", "margin", "rejected"))
    assert "round 2" not in drawn


GUESSING = Guessing(chance=0.25, majority=0.275)
STEPS = [
    StepMetrics(
        step=step, stage="recall", loss=loss, margin=0.5, chosen_logp=-3.0, rejected_logp=-4.0, reward_accuracy=0.5
    )
    for step, loss in enumerate([8.0, 2.0, 0.9, 0.05], start=1)
]
VOTES = tuple(Interval(share=share, low=0.3, high=0.9) for share in (0.5, 0.6, 0.7))
SEVERAL = {
    f"student {i}": SCORE.model_copy(update={"votes": VOTES, "first_wrong": dict.fromkeys(Stage, 5)}) for i in range(9)
}
WITH_ACCURACY = {
    "bars": accuracy_bars(dict.fromkeys(SEVERAL, HALF), "Accuracy", GUESSING),
    "training": training_curves(Metrics(STEPS, [VALIDATION]), "Phase 1", GUESSING),
    "votes": vote_curves(SEVERAL, GUESSING),
    "dots": method_dots({"cot": [0.5, 0.75]}, {"cot": (0.4, 0.9)}, "Methods", GUESSING),
    "curves": method_curves(
        {f"m{i}": [("10", 0.0, 0.0, 0.3), ("100", 0.5, 0.4, 0.6), ("400", 0.6, None, None)] for i in range(9)},
        "storeroom.train",
        "Curves",
        dict.fromkeys(("10", "100", "400"), GUESSING),
    ),
}
DRAWN = {
    **WITH_ACCURACY,
    "tokens": token_bars(SEVERAL),
    "first wrong": first_wrong_bars(SEVERAL),
    "preference": preference_curves({1: Metrics(STEPS, []), 2: Metrics(STEPS, [])}),
}


@pytest.mark.parametrize("name", WITH_ACCURACY)
def test_every_chart_of_accuracies_shows_chance_and_the_most_common_label(name: str) -> None:
    drawn = str(WITH_ACCURACY[name])
    texts = " ".join(re.findall(r"<text[^>]*>([^<]+)<", drawn))
    assert "chance" in texts
    assert "most common label" in texts
    assert re.search("chance:? 25.0", drawn.split("</desc>")[0])


@pytest.mark.parametrize("name", DRAWN)
def test_every_chart_is_an_image_with_a_title_and_a_description(name: str) -> None:
    drawn = str(DRAWN[name])
    head = drawn[: drawn.index(">")]
    assert 'role="img"' in head
    for attribute, tag in (("aria-labelledby", "title"), ("aria-describedby", "desc")):
        own = head.split(f'{attribute}="')[1].split('"')[0]
        assert re.search(rf'<{tag} id="{own}">[^<]+</{tag}>', drawn)


@pytest.mark.parametrize("name", DRAWN)
def test_every_chart_has_one_font_size_and_plain_tick_labels(name: str) -> None:
    drawn = str(DRAWN[name])
    assert set(re.findall(r"font-size: ([^;]+);", drawn)) == {"11px"}
    assert "tspan" not in drawn  # raised exponents are made of these
    assert len({re.findall(r'viewBox="0 0 ([\d.]+) ', one)[0] for one in map(str, DRAWN.values())}) == 1


@pytest.mark.parametrize("name", DRAWN)
def test_every_colour_stands_out_from_the_page(name: str) -> None:
    drawn = str(DRAWN[name])
    assert "opacity" not in drawn.replace('opacity: 0"', "").replace("fill-opacity: 0;", "")
    texts = re.findall(r"<text[^>]*fill: (#\w{6})", drawn)
    assert min(contrast(colour, "#ffffff") for colour in texts) >= 4.5
    graphics = {*re.findall(r"(?:fill|stroke): (#\w{6})", drawn)} - {"#ffffff"}
    assert min(contrast(colour, "#ffffff") for colour in graphics) >= 3


def test_an_interval_stands_out_from_its_bar() -> None:
    bars = {*re.findall(r"fill: (#\w{6})", accuracy_bars({"a": HALF}, "Test"))} - {"#ffffff", "#222222"}
    assert min(contrast(colour, "#222222") for colour in bars) >= 3


def test_no_id_occurs_twice_among_charts_of_one_page() -> None:
    ids = re.findall(r'\bid="([^"]+)"', "".join(map(str, DRAWN.values())))
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:"#|url\(#)([^")]+)', "".join(map(str, DRAWN.values())))
    assert set(used) <= set(ids)


def test_losses_of_one_size_have_a_linear_axis_and_others_plain_powers() -> None:
    def ticks(*losses: float) -> set[str]:
        steps = [StepMetrics(step=i, stage="recall", loss=loss) for i, loss in enumerate(losses)]
        return set(re.findall(r">([\d.]+)</text>", str(training_curves(Metrics(steps, []), "Phase 1"))))

    assert {"0.1", "1", "0.5"} <= ticks(0.05, 2.0)
    assert {"0.70", "0.90"} <= ticks(0.65, 0.95)


def test_a_long_name_takes_a_second_line() -> None:
    drawn = accuracy_bars({"round 1, 10 votes, recall and summarize only": HALF}, "Test")
    assert "recall and summarize only" not in re.sub(r"<desc.*</desc>", "", drawn)


def test_an_interval_that_begins_at_zero_is_drawn_too() -> None:
    def count(low: float) -> int:
        return method_curves({"cot": [("a", 0.1, low, 0.3)]}, "key", "Curves").count("<path")

    assert count(0.0) == count(0.05)
