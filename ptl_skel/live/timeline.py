"""Picture of the segments of a video, with a row for each person."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ptl_skel.live.segments import Segment

_MAX_ROWS = 40  # rows; if there are more persons, those with the longest segments are shown
_MINUTE = 60


def draw_timeline(segments: Sequence[Segment], seconds: float, title: str) -> Figure:
    """Bars from start to end, a colour for each label, paler at low probabilities.

    Args:
        segments: Segments of all persons.
        seconds: Length of the video.
        title: Title of the picture.
    """
    total: dict[int | None, float] = {}
    for each in segments:
        total[each.person] = total.get(each.person, 0) + each.end - each.start
    people = sorted(sorted(total, key=lambda who: -total[who])[:_MAX_ROWS],
                    key=lambda who: -1 if who is None else who)
    labels = list(dict.fromkeys(each.label for each in segments))
    colours = dict(zip(labels, (colormaps["tab20"](2 * i % 20 + i // 10 % 2)
                                for i in range(len(labels))), strict=True))
    legend_rows = -(-len(labels) // 4)
    figure = Figure((10, 1.3 + 0.42 * max(len(people), 1) + 0.25 * legend_rows),
                    layout="constrained")
    axes = figure.subplots()
    for row, who in enumerate(people):
        for each in segments:
            if each.person == who:
                axes.barh(row, each.end - each.start, 0.72, each.start,
                          color=colours[each.label], alpha=0.35 + 0.65 * each.probability,
                          edgecolor="white", linewidth=0.6)
    axes.set(xlim=(0, max(seconds, 1e-3)), ylim=(max(len(people), 1) - 0.4, -0.6),
             yticks=range(len(people)), yticklabels=["scene" if who is None else f"person {who}"
                                                     for who in people])
    axes.set_title(title, fontsize=11, parse_math=False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_time(value, seconds)))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e3e6ea")
    axes.set_axisbelow(True)
    if labels:
        handles = [axes.barh(0, 0, color=colours[label], label=label.replace("_", " "))
                   for label in labels]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(labels), 4),
                      fontsize=8, frameon=False)
    else:
        axes.text(0.5, 0.5, "no action above the threshold", transform=axes.transAxes, ha="center")
    return figure


def format_time(seconds: float, longest: float) -> str:
    """A time in seconds, with tenths, or in minutes and hours for longer videos."""
    if longest < _MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours}:{minutes:02}:{rest:02}" if longest >= _MINUTE**2 else f"{minutes}:{rest:02}"
