"""Names of the metrics that a run logs, for those who log them and those who look for them."""

from __future__ import annotations

EVERY_EPOCH: tuple[str, ...] = (
    "train/loss", "train/top1", "val/loss", "val/top1", "val/top5", "val/mean_class")
"""Logged after each epoch; those of ``val`` only where there is a validation part."""
AT_THE_END: tuple[str, ...] = (
    "test/loss", "test/top1", "test/top5", "test/mean_class", "params", "gmacs", "latency_ms")
"""Known once the run is over: the test, and what the network costs."""
