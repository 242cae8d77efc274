"""Videos as a source: finds the persons in their frames, and tracks them."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ptl_skel.errors import MissingFileError, UserError
from ptl_skel.pose import PersonTracker, PoseEstimator, find_poses, make_estimator
from ptl_skel.pose.video import Video, VideoError
from ptl_skel.skeletons import get_layout, map_joints
from ptl_skel.storage import PARTS, Clip, Floats, Header

from ..core.files import check_links, read_class_names, walk
from ..core.labels import Row, name_classes
from ..core.source import Unusable
from .poses import Poses
from .tracks import arrange_persons

ENDINGS = frozenset((".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg",
                     ".mpg", ".mts", ".ts", ".webm", ".wmv"))
"""Extensions of the files that count as videos in a folder."""

_CUT = 0.1  # of the duration that a file declares; if more is missing, it seems to be truncated
_SHORTEST = 3  # frames; persons seen in fewer are treated as errors of the estimator
_MAX_FRAMES = 5_000_000  # two days


class VideoSource:
    """A source (see `preprocessing.core.source`) of the persons that an estimator finds in videos.

    A clip is named after its file: its path below the common folder of all inputs, without the
    extension. If a video is in a subfolder of that, the name of the subfolder is its label. If all
    are below folders train, val and test, these are the parts of a split instead.

    Args:
        inputs: Videos, or folders that contain them at any depth.
        estimator: Name or class path, see `ptl_skel.pose.make_estimator`.
        pose_model: Its model; None for the default.
        layout: Name or YAML file of the joints to store; by default those of the estimator.
        max_persons: Number of persons to keep in a frame, those with the highest scores.
        classes: File with one class name per line; by default the labels define the classes.

    Raises:
        MissingFileError: A file does not exist.
        UserError: A folder holds no videos, a video is beside the parts of a split, the estimator
            does not exist, or its joints cannot be mapped to the layout.
    """

    def __init__(self, inputs: Sequence[Path], *, estimator: str = "movenet",
                 pose_model: Path | None = None, layout: str | None = None, max_persons: int = 2,
                 classes: Path | None = None) -> None:
        if max_persons < 1:
            raise UserError(f"--max_persons must be >= 1, got {max_persons}")
        self._videos = find_videos(inputs)
        self._named, self._model, self._max_persons = estimator, pose_model, max_persons
        is_split = _is_split(self._videos)
        rows = {name: Row(_label(name, is_split), _part(name) if is_split else "")
                for name in self._videos}
        names = None if classes is None else read_class_names(classes)
        self._labels = name_classes(rows, names, "the names of the folders")
        joints = self._estimator.layout
        target = joints if layout is None else get_layout(layout)
        self._order = map_joints(joints, target)
        self.header = Header(
            dataset=_common_folder(inputs).resolve().name or "videos", layout=target,
            class_names=self._labels.class_names,
            source=f"video, {estimator}, at most {max_persons} persons")

    @functools.cached_property
    def _estimator(self) -> PoseEstimator:
        return make_estimator(self._named, self._model)

    def __getstate__(self) -> dict[str, Any]:
        """Without the estimator, which each worker process creates itself."""
        return {name: value for name, value in self.__dict__.items() if name != "_estimator"}

    @property
    def files(self) -> Iterable[Path]:
        """The videos, and the file of the model."""
        return [*self._videos.values(), *([self._model] if self._model else [])]

    @property
    def options(self) -> Mapping[str, Any]:
        """Nothing else determines the content."""
        return {}

    def keys(self) -> Sequence[str]:
        """Names of the clips."""
        return list(self._videos)

    def read(self, key: str) -> list[Clip]:
        """The persons in one video.

        Raises:
            Unusable: It is not a video, cannot be decoded, or shows nobody.
        """
        try:
            with Video(self._videos[key]) as video:
                poses, first_size, notes = self._follow(video)
                fps = video.fps
        except (VideoError, MissingFileError) as error:
            raise Unusable(str(error)) from error
        keypoints, scores, first = arrange_persons(poses, self._max_persons, _MAX_FRAMES)
        return [Clip(key, keypoints, scores, first_size, self._labels.label(key),
                     repairs="; ".join(notes), fps=fps, first_frame=first)]

    def splits(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """The split by the folders train, val and test, if there are any."""
        return self._labels.splits(ids)

    def _follow(self, video: Video) -> tuple[Poses, tuple[int, int], list[str]]:
        """The persons of a video, its frame size, and what was wrong with it."""
        tracker = PersonTracker(confirm=1)  # short tracks are removed below
        size: tuple[int, int] | None = None
        changes = number = 0
        seconds = 0.0
        keypoints, scores, tracks, frames = list[Floats](), list[Floats](), list[int](), list[int]()
        for frame in video:
            found = find_poses(self._estimator, frame)
            size = size or frame.size
            places = found.keypoints
            if frame.size != size:
                changes += 1
                places = places * (np.array(size[::-1]) / np.array(frame.size[::-1]))
            ids = tracker.update(places, found.scores, found.confidence)
            for row in np.flatnonzero(ids >= 0).tolist():
                keypoints.append(places[row, self._order])
                scores.append(found.scores[row, self._order])
                tracks.append(int(ids[row]))
                frames.append(number)
            number += 1
            seconds = frame.time
        assert size is not None  # a video without a frame raises VideoError
        lasting = np.bincount(tracks, minlength=1)[tracks] >= _SHORTEST if tracks else np.zeros(0)
        kept = np.flatnonzero(lasting)
        if not kept.size:
            raise Unusable(f"nobody is seen in {_SHORTEST} frames or more; the video has "
                           f"{number:,}")
        notes = []
        if video.num_damaged:
            notes.append(f"damaged packets are skipped: {video.num_damaged}")
        if video.fps and seconds + 1 / video.fps < (1 - _CUT) * video.duration:
            notes.append(f"the video ends after {seconds:.1f} of {video.duration:.1f} seconds: the "
                         "file seems to be truncated")
        if changes:
            notes.append("the size of the frames changes; joints are scaled to the size of the "
                         f"first: {changes}")
        return Poses(np.stack(keypoints)[kept], np.stack(scores)[kept], np.array(frames)[kept],
                     np.array(tracks)[kept], np.arange(number)), size, notes


def find_videos(inputs: Sequence[Path]) -> dict[str, Path]:
    """The videos in files and folders: name of the clip -> path, in the order of the inputs.

    Raises:
        MissingFileError: An input does not exist.
        UserError: A folder contains no video, or two videos have the same name.
    """
    common = _common_folder(inputs)
    found: dict[str, Path] = {}
    for given in inputs:
        if not given.exists():
            raise MissingFileError(f"{given} does not exist; give videos, or folders of them")
        paths = [folder / name for folder, names in walk(given) for name in names
                 if Path(name).suffix.lower() in ENDINGS] if given.is_dir() else [given]
        if not paths:
            raise UserError(f"{given} holds no video; these endings count: "
                            f"{', '.join(sorted(ENDINGS))}")
        for path in paths:
            name = Path(os.path.relpath(path, common)).with_suffix("").as_posix()
            if found.setdefault(name, path) != path:
                raise UserError(f"{found[name]} and {path} would both be the clip {name!r}; rename "
                                "one of them")
    check_links(found.values())
    return found


def _common_folder(inputs: Sequence[Path]) -> Path:
    """The folder below which clips are named: that of all inputs."""
    return Path(os.path.commonpath([(path if path.is_dir() else path.parent).absolute()
                                    for path in inputs]))


def _is_split(videos: Mapping[str, Path]) -> bool:
    """Whether all videos are below folders that are the parts of a split.

    Raises:
        UserError: Some are not, although there are parts to train and to test on.
    """
    parts = {_part(name) for name in videos}
    if "" in parts and "train" in parts and len(parts) > 2:
        beside = next(path for name, path in videos.items() if not _part(name))
        folders = " and ".join(sorted(parts - {""}))
        raise UserError(f"{beside} is beside the folders {folders}, which make a split; move it "
                        "into one of them, or do not give it")
    return "" not in parts


def _part(name: str) -> str:
    """The part of a split that a clip such as ``train/jump/a`` belongs to; empty for others."""
    first, *below = Path(name).parts
    part = first.strip().lower()
    part = "val" if part in {"valid", "validation"} else part
    return part if below and part in PARTS else ""


def _label(name: str, is_split: bool) -> str:
    """The folder of a clip; empty for a clip at the top, or at the top of a part of a split."""
    folders = Path(name).parts[is_split : -1]
    return folders[-1] if folders and folders[-1] != ".." else ""
