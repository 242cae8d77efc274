"""The appearance of all plots in a report."""

from __future__ import annotations

import html
from collections.abc import Sequence

import plotly.graph_objects as go

LETTERS = 30
"""Longer names are shortened at an axis; hovering over a mark shows the full name."""
COLOURS = ("#0b62a4", "#d95f02", "#2b8a3e", "#c2255c", "#6741d9", "#8a5a00", "#0c8599", "#5d6875",
           "#e03131", "#74b816")
AXIS = {"gridcolor": "#e3e6ea", "zeroline": False, "automargin": True, "ticks": "",
        "title": {"standoff": 8}}
STYLE = go.layout.Template(layout={
    "font": {"family": "system-ui, 'DejaVu Sans', sans-serif", "size": 12, "color": "#20252c"},
    "title": {"font": {"size": 14}, "x": 0, "xref": "container", "pad": {"l": 12}},
    "colorway": COLOURS, "plot_bgcolor": "#fff", "paper_bgcolor": "#fff", "xaxis": AXIS,
    "yaxis": AXIS, "margin": {"l": 12, "r": 16, "t": 40, "b": 12}, "hoverlabel": {"align": "left"},
    "legend": {"orientation": "h", "yanchor": "top", "y": -0.18, "x": 0}})


def escape(name: str) -> str:
    """A name escaped for Plotly, which shows it literally."""
    return html.escape(name, quote=False)


def new_figure(title: str, height: int) -> go.Figure:
    """An empty figure; `height` in px."""
    return go.Figure(layout={"template": STYLE, "title": {"text": title}, "height": height})


def shorten(name: str) -> str:
    """A name at an axis."""
    return escape(name if len(name) <= LETTERS else f"{name[:LETTERS - 1]}…")


def name_axis(names: Sequence[str]) -> dict[str, object]:
    """An axis of names, which are never interpreted as numbers or dates."""
    return {"type": "category", "labelalias": {escape(name): shorten(name) for name in names
                                               if len(name) > LETTERS}}
