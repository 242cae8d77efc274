"""``make bench``: where the time goes, as ratios.

All candidates of a row run in this process, in turn, again and again; figures are medians. The
machine's own limits (filling memory, multiplying matrices) stand beside what is measured.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from ptl_skel.backbones import Conv2Plus1D, Conv3D, VideoResNet
from ptl_skel.backbones.layers import SpatialConv, TemporalConv
from ptl_skel.commands import keep_freed_memory
from ptl_skel.dataset import ClipDataset
from ptl_skel.representations import JointHeatmaps
from ptl_skel.skeletons import LAYOUTS
from ptl_skel.storage import Clip, ClipWriter, Header, KeypointFile
from ptl_skel.transforms import Augmentation, compact_box

CLIPS, FRAMES, JOINTS, SIZE = 8, 32, 17, 56


def medians(*candidates: Callable[[], object], seconds: float) -> list[float]:
    """Median seconds of each candidate, run in turn for about that long altogether."""
    for candidate in candidates:
        candidate()
    times: list[list[float]] = [[] for _ in candidates]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for kept, candidate in zip(times, candidates, strict=True):
            begin = time.perf_counter()
            candidate()
            kept.append(time.perf_counter() - begin)
    return [statistics.median(kept) for kept in times]


def loop_heatmaps(keypoints: np.ndarray, scores: np.ndarray, sigma: float) -> np.ndarray:
    """The plain way, a window at a time in numpy: ``(M, T, V, 2)`` to ``(T, V, H, W)``."""
    persons, frames, joints = scores.shape
    volume = np.zeros((frames, joints, SIZE, SIZE), np.float32)
    for frame in range(frames):
        for joint in range(joints):
            for person in range(persons):
                score = scores[person, frame, joint]
                if score < 1e-3:
                    continue
                x, y = keypoints[person, frame, joint]
                left, right = max(int(x - 3 * sigma), 0), min(int(x + 3 * sigma) + 1, SIZE)
                top, bottom = max(int(y - 3 * sigma), 0), min(int(y + 3 * sigma) + 1, SIZE)
                if left >= right or top >= bottom:
                    continue
                across = np.arange(left, right, dtype=np.float32)
                down = np.arange(top, bottom, dtype=np.float32)[:, None]
                patch = np.exp(((across - x) ** 2 + (down - y) ** 2) / (-2 * sigma**2)) * score
                window = volume[frame, joint, top:bottom, left:right]
                np.maximum(window, patch, out=window)
    return volume


def bench_heatmaps(table: Table, seconds: float) -> None:
    """Joint heatmaps against the plain way and against filling the same memory."""
    render = JointHeatmaps(LAYOUTS["coco17"])
    for persons in (1, 2):
        torch.manual_seed(0)
        keypoints = torch.rand(CLIPS, persons, FRAMES, JOINTS, 2) * SIZE
        scores = torch.rand(CLIPS, persons, FRAMES, JOINTS)
        expected = loop_heatmaps(keypoints[0].numpy(), scores[0].numpy(), 0.6)
        error = np.abs(render(keypoints[:1], scores[:1], (SIZE, SIZE))[0].transpose(0, 1).numpy()
                       - expected).max()
        assert error < 1e-5, error
        plain, ours, fill = medians(
            lambda k=keypoints, s=scores: loop_heatmaps(k[0].numpy(), s[0].numpy(), 0.6),
            lambda k=keypoints, s=scores: render(k, s, (SIZE, SIZE)),
            lambda: torch.zeros(CLIPS, JOINTS, FRAMES, SIZE, SIZE), seconds=seconds)
        table.add_row(f"joint heatmaps, {persons} person(s)",
                      f"{ours / CLIPS * 1e3:.2f} ms a clip",
                      f"{plain / (ours / CLIPS):.1f}x the plain loop; "
                      f"{ours / fill:.2f}x the time of the fill")


def bench_input_path(table: Table, seconds: float) -> None:
    """Reading and sampling a clip, and the whole way to a volume."""
    layout = LAYOUTS["coco17"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.h5"
        random = np.random.default_rng(0)
        header = Header("bench", layout, ("one",), "bench", dtype="float16")
        with ClipWriter(path, header) as writer:
            for i in range(256):
                shape = 2, int(random.integers(40, 150)), JOINTS
                writer.add(str(i), [Clip(str(i), random.random((*shape, 2)) * 500,
                                         random.random(shape), (1080, 1920), 0)])
            writer.finish({})
        render, augment = JointHeatmaps(layout), Augmentation()
        for in_memory in (False, True):
            file = KeypointFile(path, in_memory=in_memory)
            dataset = ClipDataset(file, np.arange(256), FRAMES, seed=0)
            draws = list(range(16))

            def volume(dataset: ClipDataset = dataset, draws: list[int] = draws) -> Tensor:
                batch = dataset.__getitems__(draws)
                box = compact_box(batch["keypoints"], batch["scores"], batch["frame_size"])
                points, scores = augment(batch["keypoints"], batch["scores"], box, (SIZE, SIZE),
                                         layout)
                return render(points, scores, (SIZE, SIZE))

            read, sample, whole = medians(
                lambda file=file: [file.frames(i) for i in range(16)],
                lambda dataset=dataset, draws=draws: dataset.__getitems__(draws), volume,
                seconds=seconds)
            where = "RAM" if in_memory else "file"
            table.add_row(f"read a clip, {where}", f"{read / 16 * 1e6:.0f} us", "")
            table.add_row(f"read, sample, collate, {where}", f"{sample / 16 * 1e6:.0f} us", "")
            table.add_row(f"whole input path, {where}", f"{whole / 16 * 1e3:.2f} ms a clip", "")


class Conv3dSpatial(nn.Module):
    """The same weights as a unit on views, through `torch.nn.functional.conv3d`."""

    def __init__(self, unit: SpatialConv | TemporalConv) -> None:
        super().__init__()
        self.unit = unit

    def forward(self, inputs: Tensor) -> Tensor:
        """Plain Conv3d."""
        unit = self.unit
        return F.conv3d(inputs, unit.weight, None, unit.stride, unit.padding)


def as_conv3d(network: nn.Module) -> nn.Module:
    """The network with every unit on views replaced by plain Conv3d with the same weights."""
    for name, child in network.named_children():
        if isinstance(child, SpatialConv | TemporalConv):
            setattr(network, name, Conv3dSpatial(child))
        else:
            as_conv3d(child)
    return network


def bench_units(table: Table, seconds: float) -> None:
    """A training step of the (2+1)D arms on views against plain Conv3d, and of full 3D."""
    for name, conv, width in (("r2plus1d", Conv2Plus1D, 32),
                              ("reduced", partial(Conv2Plus1D, middle=1.0), 16)):
        def network(conv: Callable[..., nn.Module] = conv, width: int = width) -> nn.Module:
            torch.manual_seed(0)
            widths = [width * 2**stage for stage in range(4)]
            strides = [(1, 1), (2, 2), (2, 2), (2, 2)]
            net = VideoResNet(JOINTS, conv, width, (3, 3), (1, 2), widths, [1] * 4, strides, (3, 3))
            return net.to(memory_format=torch.channels_last_3d)

        on_views, plain, full = network(), as_conv3d(network()), network(Conv3D)
        inputs = torch.rand(4, JOINTS, FRAMES, SIZE, SIZE)
        inputs = inputs.to(memory_format=torch.channels_last_3d)
        difference = (on_views(inputs) - plain(inputs)).abs().max()
        assert difference < 1e-3, difference

        def step(net: nn.Module, inputs: Tensor = inputs) -> None:
            net(inputs).mean().backward()

        views, conv3d, full3d = medians(partial(step, on_views), partial(step, plain),
                                        partial(step, full), seconds=3 * seconds)
        table.add_row(f"{name}: training step on views", f"{views / 4 * 1e3:.1f} ms a clip",
                      f"{conv3d / views:.2f}x as fast as with Conv3d; "
                      f"{full3d / views:.2f}x as fast as full 3D of that width")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each row, about")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as the command line does
    table = Table("what", "time", "ratio", title=f"{options.threads} thread(s)")
    a = torch.rand(1024, 1024)
    rate = 2 * 1024**3 / medians(lambda: a @ a, seconds=options.seconds)[0] / 1e9
    fill = medians(lambda: torch.zeros(CLIPS, JOINTS, FRAMES, SIZE, SIZE),
                   seconds=options.seconds)[0]
    volume = math.prod((CLIPS, JOINTS, FRAMES, SIZE, SIZE)) * 4
    table.add_row("machine: sgemm", f"{rate:.0f} GFLOP/s", "")
    table.add_row("machine: fill of memory", f"{volume / fill / 1e9:.1f} GB/s",
                  f"{fill / CLIPS * 1e3:.2f} ms a clip")
    bench_heatmaps(table, options.seconds)
    bench_input_path(table, options.seconds)
    bench_units(table, options.seconds)
    Console().print(table)


if __name__ == "__main__":
    main()
