"""Animation of a network's predictions over the time of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ptl_skel.show.clip import FRAMES_PER_SECOND, View, draw_heatmap, draw_skeletons

_SHOWN = 4  # classes
_HELD = 8  # pictures at the end that show the last prediction
_RIGHT, _OTHER, _QUIET = "#2a8a4e", "#c3c8d0", "#555c66"


@dataclass(frozen=True)
class PredictionsOverTime:
    """Probabilities of all classes at each frame of a view.

    Attributes:
        view: The clip.
        class_names: K of them.
        probabilities: Predicted from the frames up to that one, ``(T, K)``.
        true: Name of the true class; None if it is not known.
    """

    view: View
    class_names: tuple[str, ...]
    probabilities: NDArray[np.floating[Any]]
    true: str | None

    @property
    def title(self) -> str:
        """Clip, its true class, and the prediction at the end."""
        last = self.probabilities[-1]
        predicted = f"{self.class_names[last.argmax()]} ({100 * last.max():.0f} %)"
        true = "true class unknown" if self.true is None else f"true class {self.true}"
        return f"{self.view.title} · {true} · predicted {predicted}"


def save_predictions_gif(predictions: PredictionsOverTime, path: Path) -> None:
    """Skeleton, heatmaps and the most probable classes, frame by frame, as an animated GIF."""
    view = predictions.view
    figure = Figure((8.4, 3.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1, 0.9])
    true = "class unknown" if predictions.true is None else _plain(predictions.true)
    figure.suptitle(f"{view.title} · {true}", fontsize=11, parse_math=False)
    # Those that were the most probable at some moment; their positions are fixed.
    shown = np.argsort(-predictions.probabilities.max(0), kind="stable")[:_SHOWN]
    writer = PillowWriter(FRAMES_PER_SECOND)
    with writer.saving(figure, str(path), 100):
        for frame, number in enumerate(view.frames):
            for axes in (left, middle, right):
                axes.clear()
            draw_skeletons(left, view, frame)
            draw_heatmap(middle, view, frame)
            _draw_bars(right, predictions, shown, frame)
            left.set_title(f"frame {number}", fontsize=9, color=_QUIET)
            middle.set_title("joint heatmaps", fontsize=9, color=_QUIET)
            right.set_title("probability after the frames so far", fontsize=9, color=_QUIET)
            writer.grab_frame()
        for _ in range(_HELD):
            writer.grab_frame()


def _draw_bars(axes: Axes, predictions: PredictionsOverTime, shown: NDArray[np.int64],
               frame: int) -> None:
    """Bars of some classes, the true one in green; names above the bars."""
    axes.set(xlim=(0, 1), ylim=(len(shown) - 0.3, -0.7), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    for place, label in enumerate(shown):
        name, share = predictions.class_names[label], float(predictions.probabilities[frame, label])
        colour = _RIGHT if name == predictions.true else _OTHER
        axes.barh(place, 1, 0.32, color="#eef0f3")
        axes.barh(place, share, 0.32, color=colour)
        axes.text(0, place - 0.24, _plain(name), fontsize=9, va="bottom", parse_math=False)
        axes.text(1, place - 0.24, f"{100 * share:.0f} %", fontsize=9, va="bottom", ha="right")


def _plain(name: str) -> str:
    return name.replace("_", " ")
