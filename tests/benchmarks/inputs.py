"""Rows of the input path: rendering, from keypoints to volumes, alone and beside the step."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from floors import Work
from material import COCO, keypoints, write_file
from session import Bench
from steps import shipped_step
from torch import Tensor

from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.representations import JointHeatmaps, LimbHeatmaps
from ptl_skel.representations.base import has_kernel

TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 4e-3}
"""Of heatmaps in 0..1: golden cases; half a step of bfloat16 below 1 is 2e-3."""
WARM_UP = 2
"""Batches of a loader that are not timed."""


def rendering(bench: Bench) -> None:
    """Joints and limbs by tensor operations and by the kernel, against writing the volume once."""
    batch = bench.batches(256)[0]
    size = bench.size, bench.size
    for persons in (1, 2):
        places, scores = keypoints(batch, persons, bench.frames, bench.size)
        there = places.to(bench.device), scores.to(bench.device)
        for name, make in (("joints", JointHeatmaps(COCO)), ("limbs", LimbHeatmaps(COCO))):
            expected = make.scatter(places[:2], scores[:2], size)
            ways = {"tensors": make.scatter}
            if has_kernel(bench.device):
                ways["kernel"] = make.__call__
            for way, render in ways.items():
                for label, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
                    def draw(render: Callable[..., Tensor] = render, dtype: torch.dtype = dtype,
                             there: tuple[Tensor, Tensor] = there) -> Tensor:
                        return render(*there, size, dtype)
                    error = float((draw()[:2].float().cpu() - expected).abs().max())
                    if not error <= TOLERANCES[dtype]:
                        raise AssertionError(f"{name}, {way}, {label}: off by {error}")
                    seconds, = bench.medians(draw)
                    numbers = expected[0].numel() * batch
                    bench.row(f"rendering: {name}, {persons} person(s), {way}, {label}", seconds,
                              batch, work=Work(0.0, numbers), dtype=label)


class Stage(SimpleNamespace):
    """What a data module asks of a trainer that trains."""

    training, testing, predicting, world_size, global_rank = True, False, False, 1, 0
    precision, current_epoch, state = "bf16-mixed", 0, SimpleNamespace(fn="fit")


def data_module(bench: Bench, file: Path, batch: int, *, on_device: bool = True, workers: int = 0,
                limbs: bool = False) -> KeypointDataModule:
    """A data module that trains, on its own."""
    data = KeypointDataModule(
        file, LimbHeatmaps if limbs else JointHeatmaps, "all", bench.frames, bench.size,
        bench.size, batch, val_fraction=0.0, on_device=on_device, num_workers=workers)
    data.trainer = cast(Any, Stage())
    return data


def input_path(bench: Bench) -> None:
    """Fetch, sample, augment and render: alone, beside the step, and on a stream of its own."""
    batch = int(bench.find("training step: reduced")["clips"])
    step = shipped_step(bench, "reduced", batch)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bench.h5"
        write_file(file, 16 if bench.quick else 2048)
        for name in ("joints", "limbs"):
            data = data_module(bench, file, batch, limbs=name == "limbs")
            shipped = data.transfer_batch_to_device(
                next(iter(data.train_dataloader())), bench.device, 0)

            def fetch(data: KeypointDataModule = data, shipped: Any = shipped) -> object:
                assert data.resident is not None
                return data.resident.fetch(shipped, bench.frames, 0)

            def whole(data: KeypointDataModule = data, shipped: Any = shipped) -> Tensor:
                made = data.on_after_batch_transfer(shipped, 0)
                inputs: Tensor = made["inputs"]
                return inputs

            def both(whole: Callable[[], Tensor] = whole) -> None:
                step.inputs = half(whole())
                step()

            ahead = Ahead(bench.device)

            def overlapped(whole: Callable[[], Tensor] = whole, ahead: Ahead = ahead) -> None:
                step.inputs = half(ahead.next(whole))
                step()

            whole()  # puts the file on the device
            if name == "limbs":
                seconds, = bench.medians(whole)
                bench.row("input path: limbs", seconds, batch)
                continue
            step.inputs = half(whole())
            times = dict(zip(("fetch", "whole", "step", "both", "overlapped"), bench.medians(
                fetch, whole, step, both, overlapped), strict=True))
            bench.row("input path: read and sample", times["fetch"], batch)
            share = times["whole"] / times["step"]
            bench.row("input path: whole", times["whole"], batch, share_of_step=share,
                      note=f"{share:.1%} of the step of reduced beside it")
            bench.row("step of reduced, inputs at hand", times["step"], batch)
            bench.row("step of reduced with its inputs", times["both"], batch)
            bench.row("step of reduced, inputs on a side stream", times["overlapped"], batch)
        loaders(bench, file, batch)


def half(inputs: Tensor) -> Tensor:
    """In bfloat16, as mixed precision computes."""
    return inputs.to(torch.bfloat16)


class Ahead:
    """Makes the next inputs on a stream of its own while the device computes."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream() if device.type == "cuda" else None
        self.made: Tensor | None = None

    def next(self, make: Callable[[], Tensor]) -> Tensor:
        """Inputs made during the last call; starts to make the next ones."""
        if self.stream is None:
            return make()
        main = torch.cuda.current_stream()
        main.wait_stream(self.stream)
        ready = self.made
        self.stream.wait_stream(main)
        with torch.cuda.stream(self.stream):
            self.made = make()
        if ready is None:
            return self.next(make)
        ready.record_stream(main)
        return ready


def loaders(bench: Bench, file: Path, batch: int) -> None:
    """What arrives on the device from a loader, with and without workers, by the clock."""
    for on_device, workers in ((True, 0), (False, 0)) if bench.quick else (
            (True, 0), (False, 0), (False, 8)):
        data = data_module(bench, file, batch, on_device=on_device, workers=workers)
        batches = endless(data, bench.device)
        for _ in range(WARM_UP):
            next(batches)
        number = 2 if bench.quick else 16
        synchronize(bench.device)
        begin = time.perf_counter()
        for _ in range(number):
            next(batches)
        synchronize(bench.device)
        seconds = (time.perf_counter() - begin) / number
        where = "device" if on_device else f"loader, {workers} workers"
        bench.row(f"input path through {where}", seconds, batch, note="by the clock")
        del batches


def endless(data: KeypointDataModule, device: torch.device) -> Iterator[Tensor]:
    """Inputs on the device, epoch after epoch."""
    loader = data.train_dataloader()
    while True:
        for batch in loader:
            there = data.transfer_batch_to_device(batch, device, 0)
            yield data.on_after_batch_transfer(there, 0)["inputs"]


def synchronize(device: torch.device) -> None:
    """Waits until the device has done what was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


