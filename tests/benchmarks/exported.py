"""What exported networks cost beside PyTorch, without training: time does not depend on weights.

    python tests/benchmarks/exported.py TABLE.md [BACKBONE ...]

Writes shipped backbones (default: reduced and narrow) with random weights as ONNX files in single
precision and in 8 bits, and measures them by ``ptl-skel profile`` on one thread.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ptl_skel.cli.deployable import FORMAT
from ptl_skel.cli.profile import load_backbone
from ptl_skel.cli.profile import main as profile
from ptl_skel.cost.folding import fold_batch_norm
from ptl_skel.deploy.export import Arrays, write_onnx
from ptl_skel.deploy.graph import Recognition, Views
from ptl_skel.deploy.quantize import quantize
from ptl_skel.representations import JointHeatmaps
from ptl_skel.skeletons import get_layout
from ptl_skel.training.module import classifier

LAYOUT = get_layout("coco17")
FRAMES, SIZE, CLASSES = 32, 56, 60


def main(table: Path, names: Sequence[str]) -> None:
    """Writes the files, and the table."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for name in names:
            single, int8 = (Path(folder) / f"{name}{form}.onnx" for form in ("", "-int8"))
            write_untrained(name, single)
            quantize(single, int8, (walk(seed) for seed in range(16)))
            files += [str(single), str(int8)]
        profile([*(f"backbone/{name}.yaml" for name in names), "--threads", "1", "--seconds", "4",
                 "--exported", *files, "--out", str(table)])


def write_untrained(name: str, path: Path) -> None:
    """A backbone with random weights, from keypoints to probabilities, as ONNX file."""
    network = classifier(load_backbone(f"backbone/{name}.yaml", LAYOUT.num_joints), CLASSES).eval()
    network = fold_batch_norm(network, torch.rand(1, LAYOUT.num_joints, FRAMES, SIZE, SIZE))
    graph = Recognition(network, JointHeatmaps(LAYOUT), (SIZE, SIZE), Views(FRAMES)).eval()
    clip = {key: torch.from_numpy(values).repeat_interleave(2, 0)
            for key, values in walk(0).items()}
    inputs = {key: values if key == "frame_size" else values.repeat_interleave(3, 1)
              for key, values in clip.items()}
    metadata = {"format": FORMAT, "class_names": list(map(str, range(CLASSES))),
                "layout": json.loads(LAYOUT.to_json()), "coordinates": 2, "clip_len": FRAMES,
                "num_clips": 1, "size": [SIZE, SIZE]}
    write_onnx(graph, inputs, ["probabilities"],
               {"keypoints": [0, 1], "scores": [0, 1], "frame_size": [0]}, metadata, path)


def walk(seed: int) -> Arrays:
    """A clip of one person whose joints walk at random."""
    random = np.random.default_rng(seed)
    shape = 1, 1, FRAMES, LAYOUT.num_joints, 2
    start = random.uniform(100, 300, (1, 1, 1, *shape[3:]))
    keypoints = start + random.normal(0, 3, shape).cumsum(2)
    return {"keypoints": keypoints.astype(np.float32), "scores": np.ones(shape[:4], np.float32),
            "frame_size": np.array([[480, 640]], np.float32)}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ["reduced", "narrow"])
