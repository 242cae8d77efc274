"""Plausibility checks of the numbers in a clip, for the clips of all sources.

A clip that is certainly wrong is rejected with a message on how to fix it. A joint that is absurdly
far away, as sensors report lost joints, counts as missing. A clip that is only doubtful is listed
with the repairs. The thresholds do not flag any clip of Penn Action, SBU, NW-UCLA, MSR Action3D or
the synthetic data set.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ptl_skel.errors import UserError
from ptl_skel.storage import MAX_SIDE, Clip, Floats

from .source import Unusable

_FAR = 10  # frame sizes; joints further away are lost
_FAR_3D = 100  # times the median distance from the origin
_CENTRED, _CENTRED_AXIS = 0.25, 0.4  # share of negative values, in both axes and in one;
# coordinates relative to a frame have fewer
_SOME = 0.05  # of the joints
_HALL = 100  # metres
_SHARE = 3  # relative coordinates are in -1 to 1, or a little outside for guessed joints
_MOST = 0.95  # of the joints
_TINY = 30  # px; in a frame of this size pixels could be shares
_BODY, _FEW_JOINTS = 4, 10  # joints of a person, and of a clip; fewer can all lie at an edge
_MOSTLY = 0.8  # of the joints outside; in Penn Action, up to 0.7 of a clip's joints are
_OUTSIDE, _INSIDE = 0.25, 0.02  # joints outside the frame as given, and with its sides swapped
_CROWD, _PAIR = 9, 2  # persons
EXCHANGED = "height and width are exchanged"
"""End of the reason for which such a clip is skipped."""
_BELOW = 0.1  # of 0; interpolated heatmaps can be a little negative
_FAINT = 0.02  # the largest score; with lower scores heatmaps are nearly black
_PERCENT = 100  # some tools give scores, and a few give coordinates, in percent
_MUCH = 3  # times; frames with longer sides are large compared with percentages
_DEPTH, _PIXELS = 1.5, 50  # relative depths, and x and y in metres, are smaller
_ROUGH, _FEW_FRAMES = 12, 8  # times; and minimum frames and joints for a comparison
_EMPTY, _LONG = 0.1, 50  # share of frames that show somebody, in clips with that many frames


def check_axes(persons: int, frames: int) -> None:
    """Checks that persons and frames are not swapped.

    Raises:
        Unusable: There are more persons than frames, and many.
    """
    if persons > max(frames, _CROWD):
        raise Unusable(f"it has {persons} persons in {frames} frames; the axes of an array must be "
                       "(persons, frames, joints, coordinates)")


def check_channels(keypoints: Floats) -> None:
    """Checks that ``(M, T, V, 2)`` are not x, y and score of two persons, ``(3, T, V, 2)``.

    Raises:
        Unusable: The third person has scores instead of coordinates.
    """
    if keypoints.ndim == 4 and len(keypoints) == 3 and keypoints.shape[3] == 2 and (
            keypoints[2].any() and ((keypoints[2] >= 0) & (keypoints[2] <= 1)).all()
            and np.abs(keypoints[:2]).max() > 1):
        raise Unusable("its third person has coordinates from 0 to 1, as scores are: the axes seem "
                       "to be (x y score, frames, joints, persons), as in ST-GCN; they must be "
                       "(persons, frames, joints, coordinates)")


def check_clip(clip: Clip) -> Clip:
    """The clip, with absurdly distant joints as missing.

    Raises:
        Unusable: The coordinates are relative or all 0, the sides of the frame are swapped, the
            axes have another order, or a third coordinate is not in metres.
    """
    if clip.keypoints.ndim != 4 or clip.scores.shape != clip.keypoints.shape[:3]:
        return clip  # rejected for its shape when it is stored
    check_axes(*clip.keypoints.shape[:2])
    present = (clip.scores > 0) & np.isfinite(clip.keypoints).all(-1)
    if not present.any():
        return clip  # rejected, too
    if not clip.keypoints[present].any():
        raise Unusable("all coordinates are 0")
    notes = [clip.repairs] if clip.repairs else []
    marked = _find_marks(clip.keypoints, present, clip.frame_size)
    if marked.any() and not marked[present].all():
        present &= ~marked
        value = clip.keypoints[marked][0, 0]
        notes.append(f"joints at the same number in all axes, as {value:g}, count as missing: "
                     f"{marked.sum()}")
        clip = _without(clip, marked)
    if clip.keypoints.shape[-1] == 3:
        with np.errstate(over="ignore", invalid="ignore"):  # of float16
            distance = np.abs(clip.keypoints).max(-1)
        far = np.isfinite(distance) & (distance > _FAR_3D * np.median(distance[present]))
        if far.any() and far.mean() < 1 - _MOST:
            present &= ~far
            notes.append(f"joints more than {_FAR_3D} times as far away as usual count as missing: "
                         f"{far.sum()}")
            clip = _without(clip, far)
        places = clip.keypoints[present].astype(np.float64)
        check_metres(places)
        if np.median(np.abs(places).max(1)) > _HALL:
            notes.append("doubtful: most joints are more than "
                         f"{_HALL} away, which cannot be metres; are they millimetres, or pixels "
                         "and a score?")
    else:
        height, width = clip.frame_size
        centre = np.array([width, height]) / 2
        with np.errstate(over="ignore", invalid="ignore"):  # of float16
            far = np.isfinite(clip.keypoints).all(-1) & (
                np.abs(clip.keypoints - centre).max(-1) > _FAR * max(clip.frame_size))
        if far[present].mean() > 0.5 and (
                np.abs(clip.keypoints[far].astype(np.float64)).max() < MAX_SIDE):
            raise Unusable(f"most joints are more than {_FAR} frame sizes away from the frame of "
                           f"height {height} and width {width}; give its size in pixels")
        if far.any():  # even with score 0: such numbers would overflow in a network
            present &= ~far
            notes.append(f"joints more than {_FAR} frame sizes away count as missing: {far.sum()}")
            clip = _without(clip, far)
        if _are_percent(clip.keypoints[present], clip.frame_size):
            notes.append("doubtful: all joints lie in 0 to 100; are they percent of the frame?")
        notes += _check_pixels(clip.keypoints, present, clip.frame_size)
    notes += _check_order(clip.keypoints, present)
    persons, frames = present.shape[:2]
    if persons > max(frames, _PAIR):
        notes.append(f"doubtful: it has {persons} persons in {frames} frames; the axes of an array "
                     "must be (persons, frames, joints, coordinates)")
    seen = int(present.any((0, 2)).sum())
    if frames >= _LONG and seen < _EMPTY * frames:
        notes.append(f"doubtful: only {seen} of {frames} frames show somebody")
    return replace(clip, repairs="; ".join(notes))


def _find_marks(keypoints: Floats, present: NDArray[np.bool_], frame_size: tuple[int, int]
                ) -> NDArray[np.bool_]:
    """Which present joints ``(M, T, V)`` have the same number on all axes, as lost joints do.

    In 2D that is 0, a negative number, or one beyond the frame. In 3D the origin is an ordinary
    place of a joint, but not of a whole body.
    """
    first = keypoints[..., 0]
    same: NDArray[np.bool_] = present & (keypoints == first[..., None]).all(-1)
    if keypoints.shape[-1] == 2:
        is_mark = (first <= 0) | (first.astype(np.float64) > max(frame_size))
    else:
        nobody = ~(present & (keypoints != 0).any(-1)).any(-1, keepdims=True)
        is_mark = (first != 0) | nobody
    return np.asarray(same & is_mark)


def _check_order(keypoints: Floats, present: NDArray[np.bool_]) -> list[str]:
    """A doubt if joints differ less from each other than frames do: the axes may be swapped."""
    places = np.where(present[..., None], keypoints, np.nan).astype(np.float64)
    if min(places.shape[1:3]) < _FEW_FRAMES:
        return []
    in_time, in_body = (np.abs(np.diff(places, axis=axis)) for axis in (1, 2))
    if np.isnan(in_time).all() or np.isnan(in_body).all():
        return []
    if np.nanmedian(in_time) <= _ROUGH * np.nanmedian(in_body):
        return []
    return ["doubtful: joints differ more from frame to frame than from one to the next; the axes "
            "must be (persons, frames, joints, coordinates)"]


def _without(clip: Clip, far: NDArray[np.bool_]) -> Clip:
    """The clip with these joints as missing."""
    return replace(clip, scores=np.where(far, 0, clip.scores),
                   keypoints=np.where(far[..., None], 0, clip.keypoints))


def _are_percent(places: Floats, frame_size: tuple[int, int]) -> bool:
    """Whether visible joints ``(N, 2)`` use only the range 0 to 100 of a large frame."""
    if min(frame_size) <= _MUCH * _PERCENT:
        return False
    inside = places[((places >= 0) & (places <= _PERCENT)).all(1)]
    return (len(inside) > max(0, _MOST * len(places))
            and bool((np.ptp(inside, 0) > _PERCENT / 3).any()))


def check_scores(scores: Floats) -> str:
    """A doubt if most scores are above 1, the maximum, or almost 0; else nothing.

    Raises:
        Unusable: They are far above 1, like coordinates, or have both signs.
    """
    visible, negative = scores[scores > 0], scores[scores < -_BELOW]
    if len(negative) > _SOME * scores.size and np.ptp(negative) > 0:  # not a mark such as -1
        raise Unusable(f"{len(negative) / scores.size:.0%} of its scores are negative, down to "
                       f"{negative.min():g}: they look like depths or logits; scale scores to "
                       "0..1, and leave out a depth")
    if visible.size and visible.max() < _FAINT:
        return f"doubtful: all scores are below {_FAINT}; scale them to 0..1"
    if not visible.size or np.median(visible) <= 1 or np.isin(visible, (1, 2)).all():
        return ""  # 1 and 2 are visibility, as in annotations of COCO and YOLO
    if np.median(visible) > _PERCENT:
        raise Unusable(f"its scores are {np.median(visible):g} and the like; if the values are x "
                       "and y without a score, name the layout with --layout")
    return (f"doubtful: most scores are above 1 and count as 1, the largest is {visible.max():g}; "
            "scale them to 0..1, or if they are coordinates, name the layout with --layout")


def doubt_unread(names: Collection[str], wanted: str) -> str:
    """A doubt if values of each joint are not read because of these names."""
    return "" if not names else (
        f"doubtful: values of each joint are left out: {', '.join(sorted(names))}; must they be "
        f"called {wanted}?")


def check_counting(labels: Collection[int], num_classes: int, where: str) -> None:
    """Checks that labels do not count from 1.

    Raises:
        UserError: They reach the number of classes, and none is 0.
    """
    if labels and min(labels) >= 1 and max(labels) == num_classes:
        raise UserError(f"{where} has labels up to {num_classes} for {num_classes} classes: they "
                        "seem to count from 1; subtract 1 from each label")


def check_shares(places: Floats) -> None:
    """Checks visible joints ``(N, 2)`` that should be shares of the frame, from 0 to 1.

    Raises:
        Unusable: They are pixels or percent, or lie around 0.
    """
    if not len(places):
        return
    large, negative = (np.abs(places) > _SHARE).mean(0), (places < 0).mean(0)
    if large.max() > 0.5:
        which = "" if large.min() > 0.5 else f" in {'xy'[large.argmax()]}"
        raise Unusable(f"its coordinates{which} are pixels, not shares of the frame (0 to 1), or "
                       "percent; read pixels with `ptl-skel preprocess tables` or `arrays`")
    if negative.mean() > _CENTRED or negative.max() > _CENTRED_AXIS:
        axis = "" if negative.mean() > _CENTRED else f" {'xy'[negative.argmax()]}"
        share = negative.max() if axis else negative.mean()
        raise Unusable(f"{share:.0%} of its{axis} coordinates are negative: they lie "
                       "around a centre (as world landmarks in metres do), and are not shares of "
                       "the frame (0 to 1)")


def _check_pixels(keypoints: Floats, present: NDArray[np.bool_], frame_size: tuple[int, int]
                  ) -> list[str]:
    """Checks the joints ``(M, T, V, 2)`` that are present, and returns doubts."""
    present = present & keypoints.any(-1)  # many tools mark missing joints with 0, 0
    places = keypoints[present].astype(np.float64)
    if not len(places):
        return []
    near = (np.abs(places) <= _SHARE).all(1).mean()
    if near >= _MOST and max(frame_size) > _TINY:
        raise Unusable(f"its coordinates are relative, not in pixels: {near:.0%} of the joints lie "
                       f"in -{_SHARE} to {_SHARE}; multiply x by the width of the frame and y by "
                       "the height")
    height, width = frame_size
    for axis, side, extent in (("x", "width", width), ("y", "height", height)):
        _check_axis(axis, side, extent, places[:, "xy".index(axis)])
    outside, exchanged = _shares_outside(places, frame_size)
    if outside > _OUTSIDE and exchanged < _INSIDE:
        raise Unusable(f"{outside:.0%} of its joints lie outside the frame of height {height} and "
                       f"width {width}, but would lie inside one of height {width} and width "
                       f"{height}: {EXCHANGED}")
    doubts: list[str] = []
    if max(frame_size) <= _TINY:
        return doubts
    doubts += _doubt_axes(keypoints, present, frame_size)
    if near > _SOME:
        doubts.append(f"doubtful: {near:.0%} of the joints lie in -{_SHARE} to {_SHARE}; are some "
                      "persons or frames relative to the frame?")
    if outside > _MOSTLY:
        doubts.append(f"doubtful: {outside:.0%} of the joints lie outside the frame of height "
                      f"{height} and width {width}; is this its size?")
    return doubts


def _check_axis(axis: str, side: str, extent: int, values: Floats) -> None:
    """Checks one coordinate of visible joints ``(N,)`` in a frame that is `extent` pixels long.

    Raises:
        Unusable: It is the same in all joints, or relative.
    """
    near = (np.abs(values) <= _SHARE).mean()
    if near < _MOST or extent <= _TINY or len(values) < _FEW_JOINTS:
        return
    if not np.ptp(values):
        raise Unusable(f"all its {axis} are {values[0]:g}; it may be a mark of what is missing, or "
                       "the axes of an array are not (persons, frames, joints, coordinates)")
    raise Unusable(f"its {axis} are relative, not in pixels: {near:.0%} of them lie in -{_SHARE} "
                   f"to {_SHARE}; multiply {axis} by the {side} of the frame")


def _doubt_axes(keypoints: Floats, present: NDArray[np.bool_], frame_size: tuple[int, int]
                ) -> list[str]:
    """Doubts about ``(M, T, V, 2)`` where one axis of some joints is relative, or a mark."""
    doubts = []
    bodies = present.sum(-1) >= _BODY  # (M, T)
    lowest = np.where(present[..., None], keypoints, np.inf).min(2)  # (M, T, 2)
    highest = np.where(present[..., None], keypoints, -np.inf).max(2)
    near = (lowest >= -_SHARE) & (highest <= _SHARE) & (highest > lowest)  # not at the very edge
    for i, axis in enumerate("xy"):
        of_axis = near[bodies, i] & ~near[bodies].all(-1)
        if of_axis.size and of_axis.mean() > _SOME:
            doubts.append(f"doubtful: all {axis} of a person lie in -{_SHARE} to {_SHARE} in "
                          f"{of_axis.mean():.0%} of the frames; are they relative to the frame?")
        values, extent = keypoints[present][:, i].astype(np.float64), frame_size[1 - i]
        for beyond, fewest in ((values < 0, _SOME * len(values)),
                               (np.abs(values - extent / 2) > 1.5 * extent, 2)):
            found, counts = np.unique(values[beyond], return_counts=True)
            if counts.size and counts.max() > max(fewest, _MOST * counts.sum()):
                doubts.append(f"doubtful: {axis} is {found[counts.argmax()]:g} in {counts.max()} "
                              f"of {len(values)} joints; if it marks what is missing, write 0, 0 "
                              "and a score of 0 there")
                break
    return doubts


def fits_only_as_given(clip: Clip) -> bool:
    """Whether a clip shows that the sides of its frame are not swapped."""
    places = clip.keypoints[(clip.scores > 0) & np.isfinite(clip.keypoints).all(-1)]
    places = places[places.any(1)].astype(np.float64)
    if not len(places):
        return False
    outside, exchanged = _shares_outside(places, clip.frame_size)
    return outside < _INSIDE and exchanged > _OUTSIDE


def _shares_outside(places: Floats, frame_size: tuple[int, int]) -> tuple[float, float]:
    """Share of joints ``(N, 2)`` outside the frame, and outside one with its sides swapped."""
    outside, exchanged = (float(((places < 0) | (places > size)).any(1).mean())
                          for size in (frame_size[::-1], frame_size))
    return outside, exchanged


def check_metres(places: Floats) -> None:
    """Checks visible joints ``(N, 3)``: those of a body around 0, or in front of a camera, pass.

    Raises:
        Unusable: They are relative, or the third coordinate is a score.
    """
    if not len(places):
        return
    x_and_y, third = places[:, :2], places[:, 2]
    are_shares = (((x_and_y > -0.5) & (x_and_y < 1.5)).mean() >= _MOST
                  and (x_and_y >= 0).mean() >= _MOST and np.ptp(places[:, 1]) < 1)
    are_scores = bool(((third >= 0) & (third <= 1)).all())
    are_scores |= bool(np.isin(third, (0, 1, 2)).all())  # visibility, as in COCO
    if are_scores and (are_shares or np.abs(x_and_y).max() > _PIXELS):
        raise Unusable(f"its third values look like scores (0 to {max(1, third.max()):g}), not "
                       "like metres; give x and y as keypoints, and the scores separately")
    in_pixels = np.median(np.abs(x_and_y).max(1)) > _PIXELS
    if in_pixels and (np.abs(third) < _DEPTH).mean() >= _MOST:
        raise Unusable("its x and y are in pixels, but its third values are not: they look like a "
                       "relative depth; give x and y without the depth")
    if are_shares and (np.abs(third) < _DEPTH).mean() >= _MOST:
        raise Unusable("its coordinates are relative (shares of the frame, and a depth), not in "
                       "metres; read MediaPipe's files with `mediapipe`, or give x and y in pixels "
                       "without the depth")
