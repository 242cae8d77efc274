"""JSON of two data sets, NW-UCLA and Kinetics-Skeleton, also used for other clips.

- ``nw_ucla``, as CTR-GCN reads it: ``{"file_name": "a01_s01_e00_v01", "skeletons": (T, 20, 3),
  "label": 1}``, in metres, with the joints of Kinect v1.
- ``kinetics_skeleton``, as ST-GCN reads it: ``{"data": [{"frame_index": 1, "skeleton": [{"pose":
  [x, y, ...], "score": [...]}, ...]}, ...], "label": "yoga", "label_index": 0}``, with x and y
  relative to the frame and OpenPose's 18 joints.

Reference:
    Wang et al.: Cross-view Action Modeling, Learning and Recognition, CVPR 2014. Chen et al.:
    Channel-wise Topology Refinement Graph Convolution for Skeleton-Based Action Recognition,
    arXiv 2107.12213. Yan et al.: Spatial Temporal Graph Convolutional Networks for Skeleton-Based
    Action Recognition, arXiv 1801.07455.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ptl_skel.errors import UserError

from ..core.files import find_clips, read_json, to_numbers, to_whole
from ..core.labels import Row
from ..core.plausibility import check_shares
from ..core.source import Unusable
from .poses import Floats, PoseList, Poses
from .source import PoseSource

_NAME = re.compile(r"a(\d\d)_s(\d\d)_e\d\d_v(\d\d)")
_ACTIONS = {1: "pick up with one hand", 2: "pick up with two hands", 3: "drop trash",
            4: "walk around", 5: "sit down", 6: "stand up", 8: "donning", 9: "doffing",
            11: "throw", 12: "carry"}
_TEST_VIEW = 3


class _JsonSource(PoseSource[Path]):
    """Reads a JSON file, or a folder with one per clip."""

    def find(self) -> Mapping[str, Path | Unusable]:
        """The JSON files."""
        return find_clips(self.root, ".json")

    def paths(self, place: Path) -> Iterable[Path]:
        """The file itself."""
        return (place,)

    def find_labels(self) -> Mapping[str, Row]:
        """The labels in the files; damaged files are reported when they are read."""
        found: dict[str, Row] = {}
        for clip, place in self._clips.items():
            if isinstance(place, Path):
                try:
                    content = read_json(place)
                except Unusable:
                    continue
                if isinstance(content, dict):
                    found[clip] = self._row(clip, content)
        return found

    def _row(self, clip: str, content: Mapping[str, Any]) -> Row:
        label = to_whole(content.get("label"))
        return Row(str(label)) if isinstance(label, str | int) else Row("")


class NwUclaSource(_JsonSource):
    """Reads the JSON of NW-UCLA; its files are split by camera: the protocol ``xview``."""

    tool = "nw_ucla"
    layouts: ClassVar[Mapping[int, str]] = {20: "kinect20"}

    def read_poses(self, place: Path) -> Poses:
        """The person in a file."""
        content = read_json(place)
        if not isinstance(content, dict) or "skeletons" not in content:
            raise Unusable("it has no `skeletons`; is it the JSON of NW-UCLA?")
        keypoints = to_numbers(content["skeletons"], "`skeletons`")
        if keypoints.ndim != 3 or keypoints.shape[2] != 3 or not keypoints.size:
            raise Unusable(f"`skeletons` have the shape {keypoints.shape}, expected (frames, "
                           "joints, 3)")
        frames = np.arange(len(keypoints))
        return Poses(keypoints, np.ones(keypoints.shape[:2]), frames, np.zeros_like(frames), frames)

    def splits(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """The split of the labels; and ``xview``: train on cameras 1 and 2, test on camera 3."""
        parts: dict[str, list[str]] = {}
        for clip in ids:
            name = _NAME.fullmatch(Path(clip).name)
            if name is not None:
                parts.setdefault("test" if int(name[3]) == _TEST_VIEW else "train", []).append(clip)
        return {**super().splits(ids), **({"xview": parts} if len(parts) == 2 else {})}

    def _row(self, clip: str, content: Mapping[str, Any]) -> Row:
        name = _NAME.fullmatch(Path(clip).name)
        if name is None or int(name[1]) not in _ACTIONS:
            return super()._row(clip, content)
        return Row(_ACTIONS[int(name[1])], subject=int(name[2]))


class KineticsSource(_JsonSource):
    """Reads the JSON of Kinetics-Skeleton."""

    tool = "kinetics_skeleton"
    layouts: ClassVar[Mapping[int, str]] = {18: "openpose18"}

    def find(self) -> Mapping[str, Path | Unusable]:
        """The JSON files."""
        if self.frame_size is None:
            raise UserError(f"{self.root} has relative coordinates; give the size of the frames in "
                            "pixels, as --frame_size HEIGHT WIDTH: 256 340 for Kinetics-Skeleton "
                            "itself")
        return super().find()

    def read_poses(self, place: Path) -> Poses:
        """The persons in a file."""
        content = read_json(place)
        data = content.get("data") if isinstance(content, dict) else None
        if not isinstance(data, list):
            raise Unusable("it has no list `data`; is it the JSON of Kinetics-Skeleton?")
        height, width = self.frame_size or (1, 1)
        found, frames = PoseList(), []
        shares: list[Floats] = []
        for entry in data:
            persons = entry.get("skeleton") if isinstance(entry, dict) else None
            number = to_whole(entry.get("frame_index")) if isinstance(entry, dict) else None
            if not isinstance(persons, list) or not isinstance(number, int):
                raise Unusable("an entry of `data` has no `frame_index` or no list `skeleton`")
            frames.append(number)
            for person in persons:
                if not isinstance(person, dict):
                    raise Unusable(f"frame {number} has a person who is not an object")
                pose = to_numbers(person.get("pose"), "`pose`")
                scores = to_numbers(person.get("score"), "`score`")
                if pose.ndim != 1 or pose.size % 2:
                    raise Unusable(f"frame {number} has a `pose` that is not a list x, y, ...")
                shares.append(pose.reshape(-1, 2))
                with np.errstate(over="ignore"):  # infinite values count as missing
                    found.add(number, shares[-1] * (width, height), scores)
        poses = found.finish(frames)
        given = np.concatenate(shares)
        check_shares(given[np.isfinite(given).all(1)])
        return poses
