"""Draws persons, labels and heatmaps on the frames of a video."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import get_data_path
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from ptl_skel.live.labels import Label
from ptl_skel.pose import Poses
from ptl_skel.pose.video import Image
from ptl_skel.skeletons import SkeletonLayout

Floats = NDArray[np.floating[Any]]
_Box = tuple[float, float, float, float]  # left, top, right, bottom

_COLOURS = ((255, 176, 59), (80, 200, 255), (150, 230, 110), (255, 120, 170), (190, 150, 255),
            (255, 235, 90))
_SIDES = {"left": (0.18, 0.56, 0.88), "right": (0.94, 0.5, 0.12), "middle": (0.73, 0.75, 0.78)}
_UNKNOWN = (200, 200, 200)
_MAP = 56  # px; height and width of the heatmaps, as in the inputs of networks
_SIGMA = 0.9  # px of the heatmaps; a little wider than for networks, for better visibility
_PADDING = 1.25


def draw_people(image: Image, poses: Poses, numbers: NDArray[np.int64],
                labels: Mapping[Any, Label], layout: SkeletonLayout, scale: float, *,
                heatmaps: bool = False) -> Image:
    """The image ``(H, W, 3)`` with skeletons and labels.

    Args:
        image: RGB.
        poses: The persons, in pixels of the frame.
        numbers: Numbers of the persons, ``(N,)``; those with -1 are not drawn.
        labels: Labels by number; under None for the whole scene.
        layout: Joints of the poses.
        scale: Pixels of the image per pixel of the frame.
        heatmaps: Show the joint heatmaps of the persons in the corner.
    """
    height, width = image.shape[:2]
    canvas = Pillow.fromarray(np.ascontiguousarray(image))
    draw = ImageDraw.Draw(canvas)
    line = max(2, round(height / 240))
    font = _font(max(12, round(height / 28)))
    drawn = np.flatnonzero(numbers >= 0).tolist()
    for row in drawn:
        colour = _COLOURS[int(numbers[row]) % len(_COLOURS)]
        points, visible = poses.keypoints[row] * scale, poses.scores[row] > 0
        for one, other in layout.limbs:
            if visible[one] and visible[other]:
                draw.line([*points[one].tolist(), *points[other].tolist()], colour, line)
        for x, y in points[visible].tolist():
            draw.ellipse([x - line, y - line, x + line, y + line], colour)
    if heatmaps:
        _paste_heatmaps(canvas, poses, numbers, layout)
    taken: list[_Box] = []
    for row in drawn:  # after all skeletons, so that they do not cover labels
        number, visible = int(numbers[row]), poses.scores[row] > 0
        if number in labels and visible.any():
            points = poses.keypoints[row, visible] * scale
            _draw_label(draw, (points[:, 0].mean(), points[:, 1].min() - 3 * line), labels[number],
                        font, _COLOURS[number % len(_COLOURS)], (width, height), taken)
    if None in labels:
        _draw_label(draw, (width / 2, height * 0.97), labels[None], font, _COLOURS[0],
                    (width, height), taken)
    return np.asarray(canvas)


def _draw_label(draw: ImageDraw.ImageDraw, place: tuple[float, float], label: Label, font: Any,
                colour: tuple[int, int, int], size: tuple[int, int], taken: list[_Box]) -> None:
    """Draws a label above a position, and paler, above it, the earlier labels; all in the image.

    It moves up if it would cover another label: `taken` are their boxes, to which its own is added.
    """
    name = "unknown" if label.name is None else label.name.replace("_", " ")
    lines = [f"{name} {100 * label.probability:.0f} %", *(each.replace("_", " ")
                                                        for each in label.earlier[:2])]
    text = "\n".join(reversed(lines))
    left, top, right, bottom = draw.multiline_textbbox((0, 0), text, font)
    margin = 4
    x = min(max(place[0] - (right - left) / 2, margin), size[0] - (right - left) - margin)
    y = min(max(place[1] - bottom, margin), size[1] - bottom - margin)
    for _ in taken:
        for other in taken:
            if (x < other[2] and other[0] < x + right - left
                    and y < other[3] and other[1] < y + bottom):
                y = max(other[1] - bottom - 2 * margin, margin)
    taken.append((x - margin, y - margin, x + right - left + margin, y + bottom + margin))
    draw.rectangle([x - margin, y + top - margin, x + right - left + margin, y + bottom + margin],
                   (20, 24, 30))
    for number, each in enumerate(reversed(lines)):
        last = number == len(lines) - 1
        fill = (colour if label.name is not None else _UNKNOWN) if last else (120, 126, 135)
        draw.text((x, y + number * (bottom / len(lines))), each, fill, font)


@functools.cache
def _font(size: int) -> Any:
    """The font of matplotlib: that of Pillow has only the letters of English."""
    return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def _paste_heatmaps(canvas: Pillow.Image, poses: Poses, numbers: NDArray[np.int64],
                    layout: SkeletonLayout) -> None:
    """The heatmaps of the tracked persons, in the order of their numbers, at the top left."""
    side = canvas.height // 3
    rows = [row for row in np.argsort(numbers).tolist() if numbers[row] >= 0]
    for place, row in enumerate(rows[: canvas.width // side]):
        maps = render_heatmaps(poses.keypoints[row], poses.scores[row], layout)
        shown = Pillow.fromarray(maps).resize((side - 4, side - 4), Pillow.Resampling.NEAREST)
        colour = _COLOURS[int(numbers[row]) % len(_COLOURS)]
        framed = Pillow.new("RGB", (side, side), colour)
        framed.paste(shown, (2, 2))
        canvas.paste(framed, (8 + place * (side + 8), 8))


def render_heatmaps(keypoints: Floats, scores: Floats, layout: SkeletonLayout) -> Image:
    """The joint heatmaps of a person in a square box, a colour for each side, ``(56, 56, 3)``.

    Args:
        keypoints: Pixels, ``(V, 2)``.
        scores: ``(V,)``.
        layout: The joints.
    """
    image = np.zeros((_MAP, _MAP, 3))
    seen = scores > 0
    if not seen.any():
        return image.astype(np.uint8)
    low, high = keypoints[seen].min(0), keypoints[seen].max(0)
    half = max((high - low).max() / 2, 1.0) * _PADDING
    places = (keypoints - (low + high) / 2 + half) * (_MAP / (2 * half)) - 0.5
    grid = np.arange(_MAP)
    near = np.exp(-((grid - places[..., None]) ** 2) / (2 * _SIGMA**2))  # (V, 2, 56)
    maps = near[:, 1, :, None] * near[:, 0, None] * scores[:, None, None]  # (V, 56, 56)
    sides = np.array(layout.sides)
    for side, colour in _SIDES.items():
        largest = maps[sides == side].max(0, initial=0) ** 0.6  # else too dim
        image += largest[..., None] * np.array(colour)
    return (255 * image.clip(0, 1)).astype(np.uint8)
