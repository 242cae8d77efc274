"""A small data set in a keypoint file: enough to drive everything that reads one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ptl_skel.skeletons import LAYOUTS, SkeletonLayout
from ptl_skel.storage import Clip, ClipWriter, Header

CLASSES = ("sideways", "up and down", "around")
SUBJECTS = (3, 5, 8, 13)
TEST_SUBJECT = 13

# What a run on `tiny_clips` needs beside the keypoint file to be over in half a second.
CONFIG: dict[str, Any] = {
    "wandb": "off",
    "trainer": {"accelerator": "cpu", "max_epochs": 2, "enable_progress_bar": False},
    "model": {
        "backbone": {
            "class_path": "ptl_skel.backbones.VideoResNet",
            "init_args": {
                "conv": {"class_path": "ptl_skel.backbones.Conv2Plus1D",
                         "init_args": {"middle": 1.0}},
                "stem_width": 4, "stem_kernel": [1, 3], "stem_stride": [1, 2], "widths": [4, 8],
                "depths": [1, 1], "strides": [[2, 1], [2, 2]], "kernel": [3, 3]}},
        "optimizer": {"class_path": "torch.optim.SGD",
                      "init_args": {"lr": 0.4, "momentum": 0.9, "weight_decay": 0.0003}},
        "lr_batch_size": 16, "warmup": 0.0, "average": 0.0, "dropout": 0.5, "label_smoothing": 0.0},
    "data": {"protocol": "cross", "clip_len": 8, "size": 16, "eval_size": 16, "batch_size": 4,
             "val_fraction": 0.1,
             "augment": {"crop_area": [0.56, 1.0], "crop_aspect": [0.75, 1.3333], "flip": 0.5,
                         "rotation": 0.0, "scale": 0.0, "shift": 0.0}},
}


def tiny_clips(layout: SkeletonLayout = LAYOUTS["penn13"], *, labelled: bool = True,
               subjects: bool = True) -> list[Clip]:
    """24 clips: 3 classes told apart by motion, 4 subjects, 2 replications, 1 or 2 persons."""
    clips = []
    for label in range(len(CLASSES)):
        for subject in SUBJECTS:
            for replication in range(2):
                number = len(clips)
                random = np.random.default_rng(number)
                persons, frames = 1 + number % 2, 7 + 3 * number
                time = np.arange(frames)[:, None] / 4 + random.uniform(0, 6)
                swing = [np.cos(time), np.sin(time)]
                motion = np.stack([swing[0] if label != 1 else 0 * time,
                                   swing[1] if label != 0 else 0 * time], -1)
                body = random.uniform(30, 150, (persons, 1, layout.num_joints, 2))
                keypoints = (body + 40 + 25 * motion).astype(np.float32)
                scores = random.uniform(0.5, 1, keypoints.shape[:3]).astype(np.float32)
                clips.append(Clip(
                    f"{CLASSES[label]} {subject} {replication}", keypoints, scores, (240, 320),
                    label if labelled else -1, subject if subjects else -1,
                    replication=replication))
    return clips


def spatial_clips() -> list[Clip]:
    """The same clips in 3D: metres, three of them in front of a sensor, y up."""
    clips = []
    for clip in tiny_clips():
        x, y = np.moveaxis((clip.keypoints - 120) / 100, -1, 0)
        keypoints = np.stack([x, -y, 3 + 0.2 * np.sin(x + 5 * y)], -1).astype(np.float32)
        clips.append(Clip(clip.id, keypoints, clip.scores, (1, 1), clip.label, clip.subject,
                          replication=clip.replication))
    return clips


def write_clips(path: Path, clips: list[Clip], *, layout: SkeletonLayout = LAYOUTS["penn13"],
                class_names: tuple[str, ...] = CLASSES,
                splits: dict[str, dict[str, list[str]]] | None = None) -> Path:
    """A keypoint file; without `splits`, protocol ``cross`` tests on the last subject."""
    if splits is None:
        test = [clip.id for clip in clips if f" {TEST_SUBJECT} " in clip.id]
        train = [clip.id for clip in clips if clip.id not in test]
        splits = {"cross": {"train": train, "test": test},
                  "own": {"train": train[2:], "val": train[:2], "test": test}}
    coordinates = clips[0].keypoints.shape[-1]
    with ClipWriter(path, Header("tiny", layout, class_names, "tests", coordinates)) as writer:
        for clip in clips:
            writer.add(clip.id, [clip])
        writer.finish(splits)
    return path
