"""The results of a session as tables: ``python tests/benchmarks/table.py gpu.json`` for the docs.

One Markdown table of rows, one of the machine's limits, one of the targets.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Report = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """What is to be reached.

    Attributes:
        what: In words.
        goal: In words.
        read: The number from the rows by key.
        reached: Whether that number is enough.
        shown: How the number is printed.
    """

    what: str
    goal: str
    read: Callable[[dict[str, Any]], float]
    reached: Callable[[float], bool]
    shown: str = "{:.0%}"


TARGETS = (
    Target("`reduced` against SlowOnly as PYSKL runs it, clips/s of training", "at least 20x",
           lambda rows: rows["training step: reduced"]["ratio"], lambda x: x >= 20, "{:.1f}x"),
    Target("SlowOnly in our form against PYSKL's", "at least 3x",
           lambda rows: rows["training step: slowonly"]["ratio"], lambda x: x >= 3, "{:.1f}x"),
    Target("input path, share of the step of `reduced`", "at most 5 %",
           lambda rows: rows["input path: whole"]["share_of_step"], lambda x: x <= 0.05,
           "{:.1%}"),
    Target("rendering, share of the bandwidth floor", "at least 40 %",
           lambda rows: rows["rendering: joints, 2 person(s), kernel, bf16"]["share"],
           lambda x: x >= 0.4),
    Target("`ptl-skel fit` against the bare loop", "at least 85 %",
           lambda rows: rows["end to end: fit of bare"]["share_of_bare"], lambda x: x >= 0.85),
    Target("step of `reduced`, share of its floor", "at least 35 %",
           lambda rows: rows["training step: reduced"]["share"], lambda x: x >= 0.35),
    Target("step of `r2plus1d`, share of its floor", "at least 35 %",
           lambda rows: rows["training step, alone: r2plus1d"]["share"], lambda x: x >= 0.35),
    Target("240 passes of NTU-60 X-Sub with `reduced`", "at most 1 hour",
           lambda rows: rows["NTU-60 X-Sub, 240 passes"]["hours"], lambda x: x <= 1,
           "{:.2f} hours"),
)


def to_markdown(report: Report) -> str:
    """All of a session."""
    kind = " (a try-out with tiny shapes: its figures mean nothing)" if report["quick"] else ""
    shape = "x".join(map(str, report["input"]))
    lines = [f"{report['card']}, torch {report['torch']}, CUDA {report['cuda']}, commit "
             f"{report['commit']}, {report['started'][:10]}, maps of {shape}{kind}", ""]
    return "\n".join([*lines, *targets_table(report), "", *rows_table(report["rows"]), "",
                      *groups_table(report["groups"])]) + "\n"


def targets_table(report: Report) -> list[str]:
    """What was to be reached, and whether it was."""
    rows = {row["key"]: row for row in report["rows"]}
    cells = []
    for target in TARGETS:
        try:
            found = target.read(rows)
        except KeyError:
            cells.append((target.what, target.goal, "not measured", ""))
            continue
        reached = "yes" if target.reached(found) else "no"
        cells.append((target.what, target.goal, target.shown.format(found),
                      "" if report["quick"] else reached))
    return table(("target", "goal", "measured", "reached"), cells)


def rows_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Times of a batch beside their floors."""
    cells = []
    for row in rows:
        if "seconds" not in row:
            cells.append((row["key"], "", "", "", "", "", row["note"]))
            continue
        floor = duration(row["floor_seconds"]) if "floor_seconds" in row else ""
        share = f"{row['share']:.0%} ({row['floor']})" if "share" in row else ""
        memory = f"{row['gigabytes']:.1f} GB at most" if row.get("gigabytes") else ""
        note = ", ".join(part for part in (row["note"], memory) if part)
        cells.append((row["key"], str(row["clips"]), duration(row["seconds"]),
                      f"{row['clips_per_second']:,.0f}", floor, share, note))
    return table(("what", "batch", "time", "clips/s", "floor", "share of it", "note"), cells)


def groups_table(groups: dict[str, dict[str, Any]]) -> list[str]:
    """How each group of rows ended."""
    return table(("group", "status", "seconds"), [
        (name, group["status"], str(group.get("took", ""))) for name, group in groups.items()])


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return ["| " + " | ".join(cells) + " |"
            for cells in (header, ["---"] * len(header), *rows)]


def duration(seconds: float) -> str:
    """With a unit."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} us"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="JSON file of a session")
    print(to_markdown(json.loads(parser.parse_args().report.read_text(encoding="utf-8"))), end="")


if __name__ == "__main__":
    main()
