"""Videos without content, and pose estimators that see persons in them, for tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ptl_skel.pose import Poses
from ptl_skel.skeletons import LAYOUTS


class Dancer:
    """A pose estimator that sees two persons in every image, whatever it shows."""

    layout = LAYOUTS["coco17"]
    preferred_side = 64

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, image: np.ndarray) -> Poses:
        self.seen += 1
        height, width = image.shape[:2]
        body = np.stack([np.linspace(0.1, 0.2, 17), np.linspace(0.2, 0.8, 17)], 1)
        step = np.array([0.02 * np.sin(self.seen / 3), 0])
        both = np.stack([body + step, body + np.array([0.6, 0]) - step]) * [width, height]
        return Poses.from_joints(both.astype(np.float32), np.full((2, 17), 0.9, np.float32))


class Nobody(Dancer):
    """A pose estimator that never sees anybody."""

    def __call__(self, image: np.ndarray) -> Poses:
        return Poses.nobody(17)


class HandsOnly(Nobody):
    """A pose estimator for hands, which also sees nobody."""

    layout = LAYOUTS["hand21"]


def write_video(path: Path, sizes: tuple[tuple[int, int], ...] = ((160, 120),), frames: int = 40,
                **options: str) -> Path:
    """A video of grey frames, of one size (width, height) after the other."""
    av = pytest.importorskip("av")
    with av.open(path, "w", options=options) as container:
        stream = container.add_stream("libx264", rate=20, options={"g": "5", "preset": "ultrafast"})
        stream.pix_fmt = "yuv420p"
        stream.width, stream.height = sizes[0]
        for number in range(frames):
            image = np.full((*sizes[0][::-1], 3), 5 * number % 255, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
    if len(sizes) > 1:
        rest = write_video(path.with_name(f"_{path.name}"), sizes[1:], frames, **options)
        path.write_bytes(path.read_bytes() + rest.read_bytes())
    return path


def read_frames(path: Path) -> list[tuple[int, int]]:
    """Height and width of each frame of a video."""
    av = pytest.importorskip("av")
    with av.open(path) as container:
        return [(frame.height, frame.width) for frame in container.decode(video=0)]


def read_events(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]
