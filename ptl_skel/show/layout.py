"""A joint layout as a picture, to check its limbs and pairs visually."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ptl_skel.skeletons import SkeletonLayout

SIDES = {"left": "#2f8fe0", "right": "#f07f1f", "middle": "#7a828e"}
_LEGS = ("knee", "ankle", "foot")
_ITERATIONS = 500
_MAX_NAMED = 40  # joints; the names of more would overlap


def draw_layout(layout: SkeletonLayout) -> Figure:
    """Joints with their indices, limbs as lines, and pairs as dotted lines.

    A layout does not define positions, so the lengths of limbs have no meaning: joints are placed
    by the number of limbs between them, with left joints on the right, as for a person facing the
    viewer.
    """
    places = _place(layout)
    side = 8 if layout.num_joints <= _MAX_NAMED else 16
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot(aspect="equal")
    axes.axis("off")
    axes.set_title(f"{layout.name}: {layout.num_joints} joints, {len(layout.limbs)} limbs, "
                   f"{len(layout.pairs)} pairs; blue: left, orange: right, dotted: pairs")
    for links, style in ((layout.pairs, {"color": "#d8dbe0", "linestyle": ":"}),
                         (layout.limbs, {"color": "#3a4352", "linewidth": 2})):
        for link in links:
            axes.plot(*places[list(link)].T, **style, zorder=1)
    axes.scatter(places[:, 0], places[:, 1], c=[SIDES[where] for where in layout.sides], s=60,
                 zorder=2)
    for joint, (x, y) in enumerate(places):
        name = f" {layout.joints[joint]}" if layout.num_joints <= _MAX_NAMED else ""
        axes.annotate(f"{joint}{name}", (x, y), (4, 4), textcoords="offset points", fontsize=7)
    return figure


def _place(layout: SkeletonLayout) -> NDArray[np.float64]:
    """Positions ``(V, 2)`` whose distances are close to the numbers of limbs between the joints.

    By majorisation of the stress; after each step, joints of a pair are opposite each other.

    Reference:
        Gansner, Koren and North: Graph Drawing by Stress Majorization, GD 2004.
    """
    count = layout.num_joints
    wanted = _count_limbs(layout)
    weights = 1 / np.maximum(wanted, 1) ** 2
    np.fill_diagonal(weights, 0)
    laplacian = np.diag(weights.sum(1)) - weights
    inverse = np.linalg.pinv(laplacian)
    places = np.random.default_rng(0).normal(0, 0.1, (count, 2))
    places[:, 0] += [{"left": 1, "right": -1, "middle": 0}[side] for side in layout.sides]
    places[:, 1] -= wanted[0]
    for _ in range(_ITERATIONS):
        places = (places + places[list(layout.mirrored_joints)] * (-1, 1)) / 2 if (
            layout.pairs) else places
        distances = np.linalg.norm(places[:, None] - places, axis=-1)
        ratio = weights * wanted / np.maximum(distances, 1e-9)
        np.fill_diagonal(ratio, 0)
        places = inverse @ ((np.diag(ratio.sum(1)) - ratio) @ places)
    legs = [any(word in name for word in _LEGS) for name in layout.joints]
    if any(legs) and places[legs, 1].mean() > places[:, 1].mean():
        places *= 1, -1  # the feet are below
    return places


def _count_limbs(layout: SkeletonLayout) -> NDArray[np.float64]:
    """Limbs between any two joints, ``(V, V)``; a few more than the maximum if not connected."""
    count = layout.num_joints
    steps = np.full((count, count), np.inf)
    np.fill_diagonal(steps, 0)
    for a, b in layout.limbs:
        steps[a, b] = steps[b, a] = 1
    for middle in range(count):
        steps = np.minimum(steps, steps[:, middle, None] + steps[None, middle])
    return np.where(np.isfinite(steps), steps, 2 + steps[np.isfinite(steps)].max())
