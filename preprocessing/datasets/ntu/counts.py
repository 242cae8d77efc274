"""Compares the number of samples in a keypoint file of NTU RGB+D with the official number."""

from __future__ import annotations

import csv
from pathlib import Path

from rich.table import Table

from ptl_skel.storage import KeypointFile

from ...core.source import Unusable
from .facts import MISSING_SAMPLES, OFFICIAL_COUNTS
from .protocols import ABSENT, official_splits, parse_name
from .source import NtuSource


def compare(source: NtuSource, file: KeypointFile) -> Table | None:
    """A row for each part of each official protocol, with the reasons for a difference.

    The list of skipped inputs, next to the file, contains each sample whose file was unusable, and
    each that is absent although others of the same performer in the same setup are there.

    Args:
        source: The files; None is returned if they are not NTU RGB+D itself.
        file: The keypoint file made from them.
    """
    if not source.is_official:
        return None
    absent, flawed = _explained(file.path.with_suffix(".skipped.csv"), set(file.ids))
    of_absent, of_flawed = (official_splits(sorted(names), source.edition)
                            for names in (absent, flawed))
    table = Table("protocol", "clips", "official", "difference", title="official counts",
                  title_justify="left")
    for protocol, parts in OFFICIAL_COUNTS[source.edition].items():
        for part, official in parts.items():
            count = file.split(protocol, part).size
            reasons = {"flawed": len(of_flawed[protocol][part]),
                       "not in the input": len(of_absent[protocol][part])}
            reasons["of performers or setups that are not in the input"] = (
                official - count - sum(reasons.values()))
            shown = "; ".join(f"{number:,} {reason}" for reason, number in reasons.items()
                              if number > 0)
            if count > official:
                shown = f"{count - official:,} more than there are"
            table.add_row(f"{protocol} {part}", f"{count:,}", f"{official:,}", shown or "none")
    return table


def _explained(report: Path, stored: set[str]) -> tuple[set[str], set[str]]:
    """Names of samples that are absent, and of those whose file is unusable."""
    absent, flawed = set[str](), set[str]()
    if report.exists():
        with report.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                name = Path(row["input"]).stem
                try:
                    parse_name(name)
                except Unusable:
                    continue
                (absent if row["reason"] == ABSENT else flawed).add(name)
    return absent, flawed - MISSING_SAMPLES - stored
