"""Small videos, and a pose estimator that finds the bright rectangles in them."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import av
import numpy as np

from ptl_skel.pose.base import Poses
from ptl_skel.skeletons import LAYOUTS

SIZE = (96, 160)  # height and width
_COLUMNS, _ROWS = 0.1 + 0.8 * np.linspace(0, 1, 17), 0.1 + 0.8 * np.linspace(1, 0, 17)


def boxes_at(frame, persons=1):
    """Left and top corner of each person in a frame: the first walks right, the second down."""
    return [(10 + frame % 90, 30), (120, 5 + frame % 50)][:persons]


def paint(frame, persons=1, size=SIZE, side=20):
    """An image with persons: the first is bright red, the second bright green."""
    image = np.full((*size, 3), 20, np.uint8)
    for channel, (left, top) in enumerate(boxes_at(frame, persons)):
        image[top : top + side, left : left + side, channel] = 250
    return image


def write_video(path: Path, images, *, rate=25, codec="libx264", group=5, container=None,
                title="") -> Path:
    """Writes RGB images, which may change their size in a transport stream only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w", format=container) as file:
        file.metadata["title"] = title
        stream = file.add_stream(codec, rate=rate)
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "10", "g": str(group),
                          "tune": "zerolatency"}
        for number, image in enumerate(images):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            frame.pts = number
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def walking(path: Path, frames=30, persons=1, *, absent=(), **options) -> Path:
    """A video of persons who walk; nobody is there in the frames `absent`."""
    return write_video(path, (paint(frame, 0 if frame in absent else persons)
                              for frame in range(frames)), **options)


def push(address: str) -> None:
    """Sends a video to a reader that listens at an RTSP address, at the rate of a camera."""
    time.sleep(0.5)  # until the reader listens
    with av.open(address, "w", format="rtsp", options={"rtsp_transport": "tcp"}) as file:
        stream = file.add_stream("libx264", rate=30)
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "5"}
        for number in range(60):
            frame = av.VideoFrame.from_ndarray(paint(number), "rgb24")
            frame.pts = number
            file.mux(stream.encode(frame))
            time.sleep(1 / 60)
        file.mux(stream.encode())


def turn(path: Path) -> Path:
    """Marks an MP4 as to be turned by a quarter, as phones that are held upright do."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    one = 1 << 16
    content[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


class Rectangles:
    """Finds the two persons of `paint`; their joints lie on a diagonal of the rectangle."""

    layout = LAYOUTS["coco17"]

    def __init__(self, model=None, side=80):
        self.preferred_side = side

    def __call__(self, image):
        found = []
        for channel in range(2):
            rows, columns = np.nonzero(image[..., channel].astype(int)
                                       - image[..., 1 - channel] > 100)
            if rows.size:
                found.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        boxes = np.array(found, float).reshape(-1, 4)
        left, top, right, bottom = boxes.T[:, :, None]
        keypoints = np.stack([left + (right - left) * _COLUMNS, top + (bottom - top) * _ROWS], -1)
        return Poses(keypoints, np.full(keypoints.shape[:2], 0.9), boxes, np.full(len(boxes), 0.8))


class TwoJoints(Rectangles):
    """Breaks the promise of its layout."""

    def __call__(self, image):
        return Poses(np.zeros((1, 2, 2)), np.ones((1, 2)), np.zeros((1, 4)), np.ones(1))


class NoLayout:
    """Not an estimator."""

    preferred_side = None

    def __call__(self, image):
        return Poses.nobody(17)


def joints_at(frame, persons=1, side=20):
    """Where `Rectangles` should find the joints, ``(M, V, 2)``."""
    return np.array([np.stack([left + side * _COLUMNS, top + side * _ROWS], -1)
                     for left, top in boxes_at(frame, persons)])
