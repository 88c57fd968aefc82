"""Figures of a page, as SVG text for embedding in it.

All have the same width and one font size, so that they look alike next to each other; each is an image with a title and
a description for screen readers. Colours have a contrast of 3 with the page, texts of 4.5.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from tinythinker.core.metrics import Metrics, StepMetrics
from tinythinker.core.records import Stage
from tinythinker.evaluate.guessing import Guessing
from tinythinker.evaluate.score import Interval, Score

COLOURS: Mapping[str, str] = {
    Stage.RECALL: "#3b6fb6",
    Stage.ANALYZE: "#b87420",
    Stage.SUMMARIZE: "#4e8341",
    Stage.REASON: "#8c6d5a",
}
_INK, _GREY = "#222222", "#666666"
_ACCURACY, _TOKENS, _VALID = "#3b6fb6", "#b87420", "#8a3ba8"
_CYCLE = ("#3b6fb6", "#b87420", "#4e8341", "#8a3ba8", "#b3261e", "#2a8c8c", "#8c6d5a", "#777777", "#8a7d1c", "#c4568f")
"""Colours of students and methods, in their order; they repeat after the last."""
_MARKERS = "os^DvPX*<>h"
"""Shapes of their points, so that colour is not all that tells them apart."""
_WIDTH = 5.0
"""Of every figure, in inches; a page draws it at the size that makes its texts as large as the page's notes."""
_LONGEST = 20
"""Characters of a name on an axis before it takes a second line."""
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tinythinker",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana"],
    "font.size": 11,
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "axes.labelsize": 11,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _GREY,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "legend.frameon": False,
}


def _figure(height: float, title: str) -> Figure:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    figure.suptitle(title, x=0.01, horizontalalignment="left")
    return figure


def _axes(height: float, title: str) -> tuple[Figure, Axes]:
    figure = _figure(height, title)
    return figure, figure.add_subplot()


def _legend(figure: Figure, columns: int = 2) -> None:
    """A legend below the axes, if anything has a label; each label once."""
    handles = {
        label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if handles:
        figure.legend(
            handles.values(), handles, loc="outside lower left", ncols=columns, handlelength=1.6, columnspacing=1.2
        )


def _svg(figure: Figure, title: str, about: str) -> str:
    """The figure as an image with a title and a description; no id in it occurs in another figure of the page."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    drawn = text.getvalue()[text.getvalue().index("<svg") :]
    own = re.sub(r"\W+", "-", title).strip("-").lower()
    drawn = re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{own}-", drawn)
    said = f'<title id="{own}-title">{escape(title)}</title><desc id="{own}-about">{escape(about)}</desc>'
    role = f'<svg role="img" aria-labelledby="{own}-title" aria-describedby="{own}-about"'
    head, _, rest = drawn.partition(">")
    return f"{head.replace('<svg', role, 1)}>{said}{rest}"


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """One row per name, the first at the top."""
    axes.set_yticks(range(len(names)), [textwrap.fill(name, _LONGEST) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _rows_height(names: Sequence[str]) -> float:
    """Height of all rows, in inches."""
    return sum(0.22 + 0.18 * len(textwrap.wrap(name, _LONGEST)) for name in names)


def _draw_guessing(axes: Axes, guessing: Guessing | None, *, is_upright: bool = False) -> None:
    """Lines for the accuracy of who does not read the question, on an axis in percent."""
    for name, share, style in _guesses(guessing):
        draw = axes.axvline if is_upright else axes.axhline
        line = draw(
            100 * share, color=_INK, linestyle=style, linewidth=1.3, zorder=1.5, label=f"{name} {100 * share:.1f}%"
        )
        line.set_path_effects([withStroke(linewidth=3.5, foreground="white")])


def _guesses(guessing: Guessing | None) -> list[tuple[str, float, str]]:
    if guessing is None:
        return []
    return [("chance", guessing.chance, "--"), ("most common label", guessing.majority, ":")]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _said(parts: Sequence[str], guessing: Guessing | None = None) -> str:
    """Figures in words, with the lines for guessing."""
    return "; ".join([*parts, *(f"{name} {_percent(share)}" for name, share, _ in _guesses(guessing))]) + "."


def _scale_losses(axes: Axes, losses: Sequence[float]) -> None:
    """A logarithmic axis for losses of different sizes, with ticks such as 0.2, 0.5 and 1; else a linear one."""
    positive = [loss for loss in losses if loss > 0]
    if not positive or max(positive) < 10 * min(positive):
        return
    axes.set_yscale("log")
    is_wide = max(positive) > 300 * min(positive)
    axes.yaxis.set_major_locator(LogLocator(subs=(1,) if is_wide else (1, 2, 5), numticks=20))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())


def training_curves(metrics: Metrics, title: str, guessing: Guessing | None = None) -> str | None:
    """Loss of every stage and validation accuracy by optimizer step; None if there is nothing to draw.

    Args:
        guessing: on the validation questions.
    """
    losses: dict[str, list[tuple[float, float]]] = {}
    for line in metrics.steps:
        losses.setdefault(line.stage, []).append((line.step, line.loss))
    if not losses and not metrics.validations:
        return None
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(3.6, title)
        for stage, points in losses.items():
            steps, values = zip(*_thinned(points), strict=True)
            axes.plot(steps, values, color=COLOURS.get(stage, "#777777"), linewidth=1.3, label=f"{stage} loss")
        _scale_losses(axes, [value for points in losses.values() for _, value in points])
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("loss")
        if metrics.validations:
            right = axes.twinx()
            right.spines["right"].set_visible(True)
            validated = [(line.step, 100 * line.valid_accuracy) for line in metrics.validations]
            right.plot(*zip(*validated, strict=True), "o-", color=_VALID, label="validation accuracy")
            right.set_ylim(0, 102)
            right.set_ylabel("accuracy (%)")
            _draw_guessing(right, guessing)
        _legend(figure)
        about = [f"{stage} loss from {points[0][1]:.3g} to {points[-1][1]:.3g}" for stage, points in losses.items()]
        shares = [f"{_percent(line.valid_accuracy)} at step {line.step}" for line in metrics.validations]
        if shares:
            about.append(f"validation accuracy in percent: {', '.join(shares)}")
        return _svg(figure, title, _said(about, guessing if shares else None))


class _Line(NamedTuple):
    """One curve of the preference chart."""

    axes: int
    """0 above, 1 below, 2 below with an axis of its own."""
    value: Callable[[StepMetrics], float | None]
    colour: str
    label: str


_PREFERENCE_LINES = (
    _Line(0, lambda line: line.chosen_logp, "#1f7a3d", "chosen"),
    _Line(0, lambda line: line.rejected_logp, "#b3261e", "rejected"),
    _Line(1, lambda line: line.margin, "#3b6fb6", "margin"),
    _Line(
        2,
        lambda line: None if line.reward_accuracy is None else 100 * line.reward_accuracy,
        "#8a3ba8",
        "pairs with a margin above 0",
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
    title = "Phase 2: chosen and rejected texts"
    with matplotlib.rc_context(_STYLE):
        figure = _figure(5.0, title)
        above, below = figure.subplots(2, 1, sharex=True)
        share = below.twinx()
        share.spines["right"].set_visible(True)
        first, about = 0, []
        for i, (number, steps) in enumerate(lines.items()):
            for curve in _PREFERENCE_LINES:
                points = [(first + line.step, value) for line in steps if (value := curve.value(line)) is not None]
                label = None if i else curve.label
                axes = (above, below, share)[curve.axes]
                axes.plot(*zip(*_thinned(points), strict=True), color=curve.colour, linewidth=1.3, label=label)
            for axes in (above, below):
                axes.axvline(first, color=_GREY, linewidth=0.8)
            above.text(first, 1.0, f" round {number}", transform=above.get_xaxis_transform(), va="bottom")
            about.append(f"round {number}: margin {steps[0].margin or 0:.2g} to {steps[-1].margin or 0:.2g} nats")
            first += steps[-1].step
        above.set_ylabel("log-prob. (nats)")
        below.set_ylabel("margin (nats)")
        share.set_ylabel("pairs (%)")
        share.set_ylim(0, 102)
        below.set_xlabel("optimizer step, all rounds")
        _legend(figure)
        return _svg(figure, title, _said(about))


def _thinned(points: Sequence[tuple[float, float]], most: int = 150) -> list[tuple[float, float]]:
    """At most `most` points, each the mean of neighbours: the figure of a long training stays small."""
    size = -(-len(points) // most)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def accuracy_bars(accuracies: Mapping[str, Interval], title: str, guessing: Guessing | None = None) -> str:
    """Accuracy of every student with its 95% interval.

    Args:
        guessing: on the same questions.
    """
    with matplotlib.rc_context(_STYLE):
        names = list(accuracies)
        figure, axes = _axes(1.3 + _rows_height(names), title)
        for i, found in enumerate(accuracies.values()):
            axes.barh(i, 100 * found.share, color=_ACCURACY, height=0.6)
            interval = axes.plot([100 * found.low, 100 * found.high], [i, i], color=_INK, linewidth=1.6)[0]
            interval.set_path_effects([withStroke(linewidth=3.5, foreground="white")])
            axes.text(max(100 * found.high, 1) + 1.5, i, _percent(found.share), va="center", zorder=5)
        _name_rows(axes, names)
        axes.set_xlim(0, 116)
        axes.set_xticks(range(0, 101, 20))
        axes.set_xlabel("accuracy (%), 95% Wilson interval")
        _draw_guessing(axes, guessing, is_upright=True)
        _legend(figure)
        about = [f"{n} {_percent(s.share)} ({_percent(s.low)} to {_percent(s.high)})" for n, s in accuracies.items()]
        return _svg(figure, title, "Percent. " + _said(about, guessing))


def token_bars(scores: Mapping[str, Score]) -> str:
    """Number of tokens that every student generates per question."""
    title = "Tokens generated per answer"
    with matplotlib.rc_context(_STYLE):
        names = list(scores)
        figure, axes = _axes(0.8 + _rows_height(names), title)
        most = max(found.tokens_per_answer for found in scores.values())
        for i, found in enumerate(scores.values()):
            axes.barh(i, found.tokens_per_answer, color=_TOKENS, height=0.6)
            axes.text(found.tokens_per_answer + most / 60, i, f"{found.tokens_per_answer:.1f}", va="center")
        _name_rows(axes, names)
        axes.set_xlim(0, most * 1.18 or 1)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
        return _svg(figure, title, _said([f"{name} {found.tokens_per_answer:.1f}" for name, found in scores.items()]))


def vote_curves(scores: Mapping[str, Score], guessing: Guessing | None = None) -> str | None:
    """Accuracy by number of votes, for every student that sampled several chains; None if none did."""
    known = {name: found.votes for name, found in scores.items() if found.votes}
    if not known:
        return None
    title = "Votes: accuracy by number of chains"
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(4.0 + 0.2 * len(known), title)
        for i, (name, votes) in enumerate(known.items()):
            x = [k + _beside(i, len(known), 0.5) for k in range(1, len(votes) + 1)]
            ends = [(vote.low, vote.share, vote.high) for vote in votes]
            _draw_points(axes, x, ends, i, name)
        axes.set_xlabel("chains that vote, the first k of one sampling run")
        axes.set_ylabel("accuracy (%), 95% interval")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(0, 102)
        _draw_guessing(axes, guessing)
        _legend(figure, columns=1)
        about = [
            f"{name}: {', '.join(f'{_percent(vote.share)} with {k}' for k, vote in enumerate(votes, start=1))}"
            for name, votes in known.items()
        ]
        return _svg(figure, title, "Percent. " + _said(about, guessing))


def _beside(i: int, count: int, width: float) -> float:
    """Shift of the i-th of several points that would lie on top of each other, all within `width`."""
    return width * (i - (count - 1) / 2) / max(count, 4)


def _draw_points(
    axes: Axes,
    x: Sequence[float],
    ends: Sequence[tuple[float | None, float, float | None]],
    i: int,
    name: str,
) -> None:
    """The i-th line of a chart in percent.

    Args:
        ends: low end, share and high end at each x, in [0, 1]; no interval is drawn where an end is None.
    """
    colour, marker = _CYCLE[i % len(_CYCLE)], _MARKERS[i % len(_MARKERS)]
    shares = [100 * share for _, share, _ in ends]
    axes.plot(x, shares, color=colour, marker=marker, markersize=5, linewidth=1.3, label=name)
    for place, (low, _, high) in zip(x, ends, strict=True):
        if low is not None and high is not None:
            axes.plot([place, place], [100 * max(0, low), 100 * min(1, high)], color=colour, linewidth=1.3)


def first_wrong_bars(scores: Mapping[str, Score]) -> str | None:
    """Wrong answers by the first stage that went wrong; None without stages whose truth can be checked."""
    known = {name: found for name, found in scores.items() if found.first_wrong}
    if not known:
        return None
    title = "Wrong answers by the first stage that went wrong"
    with matplotlib.rc_context(_STYLE):
        names = list(known)
        figure, axes = _axes(1.3 + _rows_height(names), title)
        stages = [stage for stage in Stage if any(stage in found.first_wrong for found in known.values())]
        for i, found in enumerate(known.values()):
            left = 0
            for stage in stages:
                count = found.first_wrong.get(stage, 0)
                axes.barh(i, count, left=left, color=COLOURS[stage], edgecolor="white", height=0.6, label=stage)
                left += count
        _name_rows(axes, names)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.set_xlabel("questions")
        _legend(figure, columns=3)
        about = [
            f"{name}: {', '.join(f'{stage} {found.first_wrong.get(stage, 0)}' for stage in stages)}"
            for name, found in known.items()
        ]
        return _svg(figure, title, "Questions. " + _said(about))


def method_dots(
    methods: Mapping[str, Sequence[float]],
    intervals: Mapping[str, tuple[float, float]],
    title: str,
    guessing: Guessing | None = None,
) -> str:
    """Accuracy of every method: a dot per seed, the mean, and the interval of the mean; shares in [0, 1]."""
    with matplotlib.rc_context(_STYLE):
        names, about = list(methods), []
        figure, axes = _axes(1.5 + _rows_height(names), title)
        for i, (name, values) in enumerate(methods.items()):
            mean = 100 * sum(values) / len(values)
            low, high = (100 * end for end in intervals.get(name, (mean / 100, mean / 100)))
            low, high = max(0, low), min(100, high)
            axes.plot([low, high], [i, i], color=_ACCURACY, linewidth=2.5, solid_capstyle="round")
            axes.plot([100 * value for value in values], [i] * len(values), "o", color=_TOKENS, markersize=4)
            axes.plot([mean], [i], "|", color=_INK, markersize=14, markeredgewidth=2)
            about.append(f"{name} {mean:.1f} ({low:.1f} to {high:.1f})")
        _name_rows(axes, names)
        axes.set_xlim(-1, 101)
        axes.set_xlabel("accuracy (%): seeds, mean, 95% interval")
        _draw_guessing(axes, guessing, is_upright=True)
        _legend(figure)
        return _svg(figure, title, "Percent, mean over seeds with its interval. " + _said(about, guessing))


def method_curves(
    curves: Mapping[str, Sequence[tuple[str, float, float | None, float | None]]],
    key: str,
    title: str,
    guesses: Mapping[str, Guessing] | None = None,
) -> str:
    """Accuracy of every method by the value of a setting, with intervals.

    Args:
        curves: points (value, mean, low, high) by method; shares in [0, 1]; no interval where `low` or `high`
            is None.
        key: the setting.
        guesses: by value, on the questions asked there.
    """
    values = list(dict.fromkeys(value for points in curves.values() for value, *_ in points))
    places, is_logarithmic = _places(values)
    gap = 1.0 if len(values) < 2 else (max(places.values()) - min(places.values())) / (len(values) - 1)
    about = []
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(4.0 + 0.2 * (len(curves) // 2), title)
        for i, (method, points) in enumerate(curves.items()):
            aside = 0.0 if is_logarithmic else _beside(i, len(curves), 0.3 * gap)
            x = [places[value] + aside for value, *_ in points]
            if is_logarithmic:
                x = [place * (1 + _beside(i, len(curves), 0.15)) for place in x]
            _draw_points(axes, x, [(low, mean, high) for _, mean, low, high in points], i, method)
            about.append(f"{method}: {', '.join(f'{value} {_percent(mean)}' for value, mean, *_ in points)}")
        for number, style in ((0, "--"), (1, ":")):
            known = [(places[v], name, share) for v in values for name, share, _ in _guess_at(guesses, v, number)]
            if known:
                at = ([place for place, *_ in known], [100 * share for *_, share in known])
                axes.plot(*at, color=_INK, linestyle=style, linewidth=1.3, label=known[0][1])
                about.append(f"{known[0][1]}: {', '.join(_percent(share) for *_, share in known)}")
        if is_logarithmic:
            axes.set_xscale("log")
            axes.minorticks_off()
        axes.set_xticks([places[value] for value in values], [textwrap.fill(value, 12) for value in values])
        axes.set_ylim(0, 102)
        axes.set_xlabel(key)
        axes.set_ylabel("accuracy (%), 95% interval")
        _legend(figure)
        return _svg(figure, title, f"Percent, by {key}. " + _said(about))


def _guess_at(guesses: Mapping[str, Guessing] | None, value: str, number: int) -> list[tuple[str, float, str]]:
    """The first or the second of the lines for guessing at a value of the setting; none if it is not known."""
    return _guesses((guesses or {}).get(value))[number : number + 1]


def _places(values: Sequence[str]) -> tuple[dict[str, float], bool]:
    """Position of each value on the axis, its number if all are numbers, else its index; is the axis logarithmic?"""
    if not all(map(_is_number, values)):
        return {value: float(i) for i, value in enumerate(values)}, False
    places = {value: float(value) for value in values}
    low, high = min(places.values()), max(places.values())
    return places, len(values) > 2 and 0 < 8 * low < high


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
