"""Rows of `ptl-skel fit` as a whole, and what they mean for a data set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from material import write_file
from session import Bench

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NTU60_XSUB, PASSES = 40_091, 240
"""Training clips of NTU-60 X-Sub, and how often PYSKL's recipe sees each (10 x 24)."""


def end_to_end(bench: Bench) -> None:
    """Clips per second of the command beside the bare loop in the same process."""
    batch = int(bench.find("training step: reduced")["clips"])
    warm_up, steps = (1, 2) if bench.quick else (20, 60)
    with tempfile.TemporaryDirectory() as folder:
        # As many clips as an epoch of NTU-60 has: then the end of an epoch weighs as much.
        write_file(Path(folder) / "bench.h5", 8 if bench.quick else NTU60_XSUB, 1, (33, 40))
        found = run_fit(bench, Path(folder), batch, warm_up, steps)
    for name in ("bare", "fit"):
        busy = found[f"{name}_busy"]
        bench.row(f"end to end: {name}", found[name], found["clips"], busy_share=busy,
                  note=f"GPU busy {busy:.0%}, by the clock")
    share = found["bare"] / found["fit"]
    hours = PASSES * NTU60_XSUB / (found["clips"] / found["fit"]) / 3600
    bench.fact("end to end: fit of bare", f"{share:.0%}", share_of_bare=share)
    bench.fact("NTU-60 X-Sub, 240 passes", f"{hours:.2f} hours, training only", hours=hours)


def run_fit(bench: Bench, folder: Path, batch: int, warm_up: int, steps: int) -> dict[str, Any]:
    """Runs the command with `FitClock` in it; what that found.

    Raises:
        RuntimeError: The command failed; with the end of its output.
    """
    out = folder / "clock.json"
    clock = {"class_path": "fit_clock.FitClock",
             "init_args": {"out": str(out), "warm_up": warm_up, "steps": steps}}
    path = os.pathsep.join([str(HERE), str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [
        sys.executable, "-m", "ptl_skel", "fit", "--model.backbone", "backbone/reduced.yaml",
        "--data.file", str(folder / "bench.h5"), "--data.protocol", "all",
        "--data.val_fraction", "0", "--data.on_device", "true", "--data.batch_size", str(batch),
        "--data.clip_len", str(bench.frames), "--data.size", str(bench.size),
        "--data.eval_size", str(bench.size), "--trainer.precision", "bf16-mixed",
        "--trainer.accelerator", bench.device.type, "--trainer.max_epochs", "1000",
        "--trainer.callbacks", json.dumps([clock]), "--wandb", "off", "--test_after_fit", "false",
        "--run_dir", str(folder / "run")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False,
                          env={**os.environ, "PYTHONPATH": path})
    if done.returncode or not out.is_file():
        raise RuntimeError(f"`ptl-skel fit` failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found
