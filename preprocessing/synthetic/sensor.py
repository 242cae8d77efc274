"""Simulates a depth sensor that records bodies, and writes ``.skeleton`` files.

Reference:
    Kinect v2: focal length and image sizes of its colour and depth cameras.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ptl_skel.skeletons import LAYOUTS

from .body import Floats

NUM_JOINTS = 25
_COLOUR, _DEPTH = (1081.4, 960.0, 540.0), (366.0, 256.0, 212.0)  # focal length and centre, px
_TREMBLE, _GUESS = 0.008, 0.05  # metres: standard deviation of a tracked and of an inferred joint
_FIRST_ID = 72057594037927936  # 2^56, as in the sensor: neighbours are equal as float64
_TRACKED, _INFERRED, _LOST = 2, 1, 0

# Share of clips with each kind of flaw.
_LEAVES, _CHANGES_ID, _GHOST = 0.12, 0.15, 0.2

_JOINTS = LAYOUTS["ntu25"].joints
_LIMBS = [[i for i, joint in enumerate(_JOINTS) if joint.startswith(side)
           and joint.removeprefix(side) in parts]
          for side in ("left_", "right_")
          for parts in (("elbow", "wrist", "hand", "hand_tip", "thumb"),
                        ("wrist", "hand", "hand_tip", "thumb"), ("knee", "ankle", "foot"))]
_SPINE = _JOINTS.index("spine_shoulders")


@dataclass(frozen=True)
class Camera:
    """A sensor that looks horizontally at x = z = 0.

    Args:
        angle: Its direction, radians; at 0 it is on the z axis.
        distance: Metres.
        height: Metres above the floor.
    """

    angle: float
    distance: float
    height: float

    def view(self, places: Floats) -> Floats:
        """Positions ``(..., 3)`` in the room in camera coordinates: right, up, away; metres."""
        x, y, z = np.moveaxis(places, -1, 0)
        sine, cosine = np.sin(self.angle), np.cos(self.angle)
        return np.stack((x * cosine - z * sine, y - self.height,
                         self.distance - x * sine - z * cosine), -1)


@dataclass(frozen=True)
class Sighting:
    """A body with one ID, while the sensor sees it.

    Args:
        id: Its ID.
        frames: The frames, ``(F,)``.
        xyz: Its joints in camera coordinates, ``(F, 25, 3)`` metres.
        states: Their tracking states, ``(F, 25)``.
        no_pixels: Joints for which no pixels are found, ``(F, 25)``.
    """

    id: int
    frames: NDArray[np.int64]
    xyz: Floats
    states: NDArray[np.int64]
    no_pixels: NDArray[np.bool_]


@dataclass(frozen=True)
class Recording:
    """A clip as the sensor saw it.

    Args:
        num_frames: Number of frames.
        sightings: The bodies, persons or not.
    """

    num_frames: int
    sightings: list[Sighting]


def record(bodies: list[Floats], camera: Camera, rng: np.random.Generator) -> Recording:
    """The camera's recording of bodies ``(T, 25, 3)`` in the room.

    The files have the same flaws as those of NTU RGB+D, each in a part of the clips.
    """
    num_frames = len(bodies[0])
    ids = iter(_FIRST_ID + rng.integers(1000, 10_000) + np.arange(10))
    # Frames in which nobody is seen: at the start, at the end or in the middle.
    present = np.ones(num_frames, bool)
    if rng.uniform() < _LEAVES:
        start = rng.choice((0, num_frames // 2, num_frames - 3))
        present[start : start + rng.integers(1, 4)] = False
    sightings = []
    for body in bodies:
        xyz, states, no_pixels = _track(camera.view(body), rng)
        cuts = [0, num_frames]
        if rng.uniform() < _CHANGES_ID:
            cuts.insert(1, int(rng.integers(12, num_frames - 12)))
        for first, end in pairwise(cuts):
            frames = first + np.flatnonzero(present[first:end])
            sightings.append(Sighting(int(next(ids)), frames, xyz[frames], states[frames],
                                      no_pixels[frames]))
    if rng.uniform() < _GHOST:
        sightings.append(_furniture(int(next(ids)), num_frames, rng))
    return Recording(num_frames, sightings)


def _track(xyz: Floats, rng: np.random.Generator) -> tuple[
        Floats, NDArray[np.int64], NDArray[np.bool_]]:
    """Joints ``(T, 25, 3)`` as tracked, their states, and where pixels are missing."""
    states = np.full(xyz.shape[:2], _TRACKED)
    no_pixels = np.zeros(xyz.shape[:2], bool)
    # Behind the trunk the sensor has to guess.
    offset = xyz - xyz[:, _SPINE, None]
    is_behind = (offset[..., 2] > 0.12) & (np.abs(offset[..., 0]) < 0.12) & (offset[..., 1] < 0)
    states[is_behind & (rng.uniform(size=states.shape) < 0.7)] = _INFERRED
    error = rng.normal(0, _TREMBLE, xyz.shape)
    for _ in range(rng.poisson(1.5)):  # now and then it loses a limb for a while
        limb = np.array(_LIMBS[rng.integers(len(_LIMBS))])
        first = int(rng.integers(len(xyz)))
        end = min(first + int(rng.integers(3, 12)), len(xyz))
        when = np.ix_(np.arange(first, end), limb)
        states[when] = _INFERRED if rng.uniform() < 0.7 else _LOST
        error[when] += rng.normal(0, _GUESS, (len(limb), 3))
        no_pixels[when] = rng.uniform() < 0.3
    error += (states != _TRACKED)[..., None] * rng.normal(0, _GUESS, xyz.shape)
    seen = xyz + error
    lost = states == _LOST
    seen[lost] = rng.normal((0, 0, 3), 1, (int(lost.sum()), 3))
    return seen, states, no_pixels


def _furniture(body_id: int, num_frames: int, rng: np.random.Generator) -> Sighting:
    """A wide object in the background that the sensor reports as a body, often only for moments."""
    length = int(rng.integers(2, 11) if rng.uniform() < 0.6 else rng.integers(12, num_frames))
    first = int(rng.integers(num_frames - length + 1))
    place = rng.uniform((-1.5, -0.8, 3.5), (1.5, 0.0, 4.5))
    shape = place + rng.uniform(-0.5, 0.5, (NUM_JOINTS, 3)) * (1.2, 0.5, 0.4)
    xyz = shape + rng.normal(0, 0.02, (length, NUM_JOINTS, 3))
    states = rng.choice((_LOST, _INFERRED, _TRACKED), (length, NUM_JOINTS), p=(0.2, 0.5, 0.3))
    return Sighting(body_id, np.arange(first, first + length), xyz, states,
                    np.zeros((length, NUM_JOINTS), bool))


def write_skeletons(path: Path, recording: Recording) -> None:
    """Writes a ``.skeleton`` file, with Windows line ends as in the originals.

    The rotation of the joints is not simulated; it is 0, as in files where it is unknown.
    """
    bodies: list[list[str]] = [[] for _ in range(recording.num_frames)]
    for sighting in recording.sightings:
        depth, colour = _pixels(sighting.xyz, _DEPTH), _pixels(sighting.xyz, _COLOUR)
        colour[sighting.no_pixels] = np.nan
        turns = np.zeros((*sighting.xyz.shape[:2], 4))
        values = np.concatenate((sighting.xyz, depth, colour, turns,
                                 sighting.states[..., None]), -1)
        lean = sighting.xyz[:, 20, :2] - sighting.xyz[:, 0, :2]
        for i, frame in enumerate(sighting.frames):
            head = f"{sighting.id} 0 1 1 1 1 0 {lean[i, 0]:.7g} {lean[i, 1]:.7g} 2"
            bodies[frame].append("\r\n".join((head, str(NUM_JOINTS),
                                              _JOINT_LINES % tuple(values[i].ravel().tolist()))))
    frames = ("\r\n".join((str(len(seen)), *seen)) for seen in bodies)
    text = "\r\n".join((str(recording.num_frames), *frames)) + "\r\n"
    path.write_bytes(text.encode("ascii"))


_JOINT_LINES = "\r\n".join([" ".join(["%.7g"] * 12)] * NUM_JOINTS)


def _pixels(xyz: Floats, camera: tuple[float, float, float]) -> Floats:
    focal_length, x, y = camera
    depth = np.maximum(xyz[..., 2], 0.1)  # a lost joint can be anywhere
    return np.stack((x + focal_length * xyz[..., 0] / depth,
                     y - focal_length * xyz[..., 1] / depth), -1)
