"""Names of the metrics that a run logs, for those who log them and those who look for them."""

from __future__ import annotations

LOSS, TOP1, TOP5, MEAN_CLASS = "loss", "top1", "top5", "mean_class"
"""Cross entropy and accuracies in 0..1; logged with the part they are of, e.g. ``val/top1``."""

COST: tuple[str, ...] = ("params", "gmacs", "latency_ms")
"""What the network costs; see `ptl_skel.cost.complexity`."""

EVERY_EPOCH: tuple[str, ...] = (
    f"train/{LOSS}", f"train/{TOP1}",
    *(f"val/{name}" for name in (LOSS, TOP1, TOP5, MEAN_CLASS)))
"""Logged after each epoch; those of ``val`` only where there is a validation part."""

AT_THE_END: tuple[str, ...] = (
    *(f"test/{name}" for name in (LOSS, TOP1, TOP5, MEAN_CLASS)), *COST)
"""Known once the run is over."""
