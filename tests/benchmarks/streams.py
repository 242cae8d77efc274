"""What a new frame costs: the window computed anew, the step form, the frame form; ONNX Runtime.

    python tests/benchmarks/streams.py [--backbone reduced] [--size 56]

CPU time of one thread, the median of calls in turn in one process, from keypoints of 17 joints to
probabilities. The window is recomputed at each new frame; the step form takes as many frames at a
time as the strides of the network skip; the frame form takes one.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from ptl_skel.backbones import Conv2Plus1D, VideoResNet
from ptl_skel.configs import CONFIGS
from ptl_skel.cost.folding import fold_batch_norm
from ptl_skel.deploy.export import open_session, write_onnx
from ptl_skel.deploy.graph import Recognition, Views
from ptl_skel.deploy.streaming import StreamFromKeypoints, StreamNetwork
from ptl_skel.representations import JointHeatmaps
from ptl_skel.skeletons import get_layout
from ptl_skel.training.module import classifier

FRAMES = 32
"""Of a window."""
LAYOUT = "coco17"
TARGETS = {"step": 20, "frame": 8}
"""How many times less than the window a frame has to cost."""


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="reduced", choices=("reduced", "narrow"))
    parser.add_argument("--size", type=int, default=56, help="of the maps, pixels")
    parser.add_argument("--calls", type=int, default=200, help="of each form")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        calls = make_calls(options.backbone, options.size, Path(folder))
        costs = {name: cost / frames for (name, (_, frames)), cost in
                 zip(calls.items(), measure([call for call, _ in calls.values()], options.calls),
                     strict=True)}
    print(f"{options.backbone}, {options.size} pixels, CPU ms a new frame, one thread, median of "
          f"{options.calls}")
    for name, cost in costs.items():
        ratio = costs["window"] / cost
        wanted = f", wanted {TARGETS[name]}" if name in TARGETS else ""
        print(f"  {name:7}{cost:7.3f} ms{1000 / cost:9.0f} FPS   1 / {ratio:.1f}{wanted}")


def make_calls(backbone: str, size: int, folder: Path
               ) -> dict[str, tuple[Callable[[], Any], int]]:
    """For each form what runs it once, and the new frames it takes."""
    layout = get_layout(LAYOUT)
    network = causal_network(backbone, layout.num_joints)
    representation = JointHeatmaps(layout)
    shape = layout.num_joints, size, size
    folded = fold_batch_norm(network, torch.rand(1, layout.num_joints, FRAMES, size, size))
    window = Recognition(folded, representation, (size, size), Views(FRAMES)).eval()
    calls = {"window": (make_call(
        window, [300 * torch.rand(2, 3, FRAMES, layout.num_joints, 2),
                 torch.rand(2, 3, FRAMES, layout.num_joints), torch.tensor([[480.0, 640]] * 2)],
        folder / "window.onnx"), 1)}
    for name in TARGETS:
        stream = StreamNetwork(network, shape, every_frame=name == "frame", memory=32)
        graph = StreamFromKeypoints(stream, representation, (size, size)).eval()
        joints = 2, 3, stream.chunk, layout.num_joints
        calls[name] = (make_call(graph, [torch.rand(*joints, 2), torch.rand(joints),
                                         *stream.select(stream.start(2))],
                                 folder / f"{name}.onnx"), stream.chunk)
    return calls


def causal_network(backbone: str, joints: int) -> torch.nn.Sequential:
    """A shipped backbone in its causal form, with statistics that are not those of a fresh one."""
    arguments = yaml.safe_load((CONFIGS / f"backbone/{backbone}.yaml").read_text())["init_args"]
    middle = arguments.pop("conv")["init_args"]["middle"]
    network = classifier(VideoResNet(
        joints, partial(Conv2Plus1D, middle=middle, causal=True), **arguments), 60)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):  # which may have no statistics, says torch
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return network.eval()


def make_call(graph: torch.nn.Module, example: list[torch.Tensor], path: Path
              ) -> Callable[[], Any]:
    """Runs the exported graph on one person."""
    inputs = {f"input{number}": each for number, each in enumerate(example)}
    dynamic = {name: [0, 1] if number < 2 else [0] for number, name in enumerate(inputs)}
    outputs = ["probabilities"]
    if isinstance(graph, StreamFromKeypoints):
        outputs += [f"output{number}" for number in range(len(graph.stream.start(1)))]
    write_onnx(graph, inputs, outputs, dynamic, {}, path)
    session = open_session(path)
    feed = {name: each[:1].numpy() for name, each in inputs.items()}
    feed |= {name: np.ascontiguousarray(feed[name][:, :1]) for name in ("input0", "input1")}
    return lambda: session.run(None, feed)


def measure(calls: list[Callable[[], Any]], times: int) -> list[float]:
    """Median CPU time of each call in milliseconds; the calls take turns."""
    found: list[list[float]] = [[] for _ in calls]
    for turn in range(times + 5):
        for place, call in enumerate(calls):
            begun = time.process_time()
            call()
            if turn >= 5:  # the first ones warm up
                found[place].append(1000 * (time.process_time() - begun))
    return [statistics.median(each) for each in found]


if __name__ == "__main__":
    main()
