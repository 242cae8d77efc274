"""Which reader reads what: the keypoints of other tools as a source."""

from __future__ import annotations

from pathlib import Path

from preprocessing.core.files import walk
from preprocessing.tools.arrays import NpzReader
from preprocessing.tools.coco import CocoReader
from preprocessing.tools.openpose import OpenPoseReader
from preprocessing.tools.source import NO_FRAME_SIZE, OwnKeypoints, Reader
from preprocessing.tools.tables import CsvReader
from preprocessing.tools.yolo import YoloReader
from ptl_skel.skeletons import get_layout


def own_keypoints(tool: str, root: Path, *, layout: str | None = None,
                  frame_size: tuple[int, int] | None = None, max_persons: int = 2,
                  labels: Path | None = None, classes: Path | None = None) -> OwnKeypoints:
    """The source of the command of that name.

    Args:
        tool: ``openpose``, ``coco``, ``yolo`` or ``arrays``.
        root: The file or folder to read.
        layout: See `OwnKeypoints`, as for all that follows.
        frame_size: Height and width in pixels.
        max_persons: Persons that are kept.
        labels: CSV file of labels.
        classes: File of class names.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: The input cannot be read, or does not fit the arguments.
    """
    num_joints = None if layout is None else get_layout(layout).num_joints
    return OwnKeypoints(_reader(tool, root, frame_size, num_joints), layout=layout,
                        frame_size=frame_size, max_persons=max_persons, labels=labels,
                        classes=classes)


def _reader(tool: str, root: Path, frame_size: tuple[int, int] | None,
            num_joints: int | None) -> Reader:
    if tool == "openpose":
        return OpenPoseReader(root)
    if tool == "coco":
        return CocoReader(root)
    if tool == "yolo":
        if frame_size is None:
            raise ValueError(NO_FRAME_SIZE.format(root))
        return YoloReader(root, frame_size, num_joints=num_joints)
    if tool == "arrays":
        return CsvReader(root, num_joints=num_joints) if _is_table(root) else NpzReader(root)
    raise ValueError(f"`tool` must be openpose, coco, yolo or arrays, got {tool!r}")


def _is_table(root: Path) -> bool:
    """Whether the input is CSV, not NPZ."""
    if not root.is_dir():
        return root.suffix.lower() == ".csv"
    endings = {Path(name).suffix.lower() for _, names in walk(root) for name in names}
    if endings >= {".csv", ".npz"}:
        raise ValueError(f"{root} holds both .csv and .npz files; keep one kind, and the labels "
                         "elsewhere")
    return ".csv" in endings
