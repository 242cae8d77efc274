"""Where the time of a training goes on a GPU: top kernels and gaps, as text.

For each subject some steps run under `torch.profiler`: the step of `reduced` and of SlowOnly with
inputs at hand, and the step of `reduced` with its inputs made by the data module.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from fit_clock import profiler, synchronize
from inputs import data_module, half
from material import write_file
from session import Bench
from steps import shipped_step
from timing import busy_share, kernel_intervals

Interval = tuple[float, float, str]
NAMED = 90
"""Characters of a kernel's name that are printed."""


def top_kernels(kernels: Sequence[Interval], number: int = 20) -> list[str]:
    """The kernels of most time: its share, how often they ran, their mean duration."""
    times: dict[str, list[float]] = defaultdict(list)
    for start, end, name in kernels:
        times[name].append(end - start)
    whole = sum(map(sum, times.values())) or 1.0
    ordered = sorted(times.items(), key=lambda item: -sum(item[1]))
    return [f"{sum(found) / whole:6.1%} {len(found):5}x {sum(found) / len(found):9.1f} us  "
            f"{name[:NAMED]}" for name, found in ordered[:number]]


def gaps(kernels: Sequence[Interval], number: int = 10) -> list[str]:
    """The longest times in which nothing runs, and what runs before and after."""
    found, until, before = [], None, ""
    for start, end, name in sorted(kernels):
        if until is not None and start > until:
            found.append((start - until, before, name))
        if until is None or end > until:
            until, before = end, name
    found.sort(reverse=True)
    whole = sum(length for length, _, _ in found)
    shown = [f"{length:9.1f} us  after {before[:NAMED // 2]}  before {after[:NAMED // 2]}"
             for length, before, after in found[:number]]
    return [f"{len(found)} gaps, {whole:.0f} us together", *shown]


def profile(name: str, step: Callable[[], object], device: torch.device, steps: int) -> None:
    """Runs some steps, and prints what they spent their time on."""
    for _ in range(3):
        step()
    synchronize(device)
    measured = profiler(device)
    with measured:
        for _ in range(steps):
            step()
        synchronize(device)
    kernels = kernel_intervals(measured)
    print(f"\n== {name}, {steps} steps")
    if not kernels:
        print(measured.key_averages().table(sort_by="self_cpu_time_total", row_limit=10,
                                            max_name_column_width=40))
        return
    span = max(end for _, end, _ in kernels) - kernels[0][0]
    busy = busy_share((start, end) for start, end, _ in kernels)
    print(f"{span / steps / 1e3:.2f} ms a step, GPU busy {busy:.1%}, {len(kernels) // steps} "
          "kernels a step")
    print("\n".join([*top_kernels(kernels), *gaps(kernels)]), flush=True)


def main() -> None:
    """Profiles each subject."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny shapes: tries out the code")
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.device, Path(folder) / "unused.json", quick=options.quick)
        steps = 1 if options.quick else 10
        for name, batch in (("reduced", 256), ("slowonly", 32)):
            step = shipped_step(bench, name, 2 if options.quick else batch)
            profile(f"training step of {name}, batch {len(step.inputs)}", step, bench.device, steps)
            del step
            bench.free()
        step = shipped_step(bench, "reduced", 2 if options.quick else 256)
        file = Path(folder) / "bench.h5"
        write_file(file, 2 * len(step.inputs))
        data = data_module(bench, file, len(step.inputs))
        shipped = data.transfer_batch_to_device(
            next(iter(data.train_dataloader())), bench.device, 0)

        def whole() -> None:
            step.inputs = half(data.on_after_batch_transfer(shipped, 0)["inputs"])
            step()

        profile("training step of reduced with its inputs", whole, bench.device, steps)


if __name__ == "__main__":
    main()
