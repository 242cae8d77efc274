"""The plots of a report, each defined once: the page and the pictures show the same figures.

Plotly interprets text in figures as a kind of HTML; names are passed through `escape` first.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from .study import Study
from .style import COLOURS, escape, name_axis, new_figure, shorten
from .summary import (
    COST_UNITS,
    Summary,
    arm_confusion,
    class_recalls,
    corrupted_of,
    costs_of,
    curves_of,
)
from .tables import p_text

MAX_NUMBERS = 25
"""Maximum number of classes for which the cells of a confusion matrix show their number."""
BLUES = ("#f7fbff", "#deebf7", "#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c",
         "#08306b")


@dataclass(frozen=True)
class Plot:
    """A plot.

    Attributes:
        name: Name of its picture, without the extension.
        label: Label to select it in its group.
        figure: Its specification; as wide as the page allows.
        width: Width of the picture, px.
    """

    name: str
    label: str
    figure: go.Figure
    width: int = 830


@dataclass(frozen=True)
class Group:
    """Plots that share one place of the page.

    Attributes:
        title: Heading.
        caption: How to read the plots.
        plots: One or more.
        min_width: Minimum width, px; narrower screens scroll.
        in_text: Whether they are shown in Markdown as well.
    """

    title: str
    caption: str
    plots: tuple[Plot, ...]
    min_width: int = 0
    in_text: bool = False


def plots_of(study: Study, summaries: Sequence[Summary]) -> list[Group]:
    """All plots of a report, in the order of the page."""
    metrics = dict.fromkeys(name for arm in study.arms for name in curves_of(arm))
    several = any(summary.top1.deviation is not None for summary in summaries)
    groups = [
        Group("Accuracy against cost", "Dashed: the arms for which no other arm is as accurate and "
              "cheaper." + " Bars: standard deviation over seeds." * several,
              tuple(Plot(f"accuracy_vs_{cost.lower()}", cost,
                         accuracy_plot(summaries, costs, cost))
                    for cost in COST_UNITS if (costs := costs_of(study.arms, cost))),
              in_text=True),
        _differences(study, summaries), _robustness(study), _classes(study),
        Group("Confusion matrix", "Of the clips of a class (row), the share that was assigned to "
              "each class (column), over all runs.",
              tuple(Plot(f"confusion_{file_name(summary.arm.name)}", summary.arm.name,
                         confusion_plot(study, summary), 260 + _cell_size(study) * len(
                             study.class_names)) for summary in summaries),
              220 + _cell_size(study) * len(study.class_names) * 2 // 3),
        Group("Learning curves", "Line: mean of the runs. Band: from the lowest to the highest.",
              tuple(Plot(f"curves_{name.replace('/', '_')}", name, curves_plot(study, name))
                    for name in metrics))]
    return [group for group in groups if group.plots]


def _differences(study: Study, summaries: Sequence[Summary]) -> Group:
    if study.baseline is None or not any(summary.difference for summary in summaries):
        return Group("", "", ())
    name = study.baseline.name
    return Group(f"Difference to {name}, 95 % interval", "",
                 (Plot("differences", "", differences_plot(summaries, name)),), in_text=True)


def _robustness(study: Study) -> Group:
    kinds = dict.fromkeys(kind for arm in study.arms for kind, _ in corrupted_of(arm))
    return Group("Accuracy on corrupted keypoints", "Mean of the runs; level 0 is the test itself.",
                 tuple(Plot(f"robustness_{kind}", kind, robustness_plot(study, kind))
                       for kind in kinds), in_text=True)


def _classes(study: Study) -> Group:
    figure = classes_plot(study)
    width, min_width = 420 + 60 * len(study.arms), 220 + 32 * len(study.arms)
    if _has_comparison(study):
        assert study.baseline is not None
        return Group(f"Accuracy of classes, in points above {study.baseline.name}", "",
                     (Plot("class_differences", "", figure, width),), min_width)
    return Group("Accuracy of classes", "", (Plot("classes", "", figure, width),), min_width)


def accuracy_plot(summaries: Sequence[Summary], costs: Sequence[float], cost: str) -> go.Figure:
    """Accuracy of the arms against one of `COST_UNITS`, with the Pareto front."""
    figure = new_figure(f"top-1 accuracy against {cost}", 430)
    points = sorted(zip(costs, summaries, range(len(costs)), strict=True),
                    key=lambda point: (point[0], point[1].top1.mean))
    front = [(value, 100 * summary.top1.mean) for value, summary, _ in points
             if cost in summary.fronts]
    figure.add_scatter(x=[x for x, _ in front], y=[y for _, y in front], mode="lines",
                       line={"dash": "dash", "color": "#9aa5b1", "width": 1, "shape": "hv"},
                       hoverinfo="skip", showlegend=False)
    middle = np.sqrt(points[0][0] * points[-1][0])
    for place, (value, summary, number) in enumerate(points):
        name, deviation = escape(summary.arm.name), summary.top1.deviation
        spread = "" if deviation is None else f" ± {100 * deviation:.2f}"
        side = "left" if value > middle else "right"  # else names would leave the plot
        figure.add_scatter(
            x=[value], y=[100 * summary.top1.mean], name=name, text=[shorten(summary.arm.name)],
            mode="markers+text", textposition=f"{('top', 'bottom')[place % 2]} {side}",
            marker={"size": 11, "color": COLOURS[number % len(COLOURS)]}, showlegend=False,
            error_y={"array": [100 * (deviation or 0)], "thickness": 1},
            hovertemplate=f"<b>{name}</b><br>top-1 %{{y:.2f}} %{spread}<br>"
                          f"{COST_UNITS[cost]}: %{{x:.4g}}<extra></extra>")
    ends = points[0][0] / 1.4, points[-1][0] * 1.4
    ticks = [factor * 10**power for power in range(-4, 6) for factor in (1, 2, 5)
             if ends[0] <= factor * 10**power <= ends[1]]
    figure.update_xaxes(type="log", range=np.log10(ends).tolist(), tickvals=ticks,
                        ticktext=[f"{tick:g}" for tick in ticks], title_text=COST_UNITS[cost])
    figure.update_yaxes(ticksuffix=" %", title_text="top-1 accuracy")
    return figure


def differences_plot(summaries: Sequence[Summary], baseline: str) -> go.Figure:
    """Difference of each arm to the baseline with its interval, the first arm on top."""
    figure = new_figure("", 90 + 46 * len(summaries))
    for number, summary in enumerate(summaries):
        found, name = summary.difference, escape(summary.arm.name)
        if found is None:  # the baseline itself
            continue
        value, low, high = (100 * number for number in (found.value, found.low, found.high))
        covers = "clips and seeds" if found.covers_seeds else "clips"
        figure.add_scatter(
            x=[value], y=[name], mode="markers+text", showlegend=False,
            marker={"size": 10, "color": COLOURS[number % len(COLOURS)]},
            text=[f"{value:+.2f}, p {p_text(summary.p)}"], textposition="top center",
            error_x={"array": [high - value], "arrayminus": [value - low], "thickness": 2},
            hovertemplate=f"<b>{name}</b><br>{value:+.2f} [{low:+.2f}, {high:+.2f}] points<br>"
                          f"p {p_text(summary.p)}<br>covers {covers}<extra></extra>")
    figure.add_vline(0, line={"color": "#5d6875", "width": 1})
    figure.update_xaxes(title_text=f"top-1, points above {shorten(baseline)}", tickformat="+")
    names = [summary.arm.name for summary in summaries if summary.difference]
    figure.update_yaxes(**name_axis(names), autorange="reversed")
    return figure


def classes_plot(study: Study) -> go.Figure:
    """Accuracy of each class in each arm, or its difference from the baseline."""
    recalls = 100 * np.stack([class_recalls(study, arm) for arm in study.arms], 1)
    arms, title, points = study.arms, "accuracy of classes, %", "%{z:.0f}"
    style: dict[str, object] = {"zmin": 0, "zmax": 100, "colorscale": "Blues"}
    if _has_comparison(study):
        assert study.baseline is not None
        place = study.arms.index(study.baseline)
        recalls = np.delete(recalls - recalls[:, [place]], place, 1)
        arms = tuple(arm for arm in arms if arm is not study.baseline)
        title = f"points above {shorten(study.baseline.name)}"
        reach = max(1.0, float(np.nanmax(np.abs(recalls), initial=0)))
        points = "%{z:+.0f}"
        style = {"zmin": -reach, "zmax": reach, "colorscale": "RdBu"}
    present = np.flatnonzero(~np.isnan(recalls[:, 0]))
    order = present[np.argsort(-recalls[present].mean(1), kind="stable")]  # best first
    names = [study.class_names[number] for number in order.tolist()]
    figure = new_figure(title, 130 + 19 * len(names))
    figure.add_heatmap(
        z=np.round(recalls[order], 2), x=[escape(arm.name) for arm in arms],
        y=[escape(name) for name in names], xgap=1, ygap=1, showscale=False,
        textfont={"size": 10}, texttemplate=points, **style,
        hovertemplate=f"<b>%{{y}}</b><br>%{{x}}: {points.replace('.0', '.1')}<extra></extra>")
    figure.update_xaxes(**name_axis([arm.name for arm in arms]), dtick=1)
    figure.update_yaxes(**name_axis(names), autorange="reversed", dtick=1)
    return figure


def confusion_plot(study: Study, summary: Summary) -> go.Figure:
    """The confusion matrix of an arm; classes without clips are grey."""
    shares = 100 * arm_confusion(study, summary.arm)
    names = [escape(name) for name in study.class_names]
    top1, mean_class = 100 * summary.top1.mean, 100 * summary.mean_class.mean
    figure = new_figure(f"{shorten(summary.arm.name)}: top-1 {top1:.2f} %, mean-class "
                     f"{mean_class:.2f} %", 210 + _cell_size(study) * len(names))
    figure.add_heatmap(
        z=np.round(shares, 1), x=names, y=names, zmin=0, zmax=100, xgap=1, ygap=1,
        colorscale=_power_scale(), colorbar={"title": {"text": "%"}, "thickness": 10},
        hovertemplate="%{y}<br>→ %{x}<br><b>%{z:.1f} %</b><extra></extra>")
    if len(names) <= MAX_NUMBERS:
        figure.update_traces(text=_cell_texts(shares), texttemplate="%{text}",
                             textfont={"size": 10})
    figure.update_layout(plot_bgcolor="#eceff2")
    figure.update_xaxes(**name_axis(study.class_names), title_text="predicted class",
                        tickangle=-90, showgrid=False)
    figure.update_yaxes(**name_axis(study.class_names), title_text="true class",
                        autorange="reversed", showgrid=False)
    return figure


def curves_plot(study: Study, metric: str) -> go.Figure:
    """A metric over the epochs: mean and range over the runs of each arm."""
    scale = 1 if metric.endswith("loss") else 100
    figure = new_figure(metric + ", %" * (scale == 100), 400)
    for number, arm in enumerate(study.arms):
        curve = curves_of(arm).get(metric)
        if curve is None:
            continue
        colour, name = COLOURS[number % len(COLOURS)], escape(arm.name)
        epoch, mean = curve["epoch"], scale * curve["mean"]
        band = np.concatenate([scale * curve["high"], scale * curve["low"][::-1]])
        figure.add_scatter(x=np.concatenate([epoch, epoch[::-1]]), y=np.round(band, 4),
                           fill="toself", fillcolor=colour, opacity=0.15, line={"width": 0},
                           mode="lines", hoverinfo="skip", legendgroup=name, showlegend=False)
        figure.add_scatter(x=epoch, y=np.round(mean, 4), name=name, legendgroup=name,
                           mode="lines", line={"color": colour, "width": 1.8},
                           hovertemplate="%{y:.4g}")
    figure.update_layout(hovermode="x unified")
    last = max(row["epoch"] for arm in study.arms for run in arm.runs for row in run.curve)
    figure.update_xaxes(title_text="epoch", dtick=max(1, round(last / 8)))
    return figure


def robustness_plot(study: Study, kind: str) -> go.Figure:
    """Accuracy of the arms against the level of one kind of corruption."""
    figure = new_figure(f"top-1 accuracy, keypoints corrupted by {kind}", 400)
    for number, arm in enumerate(study.arms):
        points = [(level, accuracy) for (one, level), accuracy in corrupted_of(arm).items()
                  if one == kind]
        if points:
            clean = statistics.fmean(run.top1 for run in arm.runs if run.corrupted)
            levels, accuracies = zip((0.0, clean), *sorted(points), strict=True)
            figure.add_scatter(
                x=levels, y=np.round(100 * np.array(accuracies), 2), name=escape(arm.name),
                mode="lines+markers", hovertemplate="%{y:.2f} %",
                line={"color": COLOURS[number % len(COLOURS)], "width": 1.8})
    figure.update_layout(hovermode="x unified")
    figure.update_xaxes(title_text="level")
    figure.update_yaxes(ticksuffix=" %", title_text="top-1 accuracy")
    return figure


def file_name(arm: str) -> str:
    """The name of an arm as a part of a file name."""
    return "".join(letter if letter.isalnum() or letter in "._=-" else "-" for letter in arm)


def _has_comparison(study: Study) -> bool:
    return study.baseline is not None and len(study.arms) > 1


def _cell_size(study: Study) -> int:
    """Side of a cell of a confusion matrix in a picture, px."""
    return 30 if len(study.class_names) <= MAX_NUMBERS else 15


def _power_scale() -> list[tuple[float, str]]:
    """A colour scale by a power below 1, so that even a few confused clips are visible."""
    return [((number / (len(BLUES) - 1)) ** (1 / 0.6), colour)
            for number, colour in enumerate(BLUES)]


def _cell_texts(shares: NDArray[np.float64]) -> list[list[str]]:
    return [[f"{share:.0f}" if share >= 0.5 else "" for share in row] for row in shares.tolist()]
