"""A callback that measures `ptl-skel fit` from inside, beside the bare loop of the same parts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from timing import busy_share, kernel_intervals


class FitClock(Callback):
    """Times some steps of the trainer, then as many of a bare loop, and ends the training.

    Args:
        out: JSON file with seconds of a step of each, clips of a batch, and busy shares.
        warm_up: Steps that are not timed.
        steps: Steps that are timed.
    """

    def __init__(self, out: str, warm_up: int, steps: int) -> None:
        self.out = Path(out)
        self.warm_up = warm_up
        self.steps = steps
        self.started = 0.0
        self.found: dict[str, Any] = {}
        self.profiler: torch.profiler.profile | None = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any,
                           batch: Any, batch_idx: int) -> None:
        """Reads the clock after the first and the last step, then profiles some more."""
        step = trainer.global_step
        first, last = self.warm_up, self.warm_up + self.steps
        if step in {first, last}:
            synchronize(pl_module.device)
            now = time.perf_counter()
            if step == first:
                self.started = now
                return
            self.found |= {"fit": (now - self.started) / self.steps,
                           "clips": len(batch["label"])}
            self.profiler = profiler(pl_module.device)
            self.profiler.start()
        elif step >= last + min(10, self.steps):
            assert self.profiler is not None
            synchronize(pl_module.device)
            self.profiler.stop()
            self.found["fit_busy"] = busy(self.profiler)
            trainer.should_stop = True
            trainer.limit_val_batches = 0

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Times the bare loop, and writes what was found."""
        batches = endless_batches(trainer, pl_module.device)

        def step() -> None:
            bare_step(trainer, pl_module, next(batches))

        self.found["bare"] = timed(step, self.warm_up, self.steps, pl_module.device)
        measured = profiler(pl_module.device)
        with measured:
            for _ in range(min(10, self.steps)):
                step()
            synchronize(pl_module.device)
        self.found["bare_busy"] = busy(measured)
        self.out.write_text(json.dumps(self.found), encoding="utf-8")


def endless_batches(trainer: Trainer, device: torch.device) -> Iterator[Any]:
    """What the network reads, made as the trainer makes it."""
    # Lightning sets it without declaring it.
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    loader = data.train_dataloader()
    while True:
        for batch in loader:
            yield data.on_after_batch_transfer(
                data.transfer_batch_to_device(batch, device, 0), 0)


def bare_step(trainer: Trainer, module: Any, batch: Any) -> None:
    """Forward, loss, backward, clipping, optimiser: nothing of Lightning's loops."""
    optimizer = trainer.optimizers[0]
    optimizer.zero_grad()
    with trainer.precision_plugin.forward_context():
        loss = module.losses(module.classifier(batch["inputs"]), batch["label"]).mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), 40)
    optimizer.step()


def timed(step: Callable[[], None], warm_up: int, steps: int, device: torch.device) -> float:
    """Mean seconds of a step by the clock."""
    for _ in range(warm_up):
        step()
    synchronize(device)
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    synchronize(device)
    return (time.perf_counter() - begin) / steps


def profiler(device: torch.device) -> torch.profiler.profile:
    """A profiler of what runs on the GPU; of the CPU where there is none."""
    kind = torch.profiler.ProfilerActivity
    return torch.profiler.profile(activities=[kind.CUDA if device.type == "cuda" else kind.CPU])


def busy(profiler: torch.profiler.profile) -> float:
    """Share of the time in which the GPU works."""
    return busy_share((start, end) for start, end, _ in kernel_intervals(profiler))


def synchronize(device: torch.device) -> None:
    """Waits until the device has done what was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
