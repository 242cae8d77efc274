"""The plots of a report as PNG files, rendered by the installed Chrome or Chromium."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import kaleido
from kaleido.errors import BrowserFailedError, ChromeNotFoundError

from .plots import Plot

NO_BROWSER = ("no pictures: they need a working Chrome or Chromium, on PATH or named by "
              "BROWSER_PATH; report.html has the same plots")


def write_pictures(plots: Sequence[Plot], out: Path) -> bool:
    """Writes ``<name>.png`` for each plot, all in one session of the browser.

    Returns:
        Whether there is a working browser; without one nothing is written.
    """
    # Next to the pictures, since moving a file is atomic only within a file system.
    with tempfile.TemporaryDirectory(dir=out, prefix=".pictures") as folder:
        orders = [{"fig": plot.figure, "path": Path(folder) / f"{plot.name}.png",
                   "opts": {"format": "png", "width": plot.width, "scale": 1.5}} for plot in plots]
        try:
            kaleido.write_fig_from_object_sync(orders, cancel_on_error=True,
                                               kopts={"mathjax": False})
        except (ChromeNotFoundError, BrowserFailedError):
            return False
        for plot in plots:
            (Path(folder) / f"{plot.name}.png").replace(out / f"{plot.name}.png")
    return True
