"""Names of the metrics that a run logs, for the code that logs or reads them."""

from __future__ import annotations

from collections.abc import Mapping

LOSS, TOP1, TOP5, MEAN_CLASS, F1 = "loss", "top1", "top5", "mean_class", "f1"
"""Cross entropy, accuracies and the macro mean of F1 scores, the latter two in 0..1; logged with
the part of the split, e.g. ``val/top1``."""

SHARES = (20, 40, 60, 80, 100)
"""Percentages of a clip after which a live prediction is made."""
SECONDS = (0.5, 1.0, 2.0)
"""Seconds after which a live prediction is made."""

LIVE: Mapping[str, str] = {
    **{f"top1_after_{share}_percent": f"after {share} %" for share in SHARES},
    "live_top1": "mean of the five",
    **{f"top1_after_{seconds:g}_s": f"after {seconds:g} s" for seconds in SECONDS},
    "stream_top1": "in streams", "stream_reached": "actions found", "stream_delay": "delay"}
"""Scores of live recognition, and their names in tables: accuracies after a share of a clip or
after some seconds, and in streams of joined clips, with the frames until the right prediction.
Logged for ``test`` if `data.live_score` is set."""

DELAY = "stream_delay"
"""The only one of them that is a number of frames."""

COST: tuple[str, ...] = ("params", "gmacs", "latency_ms")
"""What the network costs; see `ptl_skel.cost.complexity`."""

EVERY_EPOCH: tuple[str, ...] = (
    f"train/{LOSS}", f"train/{TOP1}",
    *(f"val/{name}" for name in (LOSS, TOP1, TOP5, MEAN_CLASS, F1)))
"""Logged after each epoch; those of ``val`` only if there is a validation part."""

AT_THE_END: tuple[str, ...] = (
    *(f"test/{name}" for name in (LOSS, TOP1, TOP5, MEAN_CLASS, F1)), *COST)
"""Known once the run is over."""
