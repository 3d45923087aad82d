"""A study as figures: arms beside each other, the paper's beside ours, accuracy beside speed."""

from __future__ import annotations

from itertools import pairwise

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from vosfm.report.published import Published
from vosfm.report.study import Arm, Spread, Study, bare

_CALLED = 12  # arms that have room for their names in a panel


def plot_study(study: Study) -> Figure:
    """Draw the metric of every arm, what the paper published for it, and what it cost.

    Args:
        study: of one or more sweeps.

    Returns:
        A panel with a dot for each seed, and the mean and deviation of each arm, hollow where the
        memory never filled. If the paper has numbers for these arms, they are in a panel of their
        own with an axis of its own; if speed was measured, another shows the metric over it.
    """
    theirs = [_paper(arm, study.metric) for arm in study.arms]
    known = [number for number in theirs if number is not None]
    timed = any(arm.fps is not None and arm.trials for arm in study.arms)
    count = 1 + bool(known) + timed
    size = (2 + 3.2 * count, 1.6 + 0.3 * len(study.arms))
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(_plain(study.title))
    ours, *others = figure.subplots(1, count, squeeze=False)[0]
    ours.set(title="ours", xlabel=_plain(study.metric))
    places = range(len(study.arms), 0, -1)
    _rows(ours, [arm.name or study.choice(arm) for arm in study.arms])
    for place, arm in zip(places, study.arms, strict=True):
        values = arm.values(study.metric)
        ours.plot(values, [place] * len(values), ".", color="C0", alpha=0.4)
        spread = arm.spread(study.metric)
        if spread is None:
            _say(ours, place, "no result")
        else:
            _dot(ours, study, arm, spread.mean, place, xerr=spread.deviation)
            if not study.informative(arm):
                _say(ours, place, "not informative")
    if known:
        panel = others.pop(0)
        panel.set(title="published", xlabel=_plain(f"{known[0].metric}, {known[0].benchmark}"))
        _rows(panel, [""] * len(study.arms))
        for place, number in zip(places, theirs, strict=True):
            if number is not None:
                panel.plot(number.value, place, "D", color="C7")
    if timed:
        panel = others.pop(0)
        panel.set(title="cost", xlabel="frames per second", ylabel=_plain(study.metric))
        panel.margins(0.2)
        for arm in study.arms:
            spread = arm.spread(study.metric)
            if spread is not None and arm.fps is not None:
                _dot(panel, study, arm, arm.fps, spread.mean)
                at = (arm.fps, spread.mean)
                if len(study.arms) <= _CALLED:
                    name = _plain(arm.name or study.choice(arm))
                    panel.annotate(name, at, (5, 4), textcoords="offset points", size=7)
    return figure


def plot_curve(study: Study, across: str) -> Figure:
    """Draw the metric over a parameter that is a number, a line for each choice of the others.

    Args:
        study: of one or more sweeps.
        across: the parameter, by its dotted name or the end of it that tables show.

    Returns:
        Means with their deviations over seeds, hollow where the memory never filled.

    Raises:
        ValueError: if no parameter that varies is called so, or a value of it is no number.
    """
    name = study.parameter(across)
    lines: dict[str, list[tuple[float, Spread, Arm]]] = {}
    for arm in study.arms:
        value = arm.parameters.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{across} is {value!r} in an arm, which is no number")
        spread = arm.spread(study.metric)
        if spread is not None:
            lines.setdefault(study.choice(arm, name), []).append((float(value), spread, arm))
    named = any(lines)
    figure = Figure(figsize=(8 if named else 5, 3.2), layout="constrained")
    panel = figure.subplots()
    figure.suptitle(_plain(study.title))
    panel.set(xlabel=_plain(across), ylabel=_plain(study.metric))
    for index, (others, points) in enumerate(lines.items()):
        # So that no two of up to twenty lines look alike.
        color = f"C{index % 10}" if len(lines) <= 10 else to_hex(colormaps["tab20"](index % 20))
        points.sort(key=lambda point: point[0])
        for (begin, low, _), (end, high, _) in pairwise(points):
            panel.plot([begin, end], [low.mean, high.mean], color=color)
        for x, spread, arm in points:
            _dot(panel, study, arm, x, spread.mean, yerr=spread.deviation, color=color)
        if others:
            panel.plot([], [], color=color, label=_plain(others))
    if named:
        figure.legend(fontsize="small", loc="outside right center")
    return figure


def _dot(
    panel: Axes,
    study: Study,
    arm: Arm,
    x: float,
    y: float,
    *,
    xerr: float | None = None,
    yerr: float | None = None,
    color: str = "C0",
) -> None:
    fill = color if study.informative(arm) else "white"
    panel.errorbar(
        x, y, xerr=xerr, yerr=yerr, fmt="o", color=color, markerfacecolor=fill, capsize=3
    )


def _rows(panel: Axes, names: list[str]) -> None:
    panel.set_yticks(range(len(names), 0, -1), list(map(_plain, names)))
    panel.set_ylim(0.4, len(names) + 0.6)


def _say(panel: Axes, place: int, words: str) -> None:
    """A remark on a row, at its right end."""
    at = panel.get_yaxis_transform()
    panel.text(0.99, place + 0.15, words, transform=at, ha="right", size=7, color="C7")


def _paper(arm: Arm, metric: str) -> Published | None:
    return next((number for number in arm.published if number.metric == bare(metric)), None)


def _plain(text: str) -> str:
    """Words that matplotlib does not take for formulas."""
    return text.replace("$", r"\$")
