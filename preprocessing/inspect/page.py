"""A keypoint file on a page: what `inspect.check` found, as HTML with plots.

The page is one file that asks for no other, so it can be sent and kept.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import ArrayLike, NDArray

from preprocessing.inspect.check import Findings, class_counts, parts_of
from ptl_skel.storage import KeypointFile

_COLOURS = {"train": "#0072b2", "val": "#e69f00", "test": "#d55e00"}  # Okabe and Ito's
_PLAIN = "#56789a"
_WIDTH, _ROW, _FRAME = 9.0, 0.17, 1.1  # inches: of a figure; of a bar; around the bars
_DPI, _DENSE = 100, 2  # pixels of the page for an inch; of the picture for one of those
_BINS = 50
_FEW = 4  # so many bars get a width at least
_MAX_NAME = 45  # characters of a class name beside its bar

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222; }}
table {{ border-collapse: collapse; }}
td, th {{ padding: 0.2em 1em 0.2em 0; text-align: left; vertical-align: top;
         border-bottom: 1px solid #ddd; }}
.plot {{ overflow-x: auto; }}  /* on a phone it is pushed aside rather than made too small */
.plot img {{ display: block; width: {width}px; max-width: 100%; min-width: 600px; }}
.many {{ font-family: monospace; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>{title}</h1>
<table>{facts}</table>
{sections}
</body>
</html>
"""


def write_page(path: Path, file: KeypointFile, findings: Findings,
               facts: Mapping[str, str]) -> None:
    """Writes the page.

    Args:
        path: The HTML file, replaced if it is there.
        file: The keypoint file.
        findings: What its frames show.
        facts: What is said first, by name.
    """
    sections = [_section(f"Clips per class, {protocol or 'all'}", _classes(file, protocol))
                for protocol in file.splits or [""]]
    sections += [
        _section("Length of clips", _histogram(
            file.num_frames, "frames", _whole_bins(file.num_frames))),
        _section("Persons in clips", _persons(file)),
        _section("Joints that are missing or out of frame", _joints(file, findings)),
        _section("Share of missing joints in clips", _histogram(
            100 * np.array(findings.missing_shares), "% of the joints of all persons",
            np.linspace(0, 100, _BINS + 1))),
    ]
    sections += [_suspicious(what, clips) for what, clips in findings.suspicious.items()]
    rows = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(fact)}</td></tr>\n"
                   for name, fact in facts.items())
    draft = path.with_name(path.name + ".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft.write_text(_PAGE.format(title=html.escape(file.path.name), facts=rows,
                                  sections="\n".join(sections), width=f"{_WIDTH * _DPI:.0f}"),
                     encoding="utf-8")
    draft.replace(path)


def _section(title: str, figure: Figure) -> str:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=_DPI * _DENSE)
    data = base64.b64encode(picture.getvalue()).decode()
    title = html.escape(title)
    image = f'<img alt="{title}" src="data:image/png;base64,{data}">'
    return f'<h2>{title}</h2>\n<div class="plot" tabindex="0">{image}</div>'


def _suspicious(what: str, clips: Sequence[str]) -> str:
    listed = f'<p class="many">{html.escape(", ".join(clips))}</p>' if clips else ""
    return f"<h2>{html.escape(what.capitalize())}: {len(clips):,}</h2>\n{listed}"


def _axes(height: float, *, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure((_WIDTH, height), layout=ConstrainedLayoutEngine(wspace=0.05))
    axes = figure.subplots(1, columns, squeeze=False, sharey=columns > 1)[0]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def _bars(axes: Axes, names: Sequence[str], values: ArrayLike, **options: Any) -> None:
    """Bars to the right, the first on top."""
    axes.barh(range(len(names)), values, **options)
    axes.set_yticks(range(len(names)), [_short(name) for name in names], fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _short(name: str) -> str:
    # Dollars would be read as formulas.
    name = name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 3] + "..."
    return name.replace("$", r"\$")


def _classes(file: KeypointFile, protocol: str) -> Figure:
    names, counts = class_counts(file, file.label)
    figure, (axes,) = _axes(_ROW * len(names) + _FRAME)
    if not protocol:
        _bars(axes, names, counts, color=_PLAIN)
        axes.set_xlabel("clips")
        return figure
    left = np.zeros(len(names), np.int64)
    for part, positions in parts_of(file, protocol):
        counts = class_counts(file, file.label[positions])[1]
        _bars(axes, names, counts, left=left, color=_COLOURS[part],
              label=f"{part} {positions.size:,}")
        left += counts
    axes.set_xlabel("clips")
    figure.legend(loc="outside upper right", ncols=len(_COLOURS), frameon=False)
    return figure


def _histogram(values: NDArray[Any], unit: str, bins: NDArray[Any]) -> Figure:
    figure, (axes,) = _axes(2.8)
    axes.hist(values, bins.tolist(), color=_PLAIN)
    axes.axvline(float(np.median(values)), color="black", linewidth=1)
    axes.set_title(f"median {np.median(values):.3g}", loc="right", fontsize=10)
    axes.set_xlabel(unit)
    axes.set_ylabel("clips")
    return figure


def _whole_bins(values: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Edges of about `_BINS` bins that hold equally many whole numbers each."""
    first, last = int(values.min()), int(values.max())
    step = (last - first) // _BINS + 1
    return np.arange(first, last + step + 1, step)


def _persons(file: KeypointFile) -> Figure:
    figure, (axes,) = _axes(2.8)
    numbers, counts = np.unique(file.num_persons, return_counts=True)
    axes.bar_label(axes.bar(numbers.astype(str), counts, color=_PLAIN, width=0.5),
                   [f"{count:,}" for count in counts])
    axes.set_xlim(-0.5, max(len(numbers), _FEW) - 0.5)
    axes.set_xlabel("persons")
    axes.set_ylabel("clips")
    return figure


def _joints(file: KeypointFile, findings: Findings) -> Figure:
    joints = file.header.layout.joints
    shown = {"missing": findings.missing_of_joint}
    if file.header.num_coordinates == 2:
        shown["out of frame"] = findings.outside_of_joint
    figure, axes = _axes(_ROW * len(joints) + _FRAME, columns=len(shown))
    observed = findings.joints // len(joints)
    for one, (what, counts) in zip(axes, shown.items(), strict=True):
        _bars(one, joints, 100 * counts / observed, color=_PLAIN)
        one.set_xlabel(f"{what}, % of frames")
    return figure
