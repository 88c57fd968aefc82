"""Figures of a report, as SVG text for embedding in the page."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tinythinker.core.metrics import Metrics, StepMetrics
from tinythinker.core.records import Stage
from tinythinker.evaluate.score import Score

COLOURS: Mapping[str, str] = {
    Stage.RECALL: "#3b6fb6",
    Stage.ANALYZE: "#c9822b",
    Stage.SUMMARIZE: "#5b8f4d",
    Stage.REASON: "#8c6d5a",
}
_INK = "#333333"
_CYCLE = ("#3b6fb6", "#c9822b", "#5b8f4d", "#8a3ba8", "#b3261e", "#2a8c8c", "#8c6d5a", "#777777", "#b0a030", "#d06aa0")
"""Colours of methods, in the order of the methods; they repeat after the last."""
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tinythinker",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "legend.frameon": False,
}


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _axes(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    return figure, axes


def training_curves(metrics: Metrics, title: str) -> str | None:
    """Loss of every stage and validation accuracy by optimizer step; None if there is nothing to draw."""
    losses: dict[str, list[tuple[float, float]]] = {}
    for line in metrics.steps:
        losses.setdefault(line.stage, []).append((line.step, line.loss))
    if not losses and not metrics.validations:
        return None
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(6.4, 3.2, title)
        for stage, points in losses.items():
            steps, values = zip(*_thinned(points), strict=True)
            axes.plot(steps, values, color=COLOURS.get(stage, "#777777"), linewidth=1.3, label=f"{stage} loss")
        if any(value > 0 for points in losses.values() for _, value in points):
            axes.set_yscale("log")
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("loss")
        if metrics.validations:
            right = axes.twinx()
            right.spines["right"].set_visible(True)
            right.plot(
                [line.step for line in metrics.validations],
                [100 * line.valid_accuracy for line in metrics.validations],
                "o-",
                color="#8a3ba8",
                label="validation accuracy",
            )
            right.set_ylim(0, 102)
            right.set_ylabel("validation accuracy (%)")
        figure.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2)
        return _svg(figure)


class _Line(NamedTuple):
    """One curve of the preference chart."""

    axes: int
    """0 above, 1 below, 2 below with an axis of its own."""
    value: Callable[[StepMetrics], float | None]
    colour: str
    label: str


_PREFERENCE_LINES = (
    _Line(0, lambda line: line.chosen_logp, "#1f7a3d", "log-probability of the chosen"),
    _Line(0, lambda line: line.rejected_logp, "#b3261e", "of the rejected"),
    _Line(1, lambda line: line.margin, "#3b6fb6", "margin"),
    _Line(
        2,
        lambda line: None if line.reward_accuracy is None else 100 * line.reward_accuracy,
        "#8a3ba8",
        "pairs with a positive margin",
    ),
)


def preference_curves(rounds: Mapping[int, Metrics]) -> str | None:
    """What preference training did to both sides of the pairs, round after round; None if there is nothing to draw.

    Above: mean log-probability of chosen and rejected texts in each batch. Below: mean margin, and the share of pairs
    with a positive one.
    """
    lines = {number: [line for line in metrics.steps if line.margin is not None] for number, metrics in rounds.items()}
    lines = {number: steps for number, steps in lines.items() if steps}
    if not lines:
        return None
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 4.6))
        above, below = figure.subplots(2, 1, sharex=True)
        above.set_title("Phase 2: chosen and rejected texts", loc="left", fontsize=12, fontweight="bold")
        share = below.twinx()
        share.spines["right"].set_visible(True)
        first = 0
        for i, (number, steps) in enumerate(lines.items()):
            for curve in _PREFERENCE_LINES:
                points = [(first + line.step, value) for line in steps if (value := curve.value(line)) is not None]
                label = None if i else curve.label
                axes = (above, below, share)[curve.axes]
                axes.plot(*zip(*_thinned(points), strict=True), color=curve.colour, linewidth=1.3, label=label)
            for axes in (above, below):
                axes.axvline(first, color="#cccccc", linewidth=0.8)
            above.text(first, 1.0, f" round {number}", transform=above.get_xaxis_transform(), va="top", fontsize=9)
            first += steps[-1].step
        above.set_ylabel("nats")
        below.set_ylabel("margin (nats)")
        share.set_ylabel("pairs (%)")
        share.set_ylim(0, 102)
        below.set_xlabel("optimizer step, all rounds")
        figure.legend(loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=2)
        return _svg(figure)


def _thinned(points: Sequence[tuple[float, float]], most: int = 150) -> list[tuple[float, float]]:
    """At most `most` points, each the mean of neighbours: the figure of a long training stays small."""
    size = -(-len(points) // most)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def accuracy_bars(scores: Mapping[str, Score]) -> str:
    """Test accuracy of every student, with its 95% interval."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(6.4, 0.7 + 0.45 * len(scores), "Test accuracy, 95% Wilson interval (%)")
        names = list(scores)[::-1]
        for i, name in enumerate(names):
            found = scores[name]
            axes.barh(i, 100 * found.accuracy, color="#8fb0d9", height=0.6)
            axes.plot([100 * found.low, 100 * found.high], [i, i], color=_INK, linewidth=1.6)
            axes.text(100 * found.high + 1.5, i, f"{100 * found.accuracy:.1f}", va="center")
        axes.set_yticks(range(len(names)), names)
        axes.set_xlim(0, 108)
        return _svg(figure)


def token_bars(scores: Mapping[str, Score]) -> str:
    """Number of tokens that every student generates per question."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(6.4, 0.7 + 0.45 * len(scores), "Tokens generated per answer")
        names = list(scores)[::-1]
        most = max(found.tokens_per_answer for found in scores.values())
        for i, name in enumerate(names):
            axes.barh(i, scores[name].tokens_per_answer, color="#d9b48f", height=0.6)
            axes.text(
                scores[name].tokens_per_answer + most / 60, i, f"{scores[name].tokens_per_answer:.1f}", va="center"
            )
        axes.set_yticks(range(len(names)), names)
        axes.set_xlim(0, most * 1.15)
        return _svg(figure)


def vote_curves(scores: Mapping[str, Score]) -> str | None:
    """Accuracy by number of votes, for every student that sampled several chains; None if none did."""
    known = {name: found.votes for name, found in scores.items() if found.votes}
    if not known:
        return None
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(6.4, 3.2, "Self-consistency: accuracy by number of votes")
        for i, (name, votes) in enumerate(known.items()):
            colour, x = _CYCLE[i % len(_CYCLE)], range(1, len(votes) + 1)
            axes.plot(x, [100 * vote.share for vote in votes], "o-", color=colour, markersize=4, label=name)
            lows, highs = [100 * vote.low for vote in votes], [100 * vote.high for vote in votes]
            axes.fill_between(x, lows, highs, color=colour, alpha=0.12, linewidth=0)
        axes.set_xlabel("votes (the first k chains of one sampling run)")
        axes.set_ylabel("accuracy, 95% interval (%)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2)
        return _svg(figure)


def first_wrong_bars(scores: Mapping[str, Score]) -> str | None:
    """Every student's wrong answers by the first stage that went wrong; None if truth cannot be checked."""
    known = {name: found for name, found in scores.items() if found.first_wrong}
    if not known:
        return None
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(6.4, 0.9 + 0.45 * len(known), "Wrong answers by the first stage that went wrong")
        names = list(known)[::-1]
        stages = [stage for stage in Stage if any(stage in found.first_wrong for found in known.values())]
        for i, name in enumerate(names):
            left = 0
            for stage in stages:
                count = known[name].first_wrong.get(stage, 0)
                axes.barh(i, count, left=left, color=COLOURS[stage], height=0.6, label=stage if i == 0 else None)
                left += count
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("questions")
        figure.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=3)
        return _svg(figure)


def method_dots(
    methods: Mapping[str, Sequence[float]], intervals: Mapping[str, tuple[float, float]], title: str
) -> str:
    """Accuracy of every method: a dot per seed, the mean, and the interval of the mean; shares in [0, 1]."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(6.4, 1.0 + 0.42 * len(methods), title)
        for i, (name, values) in enumerate(list(methods.items())[::-1]):
            mean = 100 * sum(values) / len(values)
            low, high = (100 * end for end in intervals.get(name, (mean / 100, mean / 100)))
            axes.plot([max(0, low), min(100, high)], [i, i], color="#3b6fb6", linewidth=2.5, solid_capstyle="round")
            axes.plot(
                [100 * value for value in values], [i] * len(values), "o", color="#c9822b", markersize=4, alpha=0.7
            )
            axes.plot([mean], [i], "|", color=_INK, markersize=14, markeredgewidth=2)
        axes.set_yticks(range(len(methods)), list(methods)[::-1])
        axes.set_xlim(0, 101)
        axes.set_xlabel("test accuracy (%): seeds, mean, 95% interval of the mean")
        return _svg(figure)


def method_curves(
    curves: Mapping[str, Sequence[tuple[str, float, float | None, float | None]]], key: str, title: str
) -> str:
    """Accuracy of every method by the value of a setting, with interval bands.

    Args:
        curves: points (value, mean, low, high) by method; shares in [0, 1]; no band where `low` or `high`
            is None.
        key: the setting.
    """
    names = list(dict.fromkeys(value for points in curves.values() for value, *_ in points))
    places = _places(names)
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(6.4, 3.6, title)
        for i, (method, points) in enumerate(curves.items()):
            colour = _CYCLE[i % len(_CYCLE)]
            x = [places[value] for value, *_ in points]
            axes.plot(x, [100 * mean for _, mean, *_ in points], "o-", color=colour, label=method, markersize=4)
            known = [(places[v], 100 * max(0, low), 100 * min(1, high)) for v, _, low, high in points if low and high]
            if len(known) > 1:
                x, lows, highs = (list(column) for column in zip(*known, strict=True))
                axes.fill_between(x, lows, highs, color=colour, alpha=0.12, linewidth=0)
        if all(_is_number(name) and float(name) > 0 for name in names) and len(names) > 2:
            if max(places.values()) > 8 * min(places.values()):
                axes.set_xscale("log")
            axes.minorticks_off()
        axes.set_xticks([places[name] for name in names], names)
        axes.set_ylim(0, 102)
        axes.set_xlabel(key)
        axes.set_ylabel("test accuracy (%)")
        figure.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=3)
        return _svg(figure)


def _places(names: Sequence[str]) -> dict[str, float]:
    """Position of each value on the axis: its number if all are numbers, otherwise its index."""
    if all(_is_number(name) for name in names):
        return {name: float(name) for name in names}
    return {name: float(i) for i, name in enumerate(names)}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
