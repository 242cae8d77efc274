"""The pickles of PYSKL and MMAction2: published for many data sets, and made by their users.

``{"split": {name: [frame_dir, ...]}, "annotations": [{frame_dir, label, img_shape, keypoint
(M, T, V, 2|3), keypoint_score (M, T, V), ...}, ...]}``; a bare list of annotations has no splits.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ptl_skel.errors import UserError
from ptl_skel.storage import Clip, Floats, Header

from ..core import pickles
from ..core.files import read_class_names
from ..core.layouts import USUAL_LAYOUTS, choose_layout
from ..core.plausibility import (
    check_channels,
    check_counting,
    check_metres,
    check_scores,
    doubt_unread,
)
from ..core.source import Unusable
from .ntu.protocols import parse_name

# Layouts of such pickles by convention; 15 joints may be SBU or JHMDB.
_USUAL_LAYOUTS = {**USUAL_LAYOUTS, 25: "ntu25"}
_SPLIT_NAME = re.compile(r"([^/\0]*?)_?(train|val|test)_?(\d*)")
_MAX_CLASSES = 100_000
_ABSURD = 10**9  # pixels


class PysklSource:
    """Reads a pickle in the PYSKL schema.

    It stays in memory, so worker processes would not make it faster.

    Args:
        path: The pickle. Only arrays and plain containers are loaded from it. It may be omitted if
            there is one for a part.
        layout: Name or YAML file of the layout; by default inferred from the number of joints.
        classes: Text file with one class name per line; by default labels are their own names.
        train: Pickle whose clips are the part train.
        val: Pickle whose clips are the part val, or test if there is no pickle for that part.
        test: Pickle whose clips are the part test.

    Raises:
        MissingFileError: There is no such file.
        UserError: The file is not such a pickle, contains no keypoints, or a split is ambiguous.
    """

    def __init__(self, path: Path | None = None, *, layout: str | None = None,
                 classes: Path | None = None, train: Path | None = None, val: Path | None = None,
                 test: Path | None = None) -> None:
        inputs = {"": path, "train": train, "val": val, "test": test}
        files = {part: file for part, file in inputs.items() if file is not None}
        if not files:
            raise UserError("there is no input; give a .pkl file, or one for each part as --train, "
                            "--val and --test")
        loaded = {part: _load(file) for part, file in files.items()}
        annotations = [a for found, _ in loaded.values() for a in found]
        self.files = tuple(files.values())
        path, names = self.files[0], " and ".join(map(str, self.files))
        self._annotations = {str(a["frame_dir"]): a for a in annotations}
        if len(self._annotations) < len(annotations):
            name, count = Counter(a["frame_dir"] for a in annotations).most_common(1)[0]
            raise UserError(f"{names} has {count} annotations of the clip {name!r}; "
                            "keep one of them")
        keypoints = [a["keypoint"] for a in annotations if _is_keypoints(a.get("keypoint"))]
        given = next((a["keypoint"] for a in annotations if a.get("keypoint") is not None), None)
        if not keypoints and given is not None:
            shape = f"the shape {given.shape}" if isinstance(given, np.ndarray) else (
                f"the type {type(given).__name__}")
            raise UserError(f"{path} has a `keypoint` of {shape}; it must be an array of numbers "
                            "of the shape (M, T, V, 2), for persons, frames and joints")
        if not keypoints:
            raise UserError(f"{path} lists clips without keypoints, as the list of Kinetics-400 "
                            "does, whose keypoints lie in files of their own; "
                            "give a pickle whose annotations have `keypoint`")
        self._splits = _splits(path, _named_splits(files, loaded))
        for name, parts in self._splits.items():
            clips = list(chain(*parts.values()))
            if clips and self._annotations.keys().isdisjoint(clips):
                raise UserError(f"{names} has a split {name} that names none of its clips: it "
                                f"names {clips[0]!r}, the first clip is "
                                f"{next(iter(self._annotations))!r}")
        # The shape of most annotations; others are skipped when they are stored.
        (joints, coordinates), _ = Counter(k.shape[2:] for k in keypoints).most_common(1)[0]
        if coordinates == 3:  # before the layout is requested
            first = next(k for k in keypoints if k.shape[2:] == (joints, 3))
            try:
                check_metres(first[np.isfinite(first).all(-1)].astype(np.float64))
            except Unusable as error:
                raise UserError(f"{path} has a `keypoint` that cannot be used: {error}") from error
        self._chosen = choose_layout(path, layout, joints, _USUAL_LAYOUTS, (), coordinates)
        self._joints = joints
        self.header = Header(
            dataset=path.stem,
            layout=self._chosen.layout,
            class_names=(_default_class_names(path, annotations) if classes is None
                         else read_class_names(classes)),
            source=f"pyskl {' '.join(file.name for file in self.files)}",
            num_coordinates=coordinates,
            dtype="float16" if all(k.dtype == np.float16 for k in keypoints) else "float32",
        )
        if classes is not None:
            labels = {int(a["label"]) for a in annotations
                      if isinstance(a.get("label"), int | np.integer)}
            check_counting(labels, len(self.header.class_names), str(path))
        self.options: Mapping[str, Any] = {"parts": "/".join(files)}

    def keys(self) -> Sequence[str]:
        """The `frame_dir` of each annotation."""
        return list(self._annotations)

    def read(self, key: str) -> list[Clip]:
        """The clip of one annotation.

        Raises:
            Unusable: It has no keypoints or no frame size, or they have a wrong type.
        """
        annotation = self._annotations[key]
        keypoints = annotation.get("keypoint")
        if not _is_keypoints(keypoints):
            raise Unusable("the annotation has no `keypoint` of shape (M, T, V, 2|3)")
        total = annotation.get("total_frames", keypoints.shape[1])
        if (isinstance(total, int | np.integer) and total != keypoints.shape[1]
                and total in keypoints.shape[:3]):
            raise Unusable(f"its `total_frames` is {total}, but its `keypoint` has the shape "
                           f"{keypoints.shape}; the axes must be (persons, frames, joints, 2)")
        scores = annotation.get("keypoint_score")
        if scores is None:
            scores = _scores(keypoints)
        elif not isinstance(scores, np.ndarray) or scores.dtype.kind not in "biuf":
            raise Unusable("the annotation has a `keypoint_score` that is not an array of numbers")
        check_channels(keypoints)
        unread = {str(name) for name, value in annotation.items() if isinstance(value, np.ndarray)
                  and value.shape == keypoints.shape[:3] and "keypoint_score" not in annotation}
        doubt = doubt_unread(unread, "keypoint_score") or check_scores(scores)
        label = annotation.get("label", -1)
        if not isinstance(label, int | np.integer):
            raise Unusable(f"the annotation has the label {label!r}, which is not an integer")
        if (self._chosen.order is not None and keypoints.shape[2] == self._joints
                and scores.shape == keypoints.shape[:3]):
            keypoints = keypoints[:, :, self._chosen.order]
            scores = scores[:, :, self._chosen.order]
        return [Clip(key, keypoints, scores, self._frame_size(annotation), int(label),
                     *_known_from_name(key), repairs=doubt)]

    def splits(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """``X_train`` and ``X_val`` as parts train and test of X, since PYSKL tests on its val.

        If there is also an ``X_test``, ``X_val`` is the part val.
        """
        return self._splits

    def _frame_size(self, annotation: Mapping[str, Any]) -> tuple[int, int]:
        for name in ("img_shape", "original_shape"):
            size = annotation.get(name)
            if isinstance(size, np.ndarray):
                size = size.tolist()
            if (isinstance(size, list | tuple) and len(size) >= 2
                    and all(isinstance(side, int | float | np.integer | np.floating)
                            and -_ABSURD < side < _ABSURD for side in size[:2])):
                return int(size[0]), int(size[1])
        if self.header.num_coordinates == 3:
            return 1, 1  # metres have no frame
        raise Unusable("the annotation has no `img_shape`")


def _load(path: Path) -> tuple[list[Any], Any]:
    """The annotations in a pickle, and its splits or None."""
    loaded = pickles.load(path)
    content = {"annotations": loaded} if isinstance(loaded, list) else loaded
    if isinstance(content, dict) and "keypoint" in content:
        raise UserError(f"{path} is the annotation of a single clip; put those of all clips in "
                        "a list")
    annotations = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(annotations, list) or not all(
            isinstance(a, dict) and "frame_dir" in a for a in annotations):
        raise UserError(f"{path} has no `annotations` with a `frame_dir` each; "
                        "is it a pickle in the PYSKL schema?")
    for annotation in annotations:
        if not isinstance(annotation["frame_dir"], str):
            kind = type(annotation["frame_dir"]).__name__
            raise UserError(f"{path} has a `frame_dir` of the type {kind}; names of clips must "
                            "be texts, there and in `split`")
    return annotations, content.get("split")


def _named_splits(files: Mapping[str, Path],
                  loaded: Mapping[str, tuple[list[Any], Any]]) -> Any:
    """The splits in the input, and the one formed by the pickles of parts."""
    own = loaded[""][1] if "" in loaded else None
    parts = {part: [a["frame_dir"] for a in found] for part, (found, _) in loaded.items() if part}
    for part in parts:
        if loaded[part][1] is not None:
            raise UserError(f"--{part} {files[part]} has a split of its own; give it as the input, "
                            "without --train, --val and --test")
    if parts and own is not None:
        raise UserError(f"{files['']} has a split of its own; leave out --train, --val and --test")
    return parts or own


def _known_from_name(name: str) -> tuple[int, int, int, int]:
    """Subject, camera, setup and replication, if the clip is named like an NTU sample."""
    try:
        sample = parse_name(name)
    except Unusable:
        return -1, -1, -1, -1
    return sample.subject, sample.camera, sample.setup, sample.replication


def _is_keypoints(value: Any) -> bool:
    return (isinstance(value, np.ndarray) and value.dtype.kind in "iuf" and value.ndim == 4
            and value.shape[3] in {2, 3})


def _scores(keypoints: Floats) -> Floats:
    """1 for each joint with coordinates, 0 if they are not finite or all 0."""
    scores: Floats = np.isfinite(keypoints).all(-1) & (keypoints != 0).any(-1)
    return scores.astype(np.float16)


def _default_class_names(path: Path, annotations: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    labels = [a["label"] for a in annotations if isinstance(a.get("label"), int | np.integer)]
    last = max(labels, default=-1)
    if last >= _MAX_CLASSES:
        raise UserError(f"{path} has the label {last}, which looks damaged; if there are that "
                        "many classes, name them with --classes")
    return tuple(str(label) for label in range(last + 1))


def _splits(path: Path, named: Any) -> dict[str, dict[str, list[str]]]:
    """Protocol -> part -> clips from names like ``xsub_train``, ``train`` and ``test1``."""
    if named is None:
        return {}
    if not isinstance(named, dict) or not all(
            isinstance(clips, list | tuple) or (isinstance(clips, np.ndarray) and clips.ndim == 1)
            for clips in named.values()):
        raise UserError(f"{path} has a `split` that is not a dictionary of lists of clips")
    found: dict[str, dict[str, list[str]]] = {}
    for name, clips in named.items():
        parts = _SPLIT_NAME.fullmatch(str(name))
        if parts is None or set(parts[1]) == {"."}:
            raise UserError(f"{path} has a split {name!r}, but the names of splits must consist of "
                            "letters, digits and the like, and end in train, val or test")
        prefix, part, number = parts.groups()
        protocol = prefix + number if prefix else f"split{number}" if number else "default"
        found.setdefault(protocol, {})[part] = [str(clip) for clip in clips]
    for name, protocol_parts in found.items():
        clip, count = Counter(chain(*protocol_parts.values(), [""])).most_common(1)[0]
        if count > 1:
            raise UserError(f"{path} has the clip {clip!r} twice in the split {name}")
        if "test" not in protocol_parts and "val" in protocol_parts:
            protocol_parts["test"] = protocol_parts.pop("val")
    return found
