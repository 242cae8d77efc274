"""JSON files of COCO, MMPose and Ultralytics: one file per clip, or per frame.

- COCO results, as many tools write them, AlphaPose among them: a list of persons, ``[{"image_id",
  "keypoints": [x, y, score, ...]}, ...]``, with ``file_name`` instead of ``image_id`` as well; or
  the persons of each image, ``{"0.jpg": [...], ...}``, as AlphaPose writes them with tracking. With
  ``--format open`` or ``cmu`` the persons are under ``people`` or ``bodies``.
- COCO annotations: ``{"images": [{"id", "file_name", "height", "width"}, ...], "annotations":
  [{"image_id", "keypoints": [x, y, v, ...]}, ...]}``. A joint is present if v is not 0.
- MMPose's predictions of a video: ``{"meta_info", "instance_info": [{"frame_id", "instances":
  [{"keypoints": [[x, y], ...], "keypoint_scores": [...]}, ...]}, ...]}``, or only that list, or a
  list of persons per frame, also under ``predictions``; with ``[x, y, z]`` for 3D.
- Ultralytics' ``to_json()`` of each frame in a list: ``[[{"keypoints": {"x", "y", "visible"},
  "track_id"}, ...], ...]``, or a list of the strings that it returns.

The number of a frame is ``frame_id``, or a number in ``file_name`` or ``image_id``: the one that
differs from frame to frame. If several do, as in the time of day, the frames are sorted by them.
The number of a person is ``track_id``, or ``idx`` in AlphaPose. A folder with one file per frame,
``000000.json`` and so on, is one clip.

Reference:
    https://cocodataset.org/#format-results
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..core.files import find_clips, read_json, to_numbers, to_whole
from ..core.plausibility import check_metres, doubt_unread
from ..core.source import Unusable
from .frame_files import FrameFiles, find_videos, name_clips
from .image_names import NUMBER, numbers_in_names
from .poses import Floats, PoseList, Poses, choose_persons, split_values
from .source import PoseSource

_MAX_PEEKED = 20  # files that are read to see whether they contain one frame each
# Keys in JSON of other tools, and how to read these.
OTHERS = {
    "skeletons": "the JSON of NW-UCLA, in metres, which `ptl-skel preprocess nw_ucla` reads",
    "data": "the JSON of kinetics-skeleton, in relative coordinates, which `ptl-skel preprocess "
            "kinetics_skeleton` reads",
    "people": "JSON of OpenPose, which `ptl-skel preprocess openpose` reads",
}


class CocoSource(PoseSource[Path | FrameFiles]):
    """Reads such a JSON file, or a folder with one per clip, named after its path there."""

    tool = "coco"

    def find(self) -> Mapping[str, Path | FrameFiles]:
        """The JSON files with one clip each, and the folders with one file per frame."""
        clips = find_clips(self.root, ".json")
        if not self.root.is_dir():
            return clips
        videos = {key: files for key, files in find_videos(self.root, ".json")[0].items()
                  if len(files.frames) > 1 and _are_frames(path for _, path in files)}
        frames = {path for files in videos.values() for _, path in files}
        return {**{clip: path for clip, path in clips.items() if path not in frames},
                **name_clips(self.root, videos)}

    def paths(self, place: Path | FrameFiles) -> Iterable[Path]:
        """The file itself, or those of the frames."""
        return (place,) if isinstance(place, Path) else (path for _, path in place)

    def read_poses(self, place: Path | FrameFiles) -> Poses:
        """The persons in a file, or in the files of the frames."""
        found = PoseList()
        if isinstance(place, FrameFiles):
            names: tuple[str, ...] = ()
            persons: list[tuple[int, Mapping[str, Any]]] = []
            for frame, path in place:
                content = read_json(path)
                names = names or _names_of(content)
                persons += [(frame, person) for person in _dicts(
                    _persons_of_frame(content), "a list of persons")]
            persons, note = _select_persons(persons)
            note = _add_persons(found, persons, self.num_joints, note)
            return found.finish(place.frames.tolist(), joint_names=names, note=note)
        content = read_json(place)
        if isinstance(content, dict) and "annotations" in content:
            return _read_annotations(content, self.num_joints)
        names = _names_of(content)
        content = _unwrap_predictions(_parse_frames(content))
        if isinstance(content, dict):
            content = _persons_by_image(content)
        elif isinstance(content, list) and content and all(isinstance(x, list) for x in content):
            content = [{"frame_id": i, "instances": frame} for i, frame in enumerate(content)]
        entries = _dicts(content, "a list of persons, an `instance_info` or `annotations`")
        if any("instances" in entry for entry in entries):
            frames = _frame_numbers(entries, "frame_id")
            persons = [(number, person) for number, entry in zip(frames, entries, strict=True)
                       for person in _dicts(entry.get("instances"),
                                            "a list of persons, or of `instances`, in each frame")]
        else:
            frames = _frame_numbers(entries, "frame_id", "file_name", "image_id")
            persons = list(zip(frames, entries, strict=True))
        _check_one_video(entries)
        persons, note = _select_persons(persons)
        note = _add_persons(found, persons, self.num_joints, note)
        poses = found.finish(frames, joint_names=names, note=note)
        if poses.keypoints.shape[-1] == 3:
            try:
                check_metres(poses.keypoints[poses.scores > 0])
            except Unusable as error:
                raise Unusable("`keypoints` are 3D, as MMPose's human3d writes them, but do not "
                               f"look like a body in metres ({error}); its predictions in 2D can "
                               "be read instead") from error
        return poses


def _read_annotations(content: Mapping[str, Any], num_joints: int | None) -> Poses:
    images = _dicts(content.get("images"), "a list of `images`")
    annotations = _dicts(content["annotations"], "a list of `annotations`")
    _check_one_video(images)
    frames = dict(zip((repr(to_whole(image.get("id"))) for image in images),
                      _frame_numbers(images, "frame_id", "file_name", "id"), strict=True))
    if len(set(frames.values())) < len(images):
        raise Unusable("two of its `images` have the same number; a file must hold one clip")
    sides = [(to_whole(image.get("height")), to_whole(image.get("width"))) for image in images]
    if (not all(isinstance(side, int | None) for size in sides for side in size)
            or len(set(sides)) > 1):
        raise Unusable("its images have no common `height` and `width`")
    found = PoseList()
    persons = []
    for annotation in annotations:
        image = repr(to_whole(annotation.get("image_id")))
        if image not in frames:
            raise Unusable(f"an annotation is of the image {image}, which is not in `images`")
        if annotation.get("keypoints"):
            persons.append((frames[image], annotation))
    persons, note = _select_persons(persons, _names_of_categories(content))
    note = _add_persons(found, persons, num_joints, note)
    used = {repr(to_whole(annotation.get("category_id"))) for _, annotation in persons}
    height, width = next(iter(sides), (None, None))
    size = None if height is None or width is None else (height, width)
    return found.finish(frames.values(), size, _names_of(content, used), note)


def _check_one_video(entries: Sequence[Mapping[str, Any]]) -> None:
    """Checks that images or persons are not from several videos, if they name their video.

    Raises:
        Unusable: They are from several videos.
    """
    for key in ("video_id", "vid_id", "video", "video_name"):
        videos = sorted({str(entry[key]) for entry in entries if key in entry})
        if len(videos) > 1:
            raise Unusable(f"it has frames of {len(videos)} videos, by `{key}`: {videos[0]}, "
                           f"{videos[1]}; a file must hold one clip")


def _names_of_categories(content: Mapping[str, Any]) -> dict[str, str]:
    """The names of COCO's ``categories``, by the `repr` of their ids."""
    return {repr(to_whole(one.get("id"))): str(one.get("name", ""))
            for one in _categories(content)}


def _categories(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    categories = content.get("categories")
    found = [categories] if isinstance(categories, dict) else categories
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _select_persons(found: Sequence[tuple[int, Mapping[str, Any]]],
                  names: Mapping[str, str] | None = None
                  ) -> tuple[list[tuple[int, Mapping[str, Any]]], str]:
    """The entries that are persons, and a note about the others; see `choose_persons`.

    Args:
        found: Frame and entry.
        names: Names of the categories; without them an entry may have its ``name``.

    Raises:
        Unusable: There are several classes, and none is called person.
    """
    classes, usual = [], {"0", "1"}  # the first class, and the category of persons in COCO
    for _, entry in found:
        number, name = to_whole(entry.get("class")), entry.get("name")
        if not isinstance(number, int) or not isinstance(name, str):  # not of Ultralytics
            number = to_whole(entry.get("category_id", ""))
            name = (names or {}).get(repr(number))
        classes.append(str(name or number))
        if names or number == 0:
            usual.add(classes[-1])
    kept, note = choose_persons(classes, usual)
    return [one for one, is_person in zip(found, kept, strict=True) if is_person], note


def _add_persons(found: PoseList, persons: Sequence[tuple[int, Mapping[str, Any]]],
                 num_joints: int | None, note: str) -> str:
    """Adds persons; returns the note, with a doubt if they seem to have scores that are not read.

    Raises:
        Unusable: A person has no keypoints.
    """
    unread: set[str] = set()
    for frame, person in persons:
        keypoints, scores = _pose(person, num_joints)
        found.add(frame, keypoints, scores, _person_number(person))
        if scores is None:
            unread |= {name for name, value in person.items() if isinstance(value, list)
                       and len(value) == len(keypoints)
                       and all(isinstance(score, float) for score in value)}
    return "; ".join(filter(None, (note, doubt_unread(unread, "keypoint_scores"))))


def _persons_by_image(content: Mapping[str, Any]) -> Any:
    """The list of entries in an object without annotations."""
    if "instance_info" in content:
        return content["instance_info"]
    by_image = {image: _unwrap_persons(found) for image, found in content.items()}
    if all(isinstance(persons, list) and NUMBER.search(image)
           for image, persons in by_image.items()):
        persons = [(image, person) for image, persons in by_image.items() for person in persons]
        if all(isinstance(person, dict) for _, person in persons):
            return [{**person, "image_id": image} for image, person in persons]
    for key, what in OTHERS.items():
        if key in content:
            raise Unusable(f"it is {what}")
    return None


def _parse_frames(content: Any) -> Any:
    """The list of frames if each is a string, as returned by ``to_json()`` of Ultralytics."""
    if not isinstance(content, list) or not content or not all(
            isinstance(frame, str) for frame in content):
        return content
    try:
        return [json.loads(frame) for frame in content]
    except (ValueError, RecursionError) as error:
        raise Unusable(f"it is a list of strings that are not JSON: {error}") from error


def _unwrap_predictions(content: Any) -> Any:
    """The list of persons of each frame, if this is the output of MMPose's inferencer."""
    results = content if isinstance(content, list) else [content]
    if not results or not all(isinstance(one, dict) and isinstance(one.get("predictions"), list)
                              for one in results):
        return content
    return [frame for one in results for frame in one["predictions"]]


def _unwrap_persons(found: Any) -> Any:
    """The list of persons in an image from AlphaPose, in its own format, OpenPose's or CMU's."""
    for key, values in (("people", "pose_keypoints_2d"), ("bodies", "joints")):
        if isinstance(found, dict) and isinstance(found.get(key), list):
            return [{"keypoints": person.get(values)} if isinstance(person, dict) else person
                    for person in found[key]]
    return found


def _persons_of_frame(content: Any) -> Any:
    """The list of persons in a file of one frame."""
    content = _unwrap_persons(_unwrap_predictions(content))
    if isinstance(content, dict) and "instance_info" in content:
        content = content["instance_info"]
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], list):
        content = content[0]
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        return content[0].get("instances", content)
    return content


def _are_frames(paths: Iterable[Path]) -> bool:
    """Whether files contain the persons of one frame each, and not those of a clip."""
    counts = (_count_images(path) for path in islice(paths, _MAX_PEEKED))
    found = list(islice((count for count in counts if count), 3))
    return bool(found) and max(found) == 1


def _count_images(path: Path) -> int:
    """Number of images that the persons in a file are from; 0 if there is nobody."""
    try:
        content = read_json(path)
    except Unusable:  # reported when it is read
        return 0
    persons = _persons_of_frame(content)
    if not isinstance(persons, list) or not all(isinstance(one, dict) for one in persons):
        return 2
    if any("instances" in one for one in persons):
        return 2
    return len({repr(one.get("image_id", one.get("file_name", one.get("frame_id"))))
                for one in persons})


def _names_of(content: Any, used: Collection[str] = ()) -> tuple[str, ...]:
    """The names of the joints in COCO's ``categories`` or in MMPose's ``meta_info``, if any.

    Args:
        content: What the file holds.
        used: Ids of the categories of the persons; other categories are ignored if one is there.

    Raises:
        Unusable: Several categories have different names of joints.
    """
    if not isinstance(content, dict):
        return ()
    meta = content.get("meta_info")
    if "categories" in content:
        categories = _categories(content)
        chosen = [one for one in categories if repr(to_whole(one.get("id"))) in used]
        found = {tuple(map(str, one["keypoints"])) for one in chosen or categories
                 if isinstance(one.get("keypoints"), list) and one["keypoints"]}
        if len(found) > 1:
            raise Unusable("its `categories` name different joints; keep one of them")
        return next(iter(found), ())
    if not isinstance(meta, dict):
        return ()
    names, numbers = meta.get("keypoint_id2name"), meta.get("keypoint_name2id")
    if isinstance(names, list):
        return tuple(map(str, names))
    if not isinstance(names, dict) and isinstance(numbers, dict):
        names = {str(number): name for name, number in numbers.items()}
    if not isinstance(names, dict):
        return ()
    in_order = all(key.isascii() and key.isdecimal() for key in names)
    return tuple(str(names[key]) for key in (sorted(names, key=int) if in_order else names))


def _dicts(value: Any, what: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise Unusable(f"it does not have {what}")
    return value


def _frame_numbers(entries: Sequence[Mapping[str, Any]], *keys: str) -> list[int]:
    """The number of the frame of each entry, by the first key that has a number in all of them."""
    for key in keys:
        values = [to_whole(entry.get(key)) for entry in entries]
        whole = [value for value in values if isinstance(value, int)]
        if len(whole) == len(values):
            return whole
        if not all(isinstance(value, int) or (isinstance(value, str) and NUMBER.search(value))
                   for value in values):
            continue
        found = numbers_in_names([f"{value:d}" if isinstance(value, int) else str(value)
                                   for value in values])
        named = dict[int, Any]()
        for number, value in zip(found, values, strict=True):
            if named.setdefault(number, value) != value:
                raise Unusable(f"{named[number]!r} and {value!r} have the same number; a file must "
                               "hold one clip")
        return found
    raise Unusable(f"there is no number of a frame in {' or '.join(keys)} of each entry")


def _pose(person: Mapping[str, Any], num_joints: int | None) -> tuple[Floats, Floats | None]:
    """Keypoints ``(V, 2)`` and scores ``(V,)``."""
    given, scores = person.get("keypoints"), person.get("keypoint_scores")
    if isinstance(given, dict):  # of Ultralytics
        x, y = (to_numbers(given.get(axis), f"`{axis}` of `keypoints`") for axis in "xy")
        if x.ndim != 1 or x.shape != y.shape:
            raise Unusable("`x` and `y` of `keypoints` are not lists of the same length")
        visible = given.get("visible")
        return np.stack([x, y], -1), None if visible is None else to_numbers(visible, "`visible`")
    keypoints = to_numbers(given, "`keypoints`")
    if scores is None and keypoints.ndim == 1:
        return split_values(keypoints, num_joints)
    if keypoints.ndim == 1 and isinstance(scores, list) and len(scores) and (
            keypoints.size in {2 * len(scores), 3 * len(scores)}):
        keypoints = keypoints.reshape(len(scores), -1)
    if keypoints.ndim != 2 or keypoints.shape[1] not in {2, 3}:
        raise Unusable("`keypoints` are not a list of x, y and score, nor of [x, y] or "
                       "[x, y, score]")
    if scores is not None:
        return keypoints, to_numbers(scores, "`keypoint_scores`")
    return keypoints[:, :2], keypoints[:, 2] if keypoints.shape[1] == 3 else None


def _person_number(person: Mapping[str, Any]) -> int:
    """The number of a person, -1 if there is none."""
    number = person.get("track_id", person.get("idx"))
    while isinstance(number, list) and len(number) == 1:
        number = number[0]
    number = to_whole(number)
    return number if isinstance(number, int) else -1
