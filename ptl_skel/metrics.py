"""Names of the metrics that a run logs, for those who log them and those who look for them."""

from __future__ import annotations

LOSS, TOP1, TOP5, MEAN_CLASS, F1 = "loss", "top1", "top5", "mean_class", "f1"
"""Cross entropy, and in 0..1 accuracies and the macro mean of F1 scores; logged with the part they
are of, e.g. ``val/top1``."""

COST: tuple[str, ...] = ("params", "gmacs", "latency_ms")
"""What the network costs; see `ptl_skel.cost.complexity`."""

EVERY_EPOCH: tuple[str, ...] = (
    f"train/{LOSS}", f"train/{TOP1}",
    *(f"val/{name}" for name in (LOSS, TOP1, TOP5, MEAN_CLASS, F1)))
"""Logged after each epoch; those of ``val`` only where there is a validation part."""

AT_THE_END: tuple[str, ...] = (
    *(f"test/{name}" for name in (LOSS, TOP1, TOP5, MEAN_CLASS, F1)), *COST)
"""Known once the run is over."""
