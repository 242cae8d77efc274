"""The JSON files of OpenPose (``--write_json``): one file per frame, with the persons in it.

``{"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": [x, y, c, ...]}, ...]}``,
with 25 joints (BODY_25) or 18 (COCO); old versions write ``pose_keypoints``. Hands and faces are
ignored.

Reference:
    Cao et al.: OpenPose: Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields,
    arXiv 1812.08008.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from ..core.files import read_json, to_numbers
from ..core.source import Unusable
from .frame_files import FrameFiles, find_frame_files, find_videos
from .poses import PoseList, Poses, split_values
from .source import PoseSource

TAIL = "_keypoints.json"
_MAX_BYTES = 20_000_000  # of a frame; a person takes a few thousand
_KEYS = ("pose_keypoints_2d", "pose_keypoints")


class OpenPoseSource(PoseSource[FrameFiles]):
    """Reads a folder of OpenPose JSON with one or more clips, named as in `tools.frame_files`."""

    tool = "openpose"
    layouts: ClassVar[Mapping[int, str]] = {18: "openpose18", 25: "body25"}

    def find(self) -> Mapping[str, FrameFiles | Unusable]:
        """The videos in the folder."""
        is_renamed = (self.root.is_dir() and not find_videos(self.root, TAIL)[0]
                      and find_videos(self.root, ".json")[0])  # as some programs do
        return find_frame_files(self.root, ".json" if is_renamed else TAIL)

    def paths(self, place: FrameFiles) -> Iterable[Path]:
        """The files of its frames."""
        return (path for _, path in place)

    def read_poses(self, place: FrameFiles) -> Poses:
        """The persons in the files of a clip."""
        found = PoseList()
        for frame, path in place:
            content = read_json(path, _MAX_BYTES)
            people = content.get("people") if isinstance(content, dict) else None
            if not isinstance(people, list):
                raise Unusable(f"{path.name} has no list `people`")
            for person in people:
                values = to_numbers(_body(person, path.name), f"{_KEYS[0]} in {path.name}")
                if values.size:
                    found.add(frame, *split_values(values, self.num_joints), _number(person))
        return found.finish(place.frames.tolist())


def _body(person: Any, name: str) -> Any:
    for key in _KEYS:
        if isinstance(person, dict) and key in person:
            return person[key]
    raise Unusable(f"{name} has a person without {_KEYS[0]}")


def _number(person: Mapping[str, Any]) -> int:
    """The number that ``--tracking`` assigns to a person, -1 without it."""
    number = person.get("person_id", -1)
    if isinstance(number, list) and len(number) == 1:
        number = number[0]
    return number if isinstance(number, int) else -1
