"""A clip as the network sees it: skeleton and heatmaps, as PNG or GIF."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jsonargparse
import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from ptl_skel.configs import shipped
from ptl_skel.data.cameras import Camera
from ptl_skel.data.dataset import ClipDataset
from ptl_skel.data.sampling import sample_test
from ptl_skel.data.transforms import compact_box, crop_resize
from ptl_skel.errors import MissingFileError, UserError
from ptl_skel.representations import MIN_SCORE, JointHeatmaps
from ptl_skel.skeletons import SkeletonLayout
from ptl_skel.storage import KeypointFile

_SIDES = {"left": "#2f8fe0", "right": "#f07f1f", "middle": "#b9bec6"}
# Distinct from the colours of the sides; repeated for further persons.
_PERSONS = ("#3a4352", "#a3328f", "#2a8a4e", "#b0303a", "#6a5acd", "#8a6d1f")
FRAMES_PER_SECOND = 8
"""Frames per second of animations."""


@dataclass(frozen=True)
class View:
    """A clip as a network sees it.

    Attributes:
        title: Id and class of the clip.
        facts: Its length and number of persons.
        layout: The joints.
        frames: The frames that the network sees, counted from 1, ``(T,)``.
        keypoints: In pixels of the heatmaps, ``(M, T, V, 2)``.
        scores: ``(M, T, V)``.
        heatmaps: ``(V, T, H, W)``.
    """

    title: str
    facts: str
    layout: SkeletonLayout
    frames: NDArray[np.int64]
    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]
    heatmaps: NDArray[np.float32]


def find_clip(file: KeypointFile, named: str) -> int:
    """Index of the clip with that id, or else with that number, counted from 1.

    Raises:
        KeypointFileError: There is no such clip.
    """
    if named not in file.ids and named.isdecimal() and 1 <= int(named) <= len(file):
        return int(named) - 1
    return file.position(named)


def read_camera(name: str) -> Camera:
    """A camera from a YAML file with its arguments, or a shipped one, e.g. ``camera/side.yaml``.

    Raises:
        MissingFileError: There is no such file.
        UserError: It does not describe a camera.
    """
    path = Path(shipped(name))
    if not path.is_file():
        raise MissingFileError(f"--camera {path} does not exist")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Camera)
    try:
        arguments = parser.parse_path(str(path)).as_dict()
    except jsonargparse.ArgumentError as error:
        raise UserError(f"--camera {path}: {' '.join(str(error).split())}") from error
    camera = Camera(**arguments)
    camera.check()
    return camera


def view_clip(file: KeypointFile, clip: int, clip_len: int, size: int, sigma: float,
              camera: Camera | None = None) -> View:
    """Samples, projects, crops and renders a clip in the same steps as a test.

    Args:
        file: The file that contains it.
        clip: Its index.
        clip_len: Frames that are sampled.
        size: Height and width of the heatmaps, pixels.
        sigma: Width of the Gaussian around a joint, pixels.
        camera: Projects 3D coordinates, by default from the front; None for 2D pixels.

    Raises:
        UserError: `sigma` is not positive, or the camera does not fit the file.
    """
    header = file.header
    heatmaps = JointHeatmaps(header.layout, sigma)
    batch = ClipDataset(file, np.array([clip]), clip_len)[0]
    keypoints, scores, frame_size = (
        batch[name] for name in ("keypoints", "scores", "frame_size"))
    if header.num_coordinates == 3:
        camera = camera or Camera()
        if camera.projection == "none":
            raise UserError("--camera has `projection: none`, but a picture needs pixels")
        camera.check_view(keypoints, scores, file.path)
        keypoints, scores = camera.project(keypoints, scores)
        frame_size = camera.frame_sizes(keypoints)
    elif camera is not None:
        raise UserError(f"--camera is for 3D coordinates, but {file.path} holds 2D pixels")
    keypoints = crop_resize(keypoints, compact_box(keypoints, scores, frame_size), (size, size))
    volume = heatmaps(keypoints, scores, (size, size))
    label, frames, persons = file.label[clip], file.num_frames[clip], file.num_persons[clip]
    name = f"class {header.class_names[label]}" if label >= 0 else "class unknown"
    return View(
        f"{file.ids[clip]} · {name}",
        f"clip {clip + 1:,} of {len(file):,}, {_number(frames, 'frame')}, "
        f"{_number(persons, 'person')}",
        header.layout, sample_test(int(frames), clip_len)[0] + 1, keypoints[0].numpy(),
        scores[0].numpy(), volume[0].numpy())


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def draw_row(view: View, num_frames: int) -> Figure:
    """Some evenly spaced frames of a clip: skeletons above, heatmaps below."""
    figure = Figure((max(1.5 * num_frames, 4.5) + 0.3, 4.1),
                    layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.04))
    axes = figure.subplots(2, num_frames, squeeze=False)
    shown = np.linspace(0, len(view.frames) - 1, num_frames).round().astype(int)
    for column, frame in enumerate(shown):
        draw_skeletons(axes[0, column], view, frame)
        draw_heatmap(axes[1, column], view, frame)
        axes[0, column].set_title(f"frame {view.frames[frame]}", fontsize=9, color="#555c66")
    axes[0, 0].set_ylabel("skeleton", fontsize=9)
    axes[1, 0].set_ylabel("joint heatmaps", fontsize=9)
    _add_title_and_legend(figure, view)
    return figure


def save_animation(view: View, path: Path) -> None:
    """Writes the frames of a clip one after the other, as an animated GIF."""
    figure = Figure((6.4, 4.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    _add_title_and_legend(figure, view)
    writer = PillowWriter(FRAMES_PER_SECOND)
    with writer.saving(figure, str(path), 100):
        for frame, number in enumerate(view.frames):
            for axes in (left, right):
                axes.clear()
            draw_skeletons(left, view, frame)
            draw_heatmap(right, view, frame)
            left.set_title(f"frame {number}", fontsize=9, color="#555c66")
            right.set_title("joint heatmaps", fontsize=9, color="#555c66")
            writer.grab_frame()


def draw_skeletons(axes: Axes, view: View, frame: int) -> None:
    """Limbs in the colour of the person, joints in that of their side; low scores are paler."""
    height, width = view.heatmaps.shape[2:]
    _style_axes(axes, "#f7f8fa")
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal")
    limbs = np.array(view.layout.limbs, int).reshape(-1, 2)
    sides = [_SIDES[side] for side in view.layout.sides]
    for person in range(len(view.scores)):
        keypoints, scores = view.keypoints[person, frame], view.scores[person, frame]
        drawn = scores >= MIN_SCORE
        linked = limbs[drawn[limbs].all(1)]
        axes.add_collection(LineCollection(
            list(keypoints[linked]), linewidths=1.8, capstyle="round", zorder=2 + 2 * person,
            colors=[to_rgba(_PERSONS[person % len(_PERSONS)], _opacity(score))
                    for score in scores[linked].min(1)]))
        axes.scatter(
            keypoints[drawn, 0], keypoints[drawn, 1], 9, linewidths=0, zorder=3 + 2 * person,
            c=[to_rgba(sides[joint], _opacity(scores[joint])) for joint in np.flatnonzero(drawn)])


def _opacity(score: float) -> float:
    return 0.25 + 0.75 * float(score)


def draw_heatmap(axes: Axes, view: View, frame: int) -> None:
    """The largest value over the joints of each side, in the colour of that side."""
    _style_axes(axes, "black")
    maps, sides = view.heatmaps[:, frame], np.array(view.layout.sides)
    image = np.zeros((*maps.shape[1:], 3))
    for side, colour in _SIDES.items():
        largest = maps[sides == side].max(0, initial=0) ** 0.6  # else too dim on many a screen
        image += largest[..., None] * np.array(to_rgb(colour))
    axes.imshow(image.clip(0, 1), interpolation="nearest")


def _style_axes(axes: Axes, background: str) -> None:
    axes.set_facecolor(background)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("#d5d9e0")


def _add_title_and_legend(figure: Figure, view: View) -> None:
    """Title and legend of a picture."""
    figure.suptitle(f"{view.title}\n{view.facts}", fontsize=11, parse_math=False)
    entries = [Line2D([], [], marker="o", linestyle="", color=_SIDES[side], label=f"{side} joints")
               for side in _SIDES if side in view.layout.sides]
    persons = len(view.scores)
    if 1 < persons <= len(_PERSONS):
        entries += [Line2D([], [], color=colour, linewidth=2, label=f"person {number}")
                    for number, colour in enumerate(_PERSONS[:persons], 1)]
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries), fontsize=8,
                  frameon=False, handlelength=1.2, columnspacing=1.2)
