"""``make bench`` on a machine with a GPU: one table, each row beside the least it can take.

All candidates of a group run in this process in turn; times are medians by CUDA events. Groups run
in order of importance, each within a limit. ``--device cpu --quick`` tries the code out anywhere.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from fit_rows import end_to_end
from inputs import input_path, rendering
from session import Bench, Group
from steps import against_pyskl, compiled_forms, forms, inference, limits, other_backbones
from table import to_markdown

from ptl_skel.runs.environment import keep_freed_memory

GROUPS = (
    Group("machine", limits, 30),
    Group("training steps", against_pyskl, 120),
    Group("rendering", rendering, 60),
    Group("input path", input_path, 60),
    Group("end to end", end_to_end, 90),
    Group("forms of the step", forms, 60),
    Group("inference", inference, 60),
    Group("other backbones", other_backbones, 90),
    Group("compiled steps", compiled_forms, 180),
)


def main(args: Sequence[str] | None = None) -> int:
    """Measures, writes the JSON file, prints the tables; 1 if a group failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP",
                        help=f"of {', '.join(group.name for group in GROUPS)}; default: all")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true",
                        help="tiny shapes: tries out the code, measures nothing")
    parser.add_argument("--minutes", type=float, default=12.0, help="for all groups; default: 12")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="default: gpu.json")
    options = parser.parse_args(args)
    names = [group.name for group in GROUPS]
    if not set(options.groups) <= set(names):
        parser.error(f"choose from {', '.join(names)}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here; --device cpu --quick tries out the code")
    keep_freed_memory()
    torch.backends.cudnn.benchmark = True  # shapes are fixed
    bench = Bench(options.device, options.out, quick=options.quick)
    chosen = [group for group in GROUPS if not options.groups or group.name in options.groups]
    fine = bench.run(chosen, options.minutes)
    print(to_markdown(bench.report), end="")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
