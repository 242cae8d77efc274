"""Picture of the evidence for a prediction, over joints and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ptl_skel.representations import MIN_SCORE
from ptl_skel.show.clip import View

Floats = NDArray[np.floating[Any]]

_MAP = colormaps["RdBu_r"]
_INK = "#3a4352"
_QUIET = "#555c66"


@dataclass(frozen=True)
class Evidence:
    """How much the log-odds of the predicted class fall when something is hidden.

    Positive values support the class, negative ones speak against it.

    Attributes:
        view: The clip.
        predicted: Name of the predicted class.
        probability: Its probability.
        true: Name of the true class; None if it is not known.
        spans: First frame of each span, and the one after its last, S of them.
        cells: A joint hidden in a span, ``(V, S)``.
        joints: A joint hidden in the whole clip, ``(V,)``.
        times: All joints hidden in a span, ``(S,)``.
    """

    view: View
    predicted: str
    probability: float
    true: str | None
    spans: tuple[tuple[int, int], ...]
    cells: Floats
    joints: Floats
    times: Floats

    @property
    def title(self) -> str:
        """Clip, predicted class and true class."""
        title = f"{self.view.title} · predicted {self.predicted} ({100 * self.probability:.0f} %)"
        if self.true is None:
            return f"{title}, true class unknown"
        return title + (", correct" if self.true == self.predicted else f", true class {self.true}")


def draw_evidence(evidence: Evidence) -> Figure:
    """Skeletons and heatmaps in the middle of each span, evidence in colour; the table below."""
    view, count = evidence.view, len(evidence.spans)
    largest = float(np.abs(evidence.cells).max()) or 1.0
    norm = Normalize(-largest, largest)
    table = 0.19 * view.layout.num_joints + 0.3
    figure = Figure((1.35 * count + 3.2, 3.6 + table), layout="constrained")
    rows = figure.add_gridspec(4, count + 2, height_ratios=[1.35, 1.35, table, 0.6],
                               width_ratios=[*[1.35] * count, 1.1, 0.12])
    for column, (first, end) in enumerate(evidence.spans):
        frame = (first + end - 1) // 2
        colours = _MAP(norm(evidence.cells[:, column]))
        skeleton, heatmap = (figure.add_subplot(rows[row, column]) for row in (0, 1))
        _draw_skeleton(skeleton, view, frame, colours)
        _draw_heatmap(heatmap, view, frame, colours)
        skeleton.set_title(f"frame {view.frames[frame]}", fontsize=9, color=_QUIET)
        if not column:
            skeleton.set_ylabel("skeleton", fontsize=9)
            heatmap.set_ylabel("heatmaps", fontsize=9)
    cells = figure.add_subplot(rows[2, :count])
    cells.imshow(evidence.cells, cmap=_MAP, norm=norm, aspect="auto", interpolation="nearest")
    joints = range(view.layout.num_joints)
    cells.set_yticks(joints, [name.replace("_", " ") for name in view.layout.joints],
                     fontsize=max(4, min(8, 160 / view.layout.num_joints)))
    cells.set_xticks([])
    whole = figure.add_subplot(rows[2, count], sharey=cells)
    _draw_bars(whole, evidence.joints, horizontal=True)
    whole.set_title("hidden in the\nwhole clip", fontsize=8, color=_QUIET)
    times = figure.add_subplot(rows[3, :count])
    _draw_bars(times, evidence.times, horizontal=False)
    times.set_xlim(-0.5, count - 0.5)
    times.set_xticks(range(count), [f"{view.frames[first]} to {view.frames[end - 1]}"
                                    for first, end in evidence.spans], fontsize=8)
    times.set_ylabel("all joints\nhidden", fontsize=8)
    times.set_xlabel("frames", fontsize=9)
    bar = figure.colorbar(ScalarMappable(norm, _MAP), cax=figure.add_subplot(rows[2, count + 1]))
    bar.ax.tick_params(labelsize=7)
    bar.set_label("fall of the log-odds", fontsize=8)
    figure.suptitle(evidence.title, fontsize=11, parse_math=False)
    return figure


def _draw_skeleton(axes: Axes, view: View, frame: int, colours: Floats) -> None:
    height, width = view.heatmaps.shape[2:]
    axes.set_facecolor("#f7f8fa")
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal", xticks=[],
             yticks=[])
    axes.spines[:].set_color("#d5d9e0")
    limbs = np.array(view.layout.limbs, int).reshape(-1, 2)
    for keypoints, scores in zip(view.keypoints[:, frame], view.scores[:, frame], strict=True):
        drawn = scores >= MIN_SCORE
        axes.add_collection(LineCollection(list(keypoints[limbs[drawn[limbs].all(1)]]),
                                           linewidths=1.2, colors="#9aa2ad", zorder=2))
        axes.scatter(keypoints[drawn, 0], keypoints[drawn, 1], 26, zorder=3, c=colours[drawn],
                     linewidths=0.5, edgecolors=_INK)


def _draw_heatmap(axes: Axes, view: View, frame: int, colours: Floats) -> None:
    """The heatmaps of the joints in their colours, on white; the strongest is in front."""
    maps = view.heatmaps[:, frame]  # (V, H, W)
    front = maps.argmax(0)
    strength = (maps.max(0) / max(float(maps.max()), 1e-6))[..., None] ** 0.6
    axes.imshow(colours[front][..., :3] * strength + 0.12 * (1 - strength),
                interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("#d5d9e0")


def _draw_bars(axes: Axes, values: Floats, *, horizontal: bool) -> None:
    """Bars in red for evidence in favour, in blue for evidence against."""
    colours = ["#b2182b" if value >= 0 else "#2166ac" for value in values]
    places = range(len(values))
    if horizontal:
        axes.barh(places, values, 0.7, color=colours)
        axes.axvline(0, color=_INK, linewidth=0.6)
        axes.tick_params(axis="y", labelleft=False, length=0)
    else:
        axes.bar(places, values, 0.7, color=colours)
        axes.axhline(0, color=_INK, linewidth=0.6)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
