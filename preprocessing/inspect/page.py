"""The findings of `inspect.check` about a keypoint file, as HTML with interactive plots.

The page is a single self-contained file, which includes plotly.js.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from ptl_skel.atomic import write_text
from ptl_skel.errors import UserError
from ptl_skel.storage import KeypointFile

from .check import Findings, class_counts, parts_of

_COLOURS = {"train": "#0072b2", "val": "#e69f00", "test": "#d55e00"}  # Okabe and Ito's
_SIDES = {"left": "#0072b2", "right": "#d55e00", "middle": "#444444"}
_PLAIN = "#56789a"
_BAR, _FRAME = 18, 110  # px: height of a bar, and of everything around the bars
# No dragging, and few buttons: on a phone one can scroll, and the legend is not covered.
_CONFIG = {"responsive": True, "displaylogo": False, "displayModeBar": True,
           "modeBarButtons": [["zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]]}
_MAX_NAME = 30  # characters of a class name next to its bar; hovering shows the full name

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
         border-bottom: 1px solid #ddd; overflow-wrap: anywhere; }}
th {{ min-width: 6em; }}
svg[role=img] {{ width: 49%; min-width: 20em; height: auto; }}
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
               facts: Mapping[str, str], first: Mapping[str, str] | None = None) -> None:
    """Writes the page.

    Args:
        path: The HTML file, replaced if it exists.
        file: The keypoint file.
        findings: Statistics of its frames.
        facts: Facts at the top, by name.
        first: HTML of sections before the plots, by title.

    Raises:
        UserError: The page cannot be written.
    """
    joints = file.header.layout.joints
    frames = findings.joints // len(joints) / 100
    outside = {"outside": findings.outside_of_joint / frames}
    figures = {f"Clips per class, {protocol or 'all'}": _classes(file, protocol)
               for protocol in file.splits or [""]}
    figures |= {
        "Some clips: left joints are blue, right ones are orange": _skeletons(file),
        "Length of clips": _histogram(file.num_frames, "frames"),
        "Persons in clips": _persons(file),
        "Joints that are missing or outside the frame": _bars(
            joints, {"missing": findings.missing_of_joint / frames,
                     **(outside if file.header.num_coordinates == 2 else {})}, "% of frames"),
        "Share of missing joints in clips": _histogram(
            100 * np.array(findings.missing_shares), "% of the joints of all persons"),
    }
    sections = [f"<h2>{html.escape(title)}</h2>\n{text}" for title, text in (first or {}).items()]
    sections += [f"<h2>{html.escape(title)}</h2>\n" + figure.to_html(
                     full_html=False, include_plotlyjs=number == 0, config=_CONFIG)
                 for number, (title, figure) in enumerate(figures.items())]
    sections += [_suspicious(what, clips) for what, clips in findings.suspicious.items()]
    rows = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(fact)}</td></tr>\n"
                   for name, fact in facts.items())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, _PAGE.format(title=html.escape(file.path.name), facts=rows,
                                      sections="\n".join(sections)))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def _skeletons(file: KeypointFile) -> go.Figure:
    """Four clips, each in the frame with most joints: a wrong layout or axis is easy to see."""
    positions = np.unique(np.linspace(0, len(file) - 1, 4).astype(int)).tolist()
    layout = file.header.layout
    colours = np.array([_SIDES[side] for side in layout.sides])
    names = np.array([html.escape(joint, quote=False) for joint in layout.joints])
    figure = make_subplots(2, 2, subplot_titles=[html.escape(file.ids[i], quote=False)
                                                 for i in positions])
    for number, clip in enumerate(map(file.clip, positions)):
        place = {"row": 1 + number // 2, "col": 1 + number % 2}
        frame = int((clip.scores > 0).sum((0, 2)).argmax())
        for joints, scores in zip(clip.keypoints[:, frame], clip.scores[:, frame], strict=True):
            seen = scores > 0
            limbs = [end for a, b in layout.limbs if seen[a] and seen[b]
                     for end in (joints[a, :2].tolist(), joints[b, :2].tolist(), (None, None))]
            figure.add_scatter(**dict(zip("xy", zip(*limbs, strict=True), strict=False)), **place,
                               mode="lines", line_color="#999999", hoverinfo="skip")
            figure.add_scatter(x=joints[seen, 0], y=joints[seen, 1], text=names[seen], **place,
                               mode="markers", marker_color=colours[seen], hoverinfo="text")
        height, width = clip.frame_size
        is_2d = file.header.num_coordinates == 2  # metres have no frame, and y points upwards
        figure.update_xaxes(range=[0, width] if is_2d else None, constrain="domain", **place)
        figure.update_yaxes(range=[height, 0] if is_2d else None, **place,
                            scaleanchor=f"x{number + 1}", constrain="domain")
    return figure.update_layout(_figure([], "").layout, height=560, margin_t=60, showlegend=False)


def _suspicious(what: str, clips: Sequence[str]) -> str:
    listed = f'<p class="many">{html.escape(", ".join(clips))}</p>' if clips else ""
    return f"<h2>{html.escape(what.capitalize())}: {len(clips):,}</h2>\n{listed}"


def _figure(bars: Sequence[Any], x: str, y: str = "", height: int = 300) -> go.Figure:
    return go.Figure(bars, {
        "xaxis": {"title": x}, "yaxis": {"title": y, "automargin": True}, "height": height,
        "margin": {"l": 10, "r": 10, "t": 30, "b": 50}, "template": "simple_white",
        "showlegend": len(bars) > 1, "bargap": 0.1, "dragmode": False,
        "legend": {"orientation": "h", "y": 1, "yanchor": "bottom", "traceorder": "normal"}})


def _bars(names: Sequence[str], values: Mapping[str, NDArray[Any]], unit: str,
          stack: bool = False) -> go.Figure:
    """Bars to the right, the first name on top, for each kind of value."""
    whole = [html.escape(name, quote=False) for name in names]  # plotly reads them as HTML
    short = [html.escape(name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 3] + "...",
                         quote=False) for name in names]
    figure = _figure(
        [go.Bar(x=of_kind, y=list(range(len(names))), name=kind, orientation="h", customdata=whole,
                marker_color=_COLOURS.get(kind, _PLAIN if number == 0 else _COLOURS["test"]),
                hovertemplate=f"%{{customdata}}: %{{x:.4~g}} {unit}<extra>{kind}</extra>")
         for number, (kind, of_kind) in enumerate(values.items())],
        unit, height=_FRAME + _BAR * len(names) * (1 if stack else len(values)))
    figure.update_layout(barmode="stack" if stack else "group")
    figure.update_yaxes(autorange="reversed", tickvals=list(range(len(names))), ticktext=short)
    return figure


def _classes(file: KeypointFile, protocol: str) -> go.Figure:
    parts = parts_of(file, protocol) if protocol else [("all", np.arange(len(file)))]
    counts = {part: class_counts(file, file.label[positions])[1] for part, positions in parts}
    return _bars(class_counts(file, file.label)[0], counts, "clips", stack=True)


def _histogram(values: NDArray[Any], unit: str) -> go.Figure:
    figure = _figure([go.Histogram(x=values, nbinsx=50, marker_color=_PLAIN)], unit, "clips")
    median = float(np.median(values))
    figure.add_vline(median, line_width=1, line_color="black",
                     annotation_text=f"median {median:.3g}")
    return figure


def _persons(file: KeypointFile) -> go.Figure:
    numbers, counts = np.unique(file.num_persons, return_counts=True)
    figure = _figure([go.Bar(x=numbers.astype(str), y=counts, text=counts, marker_color=_PLAIN,
                             width=min(0.8, 0.2 * len(counts)))],
                     "persons", "clips")
    figure.update_xaxes(type="category")
    return figure
