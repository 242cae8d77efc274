"""Small inputs of keypoints in several formats, and the command that reads them."""

import csv
import json
import pickle
from pathlib import Path

import numpy as np
from commandline import preprocess_or_check as main

from ptl_skel.skeletons import get_layout

SIZED = ("--frame_size", "480", "640")
RANDOM = np.random.default_rng(0)
COCO = get_layout("coco17").joints
H36M = get_layout("h36m17").joints
IN_PROCESS = {"pyskl", "videopose3d", "ctrgcn"}


def preprocess(capsys, *arguments):
    """Runs a command; its exit code, and its notes on clips, or else its summary or message."""
    capsys.readouterr()
    code = main([*map(str, arguments), "--out", "out.h5",
                 *(() if arguments[0] in IN_PROCESS else ("--workers", "0"))])
    said = capsys.readouterr()
    notes = Path("out.repaired.csv")
    if notes.exists():
        with notes.open() as file:
            return code, "; ".join(row["reason"] for row in csv.DictReader(file))
    return code, " ".join((said.err if code else said.out).replace("│", " ").split())


def walk(joints=17, frames=12, low=100, high=400):
    poses = np.repeat(RANDOM.uniform(low, high, (1, joints, 2)), frames, 0)
    return poses + np.arange(frames)[:, None, None] * (high - low) / 200


def dump(name, poses, label=0, **more):
    """A pickle of clips ``(M, T, V, C)``."""
    Path(name).write_bytes(pickle.dumps([
        {"frame_dir": f"c{i}", "label": label if isinstance(label, int) else label[i],
         "img_shape": (480, 640), "keypoint": keypoints.astype(np.float32), **more}
        for i, keypoints in enumerate(poses)]))
    return name


def write(path, content):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def results(poses, images=None):
    return [{"image_id": images[i] if images else f"{i}.jpg",
             "keypoints": [float(value) for joint in pose for value in (*joint, 0.9)]}
            for i, pose in enumerate(poses)]


def mmpose(poses):
    return [{"frame_id": i, "instances": [{"keypoints": pose.tolist(),
                                           "keypoint_scores": [0.9] * len(pose)}]}
            for i, pose in enumerate(poses)]


def table(poses):
    with open("one.csv", "w", newline="") as file:  # noqa: PTH123  # csv asks for newline
        csv.writer(file).writerows([[f"{axis}{i}" for i in range(poses.shape[1]) for axis in "xy"],
                                    *poses.reshape(len(poses), -1).tolist()])
    return "one.csv"


def arrays(poses, **others):
    np.savez("one.npz", keypoints=poses, **others)
    return "one.npz"
