"""Skeletons on top of the frames of their videos, as SVG in HTML."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ptl_skel.errors import UserError
from ptl_skel.pose.video import Image, Video, VideoError, to_jpeg
from ptl_skel.skeletons import SkeletonLayout
from ptl_skel.storage import Clip, Floats, KeypointFile

_COLOURS = {"left": "#2f8fe0", "right": "#f07f1f", "middle": "#f4f4f4"}
_CLIPS, _FRAMES = 6, 4  # number of clips, and of frames per clip
_SIDE = 640  # px; longer side of a picture


def show_frames(file: KeypointFile, videos: Mapping[str, Path]) -> str:
    """HTML with frames of some evenly spaced clips, and their skeletons.

    Args:
        file: The keypoint file.
        videos: Name of a clip -> its video.

    Raises:
        UserError: The keypoints are in 3D, or no clip has a video.
    """
    if file.header.num_coordinates != 2:
        raise UserError(f"{file.path} has 3D keypoints, which have no place in a video")
    known = [number for number, clip in enumerate(file.ids) if clip in videos]
    if not known:
        raise UserError(f"--video has no video of a clip: the file has {file.ids[0]!r}, the videos "
                        f"are {next(iter(videos))!r} and the like")
    chosen = np.unique(np.linspace(0, len(known) - 1, _CLIPS).astype(int)).tolist()
    return "\n".join(_show_clip(file.clip(known[i]), file.header.layout, videos[file.ids[known[i]]])
                     for i in chosen)


def _show_clip(clip: Clip, layout: SkeletonLayout, path: Path) -> str:
    """Some frames of a clip that show somebody, in a row under its name."""
    seen = np.flatnonzero((clip.scores > 0).any((0, 2)))
    wanted = seen[np.linspace(0, len(seen) - 1, _FRAMES + 2).astype(int)[1:-1]]
    pictures, reason = [], ""
    try:
        with Video(path) as video:
            last = clip.first_frame + int(wanted[-1])
            for frame in video:
                place = frame.number - clip.first_frame
                if place in wanted:
                    pictures.append(draw_frame(
                        frame.to_image(_SIDE), clip.keypoints[:, place], clip.scores[:, place],
                        layout, clip.frame_size, f"frame {frame.number}, {frame.time:.1f} s"))
                if frame.number >= last:
                    break
    except VideoError as error:
        reason = str(error)
    if not pictures and not reason:
        reason = f"{path} is shorter than the clip"
    return (f"<h3>{html.escape(clip.id)}</h3>\n"
            + (f"<p>{html.escape(reason)}</p>\n" if reason else "") + "\n".join(pictures))


def draw_frame(image: Image, keypoints: Floats, scores: Floats, layout: SkeletonLayout,
               frame_size: tuple[int, int], title: str) -> str:
    """An SVG of a frame with the skeletons of its persons.

    Args:
        image: The frame, of any size.
        keypoints: ``(M, V, 2)``, in pixels of the full frame.
        scores: ``(M, V)``; joints with score 0 are omitted, those with low scores are pale.
        layout: The joints.
        frame_size: Height and width of the full frame in pixels.
        title: Shown on hovering.
    """
    height, width = image.shape[:2]
    scale = np.array([width / frame_size[1], height / frame_size[0]])
    data = base64.b64encode(to_jpeg(image)).decode()
    shapes = [f'<title>{html.escape(title)}</title>',
              f'<image href="data:image/jpeg;base64,{data}" width="{width}" height="{height}"/>']
    for person, sure in zip(np.round(keypoints * scale, 1), scores, strict=True):
        points = [(x, y) for x, y in person.tolist()]
        for a, b in layout.limbs:
            if min(sure[a], sure[b]) > 0:
                sides = {layout.sides[a], layout.sides[b]} - {"middle"}
                colour = _COLOURS[sides.pop() if len(sides) == 1 else "middle"]
                shapes.append(
                    f'<line x1="{points[a][0]}" y1="{points[a][1]}" x2="{points[b][0]}" '
                    f'y2="{points[b][1]}" stroke="{colour}" stroke-width="3" '
                    f'stroke-linecap="round" opacity="{_opacity(min(sure[a], sure[b]))}"/>')
        for joint in np.flatnonzero(sure > 0).tolist():
            x, y = points[joint]
            shapes.append(
                f'<circle cx="{x}" cy="{y}" r="3.5" fill="{_COLOURS[layout.sides[joint]]}" '
                f'stroke="#222" opacity="{_opacity(sure[joint])}"><title>'
                f'{html.escape(layout.joints[joint])} {sure[joint]:.2f}</title></circle>')
    return (f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
            + "".join(shapes) + "</svg>")


def _opacity(score: float) -> float:
    return round(0.35 + 0.65 * float(score), 2)
