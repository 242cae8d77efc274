"""The pictures of a report; functions of numbers and names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

MAX_NUMBERS = 25
"""Classes up to which the cells of a confusion matrix hold their number."""


@dataclass(frozen=True)
class Point:
    """An arm in a plot of accuracy against cost.

    Attributes:
        name: Of the arm.
        cost: In the unit of the plot.
        top1: Accuracy, 0..1.
        deviation: Its standard deviation over seeds, or None.
        in_front: No other arm is cheaper and as accurate.
    """

    name: str
    cost: float
    top1: float
    deviation: float | None
    in_front: bool


def draw_accuracy(points: Sequence[Point], cost: str, title: str) -> Figure:
    """Accuracy against cost, with the front of what is best.

    Args:
        points: The arms.
        cost: What their cost is, with its unit.
        title: Of the picture.
    """
    figure = Figure((6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.grid(color="#e3e6ea", linewidth=0.6)
    axes.set_axisbelow(True)
    by_cost = sorted(points, key=lambda point: (point.cost, point.top1))
    front = [point for point in by_cost if point.in_front]
    axes.plot([point.cost for point in front], [100 * point.top1 for point in front],
              color="#9aa5b1", linewidth=1, linestyle="--", drawstyle="steps-post", zorder=1)
    for number, point in enumerate(by_cost):
        axes.errorbar(point.cost, 100 * point.top1, 100 * (point.deviation or 0), marker="o",
                      markersize=7, color=f"C{points.index(point) % 10}", capsize=3, elinewidth=1)
        above = number % 2 == 0  # by turns, so that neighbours leave each other's name alone
        left = point.cost > math.sqrt(by_cost[0].cost * by_cost[-1].cost)  # else names are cut off
        axes.annotate(point.name, (point.cost, 100 * point.top1),
                      (-7 if left else 7, 6 if above else -6), fontsize=9,
                      textcoords="offset points", ha="right" if left else "left",
                      va="bottom" if above else "top", parse_math=False,
                      path_effects=[withStroke(linewidth=3, foreground="white")])
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter("{x:g} %")
    axes.margins(0.18)
    axes.set_xlabel(cost)
    axes.set_ylabel("top-1 accuracy")
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_confusion(shares: NDArray[np.float64], class_names: Sequence[str], title: str) -> Figure:
    """A confusion matrix.

    Args:
        shares: Share of the clips of the true class (row) that got each class, ``(K, K)`` in
            0..1; NaN where a class has no clip.
        class_names: K names.
        title: Of the picture.
    """
    classes = len(class_names)
    numbers = classes <= MAX_NUMBERS
    side = min(max(3.0, (0.36 if numbers else 0.2) * classes), 40.0)
    letters = 0.065 * min(30, max(map(len, class_names)))  # inches that the names take
    figure = Figure((side + letters + 1.2, side + letters + 0.9), layout="constrained")
    axes = figure.subplots()
    colours = mpl.colormaps["Blues"].with_extremes(bad="#eceff2")
    scale = PowerNorm(0.6, 0, 100)  # few clips that are taken for another class show, too
    image = axes.imshow(100 * shares, cmap=colours, norm=scale)
    fontsize = 8 if numbers else 7
    names = [_short(name) for name in class_names]
    axes.set_xticks(range(classes), names, rotation=90, fontsize=fontsize, parse_math=False)
    axes.set_yticks(range(classes), names, fontsize=fontsize, parse_math=False)
    axes.set_xticks(np.arange(1, classes) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, classes) - 0.5, minor=True)
    axes.grid(which="minor", color="#e3e6ea", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(title, fontsize=10, parse_math=False)
    if numbers:
        for row, column in np.argwhere(shares >= 0.005):
            percent = 100 * shares[row, column]
            axes.text(column, row, f"{percent:.0f}", ha="center", va="center", fontsize=7,
                      color="white" if scale(percent) > 0.5 else "#20252c")
    bar = figure.colorbar(image, fraction=0.04, pad=0.02)
    bar.set_label("% of the clips of the true class", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return figure


def draw_classes(recalls: Mapping[str, NDArray[np.float64]], baseline: str,
                 class_names: Sequence[str], title: str) -> Figure:
    """How much better or worse each class is recognised than by the baseline.

    Args:
        recalls: By arm, the share of the clips of each class that are recognised, ``(K,)``; NaN
            where a class has no clip.
        baseline: One of the arms.
        class_names: K names.
        title: Of the picture.
    """
    present = np.flatnonzero(~np.isnan(recalls[baseline]))
    others = [arm for arm in recalls if arm != baseline]
    points = 100 * np.stack([recalls[arm][present] - recalls[baseline][present]
                             for arm in others], 1)
    names = [_short(class_names[number]) for number in present.tolist()]
    letters = 0.075 * max(map(len, names))
    figure = Figure((letters + 2.2 + 0.75 * len(others), 0.22 * len(names) + 1.8),
                    layout="constrained")
    axes = figure.subplots()
    reach = max(1.0, float(np.abs(points).max()))
    image = axes.imshow(points, cmap="RdBu", vmin=-reach, vmax=reach, aspect="auto")
    axes.set_xticks(range(len(others)), [_short(arm) for arm in others], rotation=30, ha="right",
                    fontsize=8, parse_math=False)
    axes.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    for row, column in np.ndindex(points.shape):
        value = points[row, column]
        axes.text(column, row, f"{value:+.0f}", ha="center", va="center", fontsize=7,
                  color="white" if abs(value) > 0.6 * reach else "#20252c")
    axes.set_title(f"{title}\npoints above {baseline}", fontsize=9, parse_math=False)
    figure.colorbar(image, fraction=0.06, pad=0.03).ax.tick_params(labelsize=8)
    return figure


def draw_curves(curves: Mapping[str, Mapping[str, Mapping[str, NDArray[np.float64]]]],
                title: str) -> Figure:
    """Learning curves: mean and range over the runs of an arm.

    Args:
        curves: By arm and name of the metric: ``epoch``, ``mean``, ``low`` and ``high``, ``(E,)``.
        title: Of the picture.
    """
    metrics = list(dict.fromkeys(name for arm in curves.values() for name in arm))
    figure = Figure((4.2 * min(2, len(metrics)), 3.2 * ((len(metrics) + 1) // 2) + 0.6),
                    layout="constrained")
    panels = figure.subplots((len(metrics) + 1) // 2, min(2, len(metrics)), squeeze=False)
    for axes, metric in zip(panels.flat, metrics, strict=False):
        scale = 1 if metric.endswith("loss") else 100
        for number, (arm, by_metric) in enumerate(curves.items()):
            if metric in by_metric:
                curve = by_metric[metric]
                axes.plot(curve["epoch"], scale * curve["mean"], color=f"C{number % 10}",
                          label=_short(arm).replace("$", r"\$"), linewidth=1.4)
                axes.fill_between(curve["epoch"], scale * curve["low"], scale * curve["high"],
                                  color=f"C{number % 10}", alpha=0.15, linewidth=0)
        axes.set_title(metric + ", %" * (scale == 100), fontsize=9)
        axes.grid(color="#e3e6ea", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in panels.flat[len(metrics) :]:
        axes.remove()
    figure.suptitle(title, fontsize=10, parse_math=False)
    handles = {label: handle for axes in panels.flat[: len(metrics)]
               for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", frameon=False,
                  ncols=min(4, len(curves)), fontsize=8)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= 30 else name[:29] + "…"
