"""`make bench` runs to its end; what it measures is not a test's business."""

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parent / "benchmarks" / "run.py"
KILL = BENCHMARKS.with_name("kill.py")


def test_the_table_has_a_row_of_each_group():
    done = subprocess.run(
        [sys.executable, BENCHMARKS, "heatmaps", "input", "backbones",
         "--backbones", "narrow", "--seconds", "0"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for row in ("machine: sgemm", "limbs, 2 person(s)", "whole input path, device",
                "narrow, training step"):
        assert row in done.stdout


def test_killed_commands_end_as_undisturbed_ones():
    done = subprocess.run([sys.executable, KILL, "preprocess", "--kills", "2"], text=True,
                          capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "as undisturbed" in done.stdout
