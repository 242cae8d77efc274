"""``make bench``: where the time goes, as ratios.

All candidates of a row run in this process, in turn, again and again; figures are medians. The
machine's own limits (filling memory, multiplying matrices) are candidates as well. With one thread,
time is CPU time, which other programs disturb less than the time on the wall.

On a machine with a GPU `gpu` measures instead, unless groups are named.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import gpu
import numpy as np
import plain
import torch
from material import (
    BACKBONES,
    COCO,
    FRAMES,
    JOINTS,
    MAPS,
    SIZE,
    as_conv3d,
    clips,
    keypoints,
    load,
    shape_of,
    write_file,
)
from rich.console import Console
from rich.table import Table
from timing import Timer
from torch import Tensor, nn

from ptl_skel.cost.complexity import measure
from ptl_skel.cost.folding import fold_batch_norm
from ptl_skel.data.dataset import ClipDataset, IndexDataset, KeypointBatch, ResidentClips
from ptl_skel.data.transforms import Augmentation, compact_box
from ptl_skel.representations import JointHeatmaps, LimbHeatmaps
from ptl_skel.runs.environment import keep_freed_memory
from ptl_skel.storage import KeypointFile

BATCH, STEP_BATCH = 16, 2


class Bench:
    """Measures, and prints what came out.

    Args:
        threads: CPU threads.
        seconds: How long each group of candidates runs, about.
    """

    def __init__(self, threads: int, seconds: float) -> None:
        torch.set_num_threads(threads)
        clock = time.thread_time if threads == 1 else time.perf_counter
        self.timer = Timer(torch.device("cpu"), seconds, clock)
        self.medians = self.timer.medians
        kind = "CPU time" if threads == 1 else "time on the wall"
        self.table = Table("what", "a clip", "clips/s", "ratio",
                           title=f"{threads} thread(s), {kind}, {JOINTS}x{FRAMES}x{SIZE}x{SIZE}")

    def row(self, what: str, seconds: float, ratio: str = "") -> None:
        """A line of the table, for one clip."""
        shown = f"{seconds * 1e6:.0f} us" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms"
        self.table.add_row(what, shown, f"{1 / seconds:,.1f}", ratio)


def fill() -> Tensor:
    """The memory of a batch of heatmaps, filled with zeros."""
    return torch.zeros(BATCH, JOINTS, FRAMES, SIZE, SIZE)


def machine(bench: Bench) -> None:
    """What the machine can do."""
    zeros, product = bench.medians(fill, Gemm())
    size = math.prod((BATCH, JOINTS, FRAMES, SIZE, SIZE)) * 4
    bench.table.add_row("machine: sgemm", "", "", f"{Gemm.FLOPS / product / 1e9:.0f} GFLOP/s")
    bench.row("machine: fill of memory", zeros / BATCH, f"{size / zeros / 1e9:.1f} GB/s")


class Gemm:
    """A product of two square matrices."""

    SIZE = 1024
    FLOPS = 2 * SIZE**3

    def __init__(self) -> None:
        self.matrix = torch.rand(self.SIZE, self.SIZE)

    def __call__(self) -> Tensor:
        """The product."""
        return self.matrix @ self.matrix


def heatmaps(bench: Bench) -> None:
    """Joints and limbs against the plain way and against filling the same memory."""
    links = COCO.limbs
    size = SIZE, SIZE
    for name, render, loop in (
            ("joints", JointHeatmaps(COCO), partial(plain.joints, size=SIZE)),
            ("limbs", LimbHeatmaps(COCO), partial(plain.limbs, size=SIZE, links=links))):
        for persons in (1, 2):
            places, scores = keypoints(BATCH, persons)
            slow = partial(loop, places[0].numpy(), scores[0].numpy())
            rendered = render(places[:1], scores[:1], size)[0].transpose(0, 1).numpy()
            error = np.abs(rendered - slow()).max()
            assert error < 1e-5, error
            by_loop, ours, zeros = bench.medians(
                slow, partial(render, places, scores, size), fill)
            bench.row(f"{name}, {persons} person(s)", ours / BATCH,
                      f"{by_loop / (ours / BATCH):.1f}x the plain loop; {ours / zeros:.2f}x the "
                      "time of the fill")


def input_path(bench: Bench) -> None:
    """Reading a clip, making a batch of keypoints, and the whole way to what the network reads."""
    draws = list(range(BATCH))
    render, augment = JointHeatmaps(COCO), Augmentation()
    step = training_step(load("reduced"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.h5"
        write_file(path)
        for where in ("file", "RAM", "device"):
            file = KeypointFile(path, in_memory=where == "RAM")
            kind = IndexDataset if where == "device" else ClipDataset
            dataset = kind(file, np.arange(256), FRAMES, seed=0)
            resident = ResidentClips(file, torch.device("cpu"))

            def batch(dataset: ClipDataset = dataset, resident: ResidentClips = resident,
                      where: str = where) -> KeypointBatch:
                fetched = dataset.__getitems__(draws)
                return resident.fetch(fetched, FRAMES, 0) if where == "device" else fetched

            def volume(batch: Callable[[], KeypointBatch] = batch) -> Tensor:
                made = batch()
                places, scores = made["keypoints"], made["scores"]
                box = compact_box(places, scores, made["frame_size"])
                return render(*augment(places, scores, box, (SIZE, SIZE), COCO), (SIZE, SIZE))

            def frames(file: KeypointFile = file) -> None:
                for draw in draws:
                    file.frames(draw)

            if where != "device":
                read, = bench.medians(frames)
                bench.row(f"read, {where}", read / BATCH, "target: 50 us")
            batch_, whole, trained = bench.medians(batch, volume, step)
            bench.row(f"read, sample, collate, {where}", batch_ / BATCH)
            share = (whole / BATCH) / (trained / STEP_BATCH)
            bench.row(f"whole input path, {where}", whole / BATCH,
                      f"{share:.1%} of a training step of `reduced`; target: 2 %")


def training_step(network: nn.Module, shape: Sequence[int] = MAPS) -> Callable[[], None]:
    """Forward and backward of a batch of `STEP_BATCH`."""
    inputs = clips(STEP_BATCH, shape)
    return lambda: network(inputs).mean().backward()


def views(bench: Bench) -> None:
    """Training steps on views and in Conv3d, against the published network in Conv3d."""
    names = "slowonly", "r2plus1d", "reduced"
    networks = [make(load(name)) for name in names for make in (nn.Sequential, as_conv3d)]
    times = bench.medians(*map(training_step, networks), rounds=3)
    for name, on_views, conv3d in zip(names, times[::2], times[1::2], strict=True):
        bench.row(f"training step on views, {name}", on_views / STEP_BATCH,
                  f"{conv3d / on_views:.2f}x as fast as in Conv3d; {times[1] / on_views:.1f}x as "
                  "fast as SlowOnly in Conv3d")


def backbones(bench: Bench, names: Sequence[str]) -> None:
    """Forward pass, batch norms folded, and training step of each."""
    for name in names:
        network, shape = load(name), shape_of(name)
        cost = measure(network, shape, seconds=0)
        one = clips(1, shape)
        folded = fold_batch_norm(network, one)

        def forward(folded: nn.Module = folded, one: Tensor = one) -> None:
            with torch.inference_mode():
                folded(one)

        inference, step, product = bench.medians(
            forward, training_step(network, shape), Gemm(), rounds=3)
        rate = Gemm.FLOPS / product
        for what, seconds, macs in (("inference", inference, cost.gmacs),
                                    ("training step", step / STEP_BATCH, 3 * cost.gmacs)):
            reached = 2e9 * macs / seconds
            bench.row(f"{Path(name).stem}, {what}", seconds,
                      f"{reached / 1e9:.0f} GFLOP/s, {reached / rate:.0%} of sgemm")


def main() -> int:
    """Prints the table; on a machine with a GPU, that of `gpu` where nothing else is asked for."""
    if torch.cuda.is_available() and not sys.argv[1:]:
        return gpu.main([])
    groups: dict[str, Callable[[Bench], None]] = {
        "heatmaps": heatmaps, "input": input_path, "views": views,
        "backbones": lambda bench: backbones(bench, options.backbones)}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", help=f"of {', '.join(groups)}; default: all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each group, about")
    parser.add_argument("--backbones", nargs="+", default=BACKBONES, help="shipped, or YAML files")
    options = parser.parse_args()
    if not groups.keys() >= set(options.what):
        parser.error(f"choose from {', '.join(groups)}")
    keep_freed_memory()  # as the command line does
    bench = Bench(options.threads, options.seconds)
    machine(bench)
    for what in options.what or groups:
        groups[what](bench)
    Console().print(bench.table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
