"""The report as one HTML file with plots that answer to the pointer; it asks for no other file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sweeps.report.study import Study
from sweeps.report.summary import (
    COST_UNITS,
    Summary,
    arm_confusion,
    class_recalls,
    costs_of,
    curves_of,
)
from sweeps.report.tables import Row, p_text

TEMPLATE = Path(__file__).with_name("page.html")
"""Style and script; the script draws what `_data` says."""


def page(study: Study, summaries: Sequence[Summary], rows: Sequence[Row],
         notes: Sequence[str]) -> str:
    """The text of the page; table and notes are those of `sweeps.report.tables`."""
    data = json.dumps(_data(study, summaries, rows, notes), separators=(",", ":"))
    safe = data.replace("<", "\\u003c")  # a name like </script> must not end the script
    return TEMPLATE.read_text(encoding="utf-8").replace("__DATA__", safe)


def _data(study: Study, summaries: Sequence[Summary], rows: Sequence[Row],
          notes: Sequence[str]) -> dict[str, Any]:
    costs = {cost: values for cost in COST_UNITS if (values := costs_of(study.arms, cost))}
    return {
        "title": f"{study.dataset}, {', '.join(study.folds)}",
        "columns": list(rows[0]), "rows": [list(row.values()) for row in rows], "notes": notes,
        "gaps": study.gaps(), "baseline": study.baseline.name if study.baseline else None,
        "costs": {cost: COST_UNITS[cost] for cost in costs}, "classes": study.class_names,
        "arms": [_arm(study, summary, {cost: values[number] for cost, values in costs.items()})
                 for number, summary in enumerate(summaries)],
    }


def _arm(study: Study, summary: Summary, costs: Mapping[str, float]) -> dict[str, Any]:
    arm, difference = summary.arm, summary.difference
    shares = arm_confusion(study, arm)
    return {
        "name": arm.name, "top1": summary.top1.mean, "deviation": summary.top1.deviation,
        "costs": costs, "fronts": summary.fronts,
        "difference": difference and {
            "value": difference.value, "low": difference.low, "high": difference.high,
            "p": p_text(summary.p),
            "covers": "clips and seeds" if difference.covers_seeds else "clips"},
        "recalls": [None if np.isnan(share) else round(share, 4)
                    for share in class_recalls(study, arm).tolist()],
        "confusion": [(row, column, round(float(shares[row, column]), 4))
                      for row, column in np.argwhere(shares > 0).tolist()],
        "curves": {name: {part: np.round(values, 5).tolist() for part, values in curve.items()}
                   for name, curve in curves_of(arm).items()},
        "runs": [{"name": f"{study.cell_name(run.cell)}: top-1 {100 * run.top1:.2f} %",
                  "command": run.command} for run in arm.runs],
    }
