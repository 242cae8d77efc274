"""JSON of COCO's kind and of MMPose, a file per clip.

- COCO results, as many tools write them, AlphaPose among them: a list of persons, ``[{"image_id",
  "keypoints": [x, y, score, ...]}, ...]``, with ``file_name`` instead of ``image_id`` as well.
- COCO annotations: ``{"images": [{"id", "file_name", "height", "width"}, ...], "annotations":
  [{"image_id", "keypoints": [x, y, v, ...]}, ...]}``. A joint is present where v is not 0.
- MMPose's predictions of a video: ``{"meta_info", "instance_info": [{"frame_id", "instances":
  [{"keypoints": [[x, y], ...], "keypoint_scores": [...]}, ...]}, ...]}``, or only that list.

The number of a frame is ``frame_id``, or the number at the end of ``file_name`` or ``image_id``;
the number of a person is ``track_id``, or ``idx`` as AlphaPose has it.

Reference:
    https://cocodataset.org/#format-results
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from preprocessing.core.files import find_clips, read_json, to_numbers
from preprocessing.core.source import Unusable
from preprocessing.tools.poses import Floats, PoseList, Poses
from preprocessing.tools.source import PoseSource

_LAST_NUMBER = re.compile(r"(\d{1,18})\D*$", re.ASCII)


class CocoSource(PoseSource[Path]):
    """Reads a JSON file of these kinds, or a folder with one per clip, named by its path there."""

    tool = "coco"

    def find(self) -> Mapping[str, Path]:
        """The JSON files."""
        return find_clips(self.root, ".json")

    def paths(self, place: Path) -> Iterable[Path]:
        """The file itself."""
        return (place,)

    def read_poses(self, place: Path) -> Poses:
        """The persons in a file."""
        content = read_json(place)
        if isinstance(content, dict) and "annotations" in content:
            return _read_annotations(content)
        if isinstance(content, dict):
            content = content.get("instance_info")
        persons = _dicts(content, "a list of persons, an `instance_info` or `annotations`")
        if any("instances" in frame for frame in persons):
            return _read_frames(persons)
        return _read_results(persons)


def _read_annotations(content: Mapping[str, Any]) -> Poses:
    images = _dicts(content.get("images"), "a list of `images`")
    annotations = _dicts(content["annotations"], "a list of `annotations`")
    frames = dict(zip((repr(image.get("id")) for image in images),
                      _frame_numbers(images, "frame_id", "file_name", "id"), strict=True))
    if len(set(frames.values())) < len(images):
        raise Unusable("two of its `images` have the same number; a file must hold one clip")
    sides = [(image.get("height"), image.get("width")) for image in images]
    if (not all(isinstance(side, int | None) for size in sides for side in size)
            or len(set(sides)) > 1):
        raise Unusable("its images have no common `height` and `width`")
    found = PoseList()
    for annotation in annotations:
        image = repr(annotation.get("image_id"))
        if image not in frames:
            raise Unusable(f"an annotation is of the image {image}, which is not in `images`")
        if annotation.get("keypoints"):
            found.add(frames[image], *_pose(annotation), _person(annotation))
    height, width = next(iter(sides), (None, None))
    size = None if height is None or width is None else (height, width)
    return found.finish(frames.values(), size)


def _read_frames(frames: Sequence[Mapping[str, Any]]) -> Poses:
    found = PoseList()
    processed = _frame_numbers(frames, "frame_id")
    for number, frame in zip(processed, frames, strict=True):
        for person in _dicts(frame.get("instances"), "a list of `instances` in each frame"):
            found.add(number, *_pose(person), _person(person))
    return found.finish(processed)


def _read_results(persons: Sequence[Mapping[str, Any]]) -> Poses:
    found = PoseList()
    frames = _frame_numbers(persons, "frame_id", "file_name", "image_id")
    for number, person in zip(frames, persons, strict=True):
        found.add(number, *_pose(person), _person(person))
    return found.finish(frames)


def _dicts(value: Any, what: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise Unusable(f"it does not have {what}")
    return value


def _frame_numbers(entries: Sequence[Mapping[str, Any]], *keys: str) -> list[int]:
    """The number of the frame of each entry, by the first key that has a number in all of them."""
    for key in keys:
        found = [number for entry in entries
                 if (number := _last_number(entry.get(key))) is not None]
        if len(found) < len(entries):
            continue
        named = dict[int, Any]()
        for number, entry in zip(found, entries, strict=True):
            if named.setdefault(number, entry[key]) != entry[key]:
                raise Unusable(f"{named[number]!r} and {entry[key]!r} have the same number; a "
                               "file must hold one clip")
        return found
    raise Unusable(f"there is no number of a frame in {' or '.join(keys)} of each entry")


def _last_number(value: Any) -> int | None:
    """A number, or the last one in the name of an image."""
    if isinstance(value, str):
        last = _LAST_NUMBER.search(Path(value).stem) or _LAST_NUMBER.search(value)
        return int(last[1]) if last else None
    return value if isinstance(value, int) else None


def _pose(person: Mapping[str, Any]) -> tuple[Floats, Floats | None]:
    """Keypoints ``(V, 2)`` and scores ``(V,)``."""
    keypoints = to_numbers(person.get("keypoints"), "`keypoints`")
    scores = person.get("keypoint_scores")
    if keypoints.ndim == 1:
        columns = 3 if scores is None else 2
        if keypoints.size % columns == 0:
            keypoints = keypoints.reshape(-1, columns)
    if keypoints.ndim != 2 or keypoints.shape[1] not in ({2, 3} if scores is None else {2}):
        raise Unusable("`keypoints` are not a list of x, y and score, nor of [x, y] or "
                       "[x, y, score]")
    if scores is not None:
        return keypoints, to_numbers(scores, "`keypoint_scores`")
    return keypoints[:, :2], keypoints[:, 2] if keypoints.shape[1] == 3 else None


def _person(person: Mapping[str, Any]) -> int:
    """The number of a person, -1 where there is none."""
    number = person.get("track_id", person.get("idx"))
    while isinstance(number, list) and len(number) == 1:
        number = number[0]
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    return number if isinstance(number, int) else -1
