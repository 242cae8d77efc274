"""A synthetic data set in the format of NTU RGB+D, for demos and tests without a download.

Bodies of different build perform the `ACTIONS` in front of three cameras at -45, 0 and 45 degrees.
The recordings have the flaws of a real sensor: joints tremble, are guessed or lost, bodies vanish
and return under another ID, and furniture is reported as a body. The file names use NTU's
performers and cameras, so that the official protocols X-Sub and X-View apply.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from ptl_skel.errors import UserError

from ..datasets.ntu.facts import TRAIN_SUBJECTS_60
from ..datasets.ntu.protocols import Sample
from .actions import ACTIONS, Action, Style
from .body import Build, Floats, Motion, move_body
from .sensor import Camera, record, write_skeletons

CLASS_FILE = "class_names.txt"
_ANGLES = (-45, 0, 45)  # degrees; camera 1 to 3
_NUM_SETUPS = 3
_MAX_SUBJECTS = 30


def write_dataset(folder: Path | str, *, seed: int = 0, subjects: int = 12,
                  replications: int = 2) -> int:
    """Writes the data set: one ``.skeleton`` file per clip, and ``class_names.txt``.

    Args:
        folder: Folder to create; it appears when it is complete.
        seed: Seed of all randomness.
        subjects: Number of performers, 3 to 30; of each three, one is in the test part of X-Sub.
        replications: How often each performer performs each action.

    Returns:
        Number of clips: 14 classes x 3 cameras x subjects x replications.

    Raises:
        UserError: The folder exists and is not empty or cannot be written, or a number is out of
            range.
    """
    folder = Path(folder)
    if not 3 <= subjects <= _MAX_SUBJECTS:
        raise UserError(f"`subjects` must be 3 to {_MAX_SUBJECTS}, got {subjects}")
    if not 1 <= replications <= 999:
        raise UserError(f"`replications` must be 1 to 999, got {replications}")
    if seed < 0:
        raise UserError(f"`seed` must be >= 0, got {seed}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not empty; give another folder, or remove it "
                        "first")
    unfinished = folder.with_name(folder.name + ".partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        for subject in _performers(subjects):
            for replication in range(1, replications + 1):
                for action in range(1, len(ACTIONS) + 1):
                    _write_performance(unfinished, seed, subject, replication, action)
        names = "\n".join(action.name for action in ACTIONS) + "\n"
        (unfinished / CLASS_FILE).write_text(names, encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        unfinished.rename(folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}") from error
    return subjects * replications * len(ACTIONS) * len(_ANGLES)


def _performers(number: int) -> list[int]:
    """Official performers, in turn two of the training part of X-Sub and one of its test part."""
    train = iter(sorted(TRAIN_SUBJECTS_60))
    test = iter(sorted(set(range(1, 41)) - TRAIN_SUBJECTS_60))
    return [next(test if i % 3 == 2 else train) for i in range(number)]


def _write_performance(folder: Path, seed: int, subject: int, replication: int,
                       action: int) -> None:
    """Writes the recordings of one performance by the three cameras."""
    rng = np.random.default_rng((seed, subject, replication, action))
    setup = 1 + subject % _NUM_SETUPS
    bodies = perform(ACTIONS[action - 1], rng, _build(seed, subject), _build(seed, subject + 100))
    for number, angle in enumerate(_ANGLES, 1):
        name = _file_name(Sample(setup, number, subject, replication, action))
        camera = Camera(np.deg2rad(angle), distance=3.0 + 0.3 * setup, height=1.0 + 0.15 * setup)
        write_skeletons(folder / name, record(bodies, camera, rng))


def _file_name(sample: Sample) -> str:
    return ("S{setup:03}C{camera:03}P{subject:03}R{replication:03}A{action:03}.skeleton"
            .format(**sample._asdict()))


def _build(seed: int, person: int) -> Build:
    rng = np.random.default_rng((seed, person))
    return Build(rng.uniform(0.87, 1.12), rng.uniform(0.88, 1.15), rng.uniform(0.93, 1.07))


def perform(action: Action, rng: np.random.Generator, *builds: Build) -> list[Floats]:
    """The joints of each person of a performance, ``(T, 25, 3)`` metres on the floor y = 0.

    Args:
        action: The action.
        rng: Random number generator.
        builds: Of the first and the second person, who is present only if the action needs two.
    """
    style = Style(tempo=rng.uniform(0.85, 1.2), vigour=rng.uniform(0.8, 1.2), phase=rng.uniform(),
                  side="left" if rng.uniform() < 0.3 else "right")
    num_frames = round(rng.uniform(36, 52) / style.tempo)
    motions = action.motions(num_frames, style)
    place = rng.uniform((-0.3, 0, -0.3), (0.3, 0, 0.3))
    facing = rng.normal(0, 0.2)
    bodies = []
    for motion, build, turn in zip(motions, builds, (0.0, np.pi), strict=False):
        body = move_body(_sway(motion, num_frames, rng), num_frames, build)
        # Two persons face each other across the view of camera 2; a single person faces it.
        angle = facing + turn + (np.pi / 2 if len(motions) == 2 else 0)
        ahead, left = np.sin(angle), np.cos(angle)
        body = body @ np.array([[left, 0, -ahead], [0, 1, 0], [ahead, 0, left]])
        bodies.append(body + place)
    return bodies


def _sway(motion: Motion, num_frames: int, rng: np.random.Generator) -> Motion:
    """The motion with an individual posture and small natural movements."""
    seconds = np.arange(num_frames) / 30
    swaying: dict[str, Floats | float] = dict(motion)
    for name, size in _SWAY.items():
        hertz, phase = rng.uniform(0.2, 0.8), rng.uniform(0, 2 * np.pi)
        sway = size * (rng.normal() + 0.5 * np.sin(2 * np.pi * hertz * seconds + phase))
        swaying[name] = swaying.get(name, 0.0) + sway
    return swaying


_SWAY = {"lean": 0.04, "bend": 0.06, "twist": 0.1, "nod": 0.12,
         "left_arm_ahead": 0.1, "right_arm_ahead": 0.1, "left_arm_out": 0.1, "right_arm_out": 0.1,
         "left_elbow": 0.12, "right_elbow": 0.12, "left_leg_out": 0.05, "right_leg_out": 0.05,
         "left_leg_ahead": 0.03, "right_leg_ahead": 0.03}
