"""An independent writer and a slow, line by line reader of ``.skeleton`` files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Body:
    id: int
    joints: np.ndarray  # (25, 12), as in the file


def body(body_id=1, *, at=(0.0, 0.0, 3.0), width=0.5, height=1.7, state=2):
    """A body that stands at a place, with plausible pixels."""
    joints = np.zeros((25, 12))
    joints[:, 0] = at[0] + np.linspace(-width / 2, width / 2, 25)
    joints[:, 1] = at[1] + np.linspace(-height / 2, height / 2, 25)[::-1]
    joints[:, 2] = at[2]
    joints[:, 5] = 960 + 1000 * joints[:, 0] / joints[:, 2]
    joints[:, 6] = 540 - 1000 * joints[:, 1] / joints[:, 2]
    joints[:, 11] = state
    return Body(body_id, joints)


def number_text(value):
    return f"{value:.0f}" if np.isfinite(value) and value == int(value) else repr(float(value))


def file_text(frames, newline="\r\n", space=" "):
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for one in bodies:
            lines.append(f"{one.id} 0 1 1 0 0 0 -0.12 0.34 2".replace(" ", space))
            lines.append(str(len(one.joints)))
            lines += [space.join(map(number_text, joint)) for joint in one.joints]
    return (newline.join(lines) + newline).encode()


def read_slowly(content, columns=range(12)):
    """Frames of bodies; of the values of a joint those in these columns, the others are NaN."""
    lines = iter(content.decode().split("\n"))
    frames = []
    for _ in range(int(next(lines))):
        bodies = []
        for _ in range(int(next(lines))):
            body_id = int(next(lines).split()[0])
            joints = np.full((int(next(lines)), 12), np.nan)
            for joint in joints:
                for column, value in enumerate(next(lines).split()):
                    if column in columns:
                        joint[column] = float(value)
            bodies.append(Body(body_id, joints))
        frames.append(bodies)
    return frames


NAME = "S001C001P001R001A001"
CONTENT = file_text([[body(at=(t / 10, 0, 3))] for t in range(3)])


def write(root, *names, content=CONTENT):
    """Writes files of these names and of one content below a folder, which it returns."""
    for name in names:
        path = root / f"{name}.skeleton"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root
