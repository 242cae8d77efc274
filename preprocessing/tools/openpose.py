"""The JSON files of OpenPose (``--write_json``): a file per frame, with the persons in it.

``{"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": [x, y, c, ...]}, ...]}``,
with 25 joints (BODY_25) or 18 (COCO); old versions say ``pose_keypoints``. Hands and faces are
passed over.

Reference:
    Cao et al.: OpenPose: Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields,
    arXiv 1812.08008.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from preprocessing.core.files import numbers, read_json
from preprocessing.tools.frame_files import find_frame_files
from preprocessing.tools.labels import Row
from preprocessing.tools.poses import PoseList, Poses

TAIL = "_keypoints.json"
_MAX_BYTES = 20_000_000  # of a frame; a person takes a few thousand
_KEYS = ("pose_keypoints_2d", "pose_keypoints")


class OpenPoseReader:
    """Reads a folder of OpenPose JSON, of one clip or many.

    Args:
        root: The folder; clips are found and named by `preprocessing.tools.frame_files`.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: There is no such file in it, or two clips would have the same name.
    """

    tool = "openpose"
    usual_layouts: Mapping[int, str] = {18: "openpose18", 25: "body25"}

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files, self.flawed = find_frame_files(root, TAIL)

    @property
    def clips(self) -> list[str]:
        """Names of the clips."""
        return list(self._files)

    @property
    def files(self) -> Iterable[Path]:
        """All files that are read."""
        return (path for files in self._files.values() for _, path in files)

    def labels(self) -> Mapping[str, Row]:
        """Nothing: OpenPose knows no labels."""
        return {}

    def read(self, clip: str) -> Poses:
        """What was found in a clip.

        Raises:
            ValueError: A file is damaged, or there is nobody in any of them.
        """
        files, found = self._files[clip], PoseList()
        for frame, path in files:
            content = read_json(path, _MAX_BYTES)
            people = content.get("people") if isinstance(content, dict) else None
            if not isinstance(people, list):
                raise ValueError(f"{path.name} has no list `people`")
            for person in people:
                values = numbers(_body(person, path.name), f"{_KEYS[0]} in {path.name}")
                if values.ndim != 1 or values.size % 3:
                    raise ValueError(f"{_KEYS[0]} in {path.name} is no list x, y, c, ...")
                if values.size:
                    joints = values.reshape(-1, 3)
                    found.add(frame, joints[:, :2], joints[:, 2], _number(person))
        return found.finish(files.frames.tolist())


def _body(person: Any, name: str) -> Any:
    for key in _KEYS:
        if isinstance(person, dict) and key in person:
            return person[key]
    raise ValueError(f"{name} has a person without {_KEYS[0]}")


def _number(person: Mapping[str, Any]) -> int:
    """The number that ``--tracking`` gives to a person, -1 without it."""
    number = person.get("person_id", -1)
    if isinstance(number, list) and len(number) == 1:
        number = number[0]
    return number if isinstance(number, int) else -1
