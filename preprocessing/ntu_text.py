"""The text of an NTU RGB+D ``.skeleton`` file: which line is what, and the numbers in it.

A file has the number of frames, then for each frame the number of bodies, then for each body a
line of 10 values (the first is its ID), the line ``25``, and 25 lines of 12 values. Nothing of
what a file claims is believed before the lines for it are seen, so absurd counts take no memory.

Reference:
    Shahroudy et al., NTU RGB+D, arXiv 1604.02808.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocessing.decimals import PADDING, read_decimals

NUM_JOINTS = 25
XYZ, PIXELS = (0, 1, 2), (5, 6)  # columns of a joint line: metres, and pixels of the colour image
_STATE = 11
_BODY_VALUES, _JOINT_VALUES = 10, 12
_BODY_LINES = 2 + NUM_JOINTS
_MAX_BYTES = 512 * 2**20  # 100 times the longest official file


@dataclass(frozen=True)
class Recording:
    """One file: B observations of a body, in the order in which they stand in it.

    Args:
        num_frames: Number of frames.
        frame: Frame of each observation, ``(B,)``.
        body: ID of the body, ``(B,)``; 64 bits are needed, a float would merge neighbours.
        states: Tracking state of each joint, ``(B, 25)``: 0 not tracked, 1 inferred, 2 tracked.
    """

    num_frames: int
    frame: NDArray[np.int64]
    body: NDArray[np.int64]
    states: NDArray[np.uint8]
    _text: NDArray[np.uint8]
    _start: NDArray[np.int64]
    _end: NDArray[np.int64]

    def values(self, columns: tuple[int, ...]) -> NDArray[np.float64]:
        """Columns of the joint lines, ``(B, 25, len(columns))``; they are read when asked for.

        Raises:
            ValueError: A value is no number.
        """
        wanted = np.array(columns)
        return read_decimals(self._text, self._start[..., wanted], self._end[..., wanted])


def read_recording(content: bytes) -> Recording:
    """The bodies in the content of a ``.skeleton`` file; blank lines are passed over.

    Raises:
        ValueError: It is not complete, or is no such file; the message says what is wrong where.
    """
    if len(content) > _MAX_BYTES:
        raise ValueError(f"the file is larger than {_MAX_BYTES >> 20} MB")
    text = np.frombuffer(PADDING + content + PADDING, np.uint8)
    blank = text <= ord(" ")
    edge = np.flatnonzero(blank[1:] != blank[:-1]) + 1
    start, end = edge[::2], edge[1::2]
    if text.max() > ord("~") or not text.min():
        raise ValueError("the file holds bytes that are no text")
    if not start.size:
        raise ValueError("the file is empty")
    return _Lines(text, start, end).read()


class _Lines:
    """The lines of a text that are not blank: line i has the tokens ``first[i]:first[i + 1]``."""

    def __init__(self, text: NDArray[np.uint8], start: NDArray[np.int64],
                 end: NDArray[np.int64]) -> None:
        self.text, self.start, self.end = text, start, end
        breaks = np.flatnonzero(text == ord("\n"))
        before = np.searchsorted(start, breaks)
        first = np.concatenate(([0], before, [start.size]))
        is_line = np.diff(first) > 0
        self.number = np.flatnonzero(is_line) + 1
        self.first = np.append(first[:-1][is_line], start.size)
        self.size = np.diff(self.first)

    def read(self) -> Recording:
        frames, lines = list[int](), list[int]()
        try:
            num_frames = self._walk(frames, lines)
        finally:  # what is wrong in a body comes first: a line too many upsets all that follows
            body_line = np.array(lines, np.int64)
            self._check_bodies(body_line)
        token = self.first[body_line[:, None] + np.arange(2, _BODY_LINES)]
        return Recording(num_frames, np.array(frames, np.int64), self._ids(body_line),
                         self._states(token + _STATE), self.text,
                         *(ends[token[..., None] + np.arange(_STATE)]
                           for ends in (self.start, self.end)))

    def _walk(self, frames: list[int], lines: list[int]) -> int:
        """The number of frames; adds the frame and the first line of each body."""
        num_frames = self._count(0, "the number of frames")
        if num_frames == 0:
            raise ValueError("the file has no frames")
        line = 1
        for frame in range(num_frames):
            if line >= len(self.size):
                raise ValueError(f"the file ends after {frame} of {num_frames} frames")
            bodies = self._count(line, "the number of bodies")
            line += 1
            end = line + bodies * _BODY_LINES
            if end > len(self.size):
                raise ValueError(f"the file ends in frame {frame + 1} of {num_frames}, which "
                                 f"claims {bodies} bodies")
            frames += [frame] * bodies
            lines += range(line, end, _BODY_LINES)
            line = end
        if line < len(self.size):
            raise ValueError(f"the file goes on after its {num_frames} frames, in line "
                             f"{self.number[line]}")
        return num_frames

    def _token(self, token: int) -> bytes:
        return self.text[self.start[token] : self.end[token]].tobytes()

    def _count(self, line: int, what: str) -> int:
        token = self._token(self.first[line])
        if self.size[line] != 1 or not token.isdigit():
            raise ValueError(f"line {self.number[line]} should be {what}")
        if len(token) > 9:
            raise ValueError(f"line {self.number[line]} claims an absurd number")
        return int(token)

    def _check_bodies(self, body_line: NDArray[np.int64]) -> None:
        line = body_line[:, None] + np.arange(_BODY_LINES)
        expected = np.array([_BODY_VALUES, 1, *[_JOINT_VALUES] * NUM_JOINTS])
        wrong = line[self.size[line] != expected]
        count = self.first[body_line + 1]
        is_25 = ((self.end[count] - self.start[count] == 2)
                 & (self.text[self.start[count]] == ord("2"))
                 & (self.text[self.start[count] + 1] == ord("5")))
        wrong = np.concatenate((wrong, body_line[~is_25] + 1))
        if wrong.size:
            raise ValueError(self._what_is_wrong(int(wrong.min()), body_line))

    def _what_is_wrong(self, line: int, body_line: NDArray[np.int64]) -> str:
        place = (line - body_line[np.searchsorted(body_line, line, "right") - 1])
        where = f"line {self.number[line]}"
        if place == 1:
            return f"{where} should be the number of joints, {NUM_JOINTS}"
        kind, values = ("body", _BODY_VALUES) if place == 0 else ("joint", _JOINT_VALUES)
        return f"{where} should be a {kind} with {values} values, but has {self.size[line]}"

    def _ids(self, body_line: NDArray[np.int64]) -> NDArray[np.int64]:
        ids = np.empty(body_line.size, np.int64)
        for i, line in enumerate(body_line):
            token = self._token(self.first[line])
            if not token.isdigit() or len(token) > 18:
                raise ValueError(f"line {self.number[line]} should begin with the ID of a body")
            ids[i] = int(token)
        return ids

    def _states(self, token: NDArray[np.int64]) -> NDArray[np.uint8]:
        states = self.text[self.start[token]] - np.uint8(ord("0"))
        wrong = (states > 2) | (self.end[token] - self.start[token] != 1)
        if wrong.any():
            shown = self._token(token[wrong][0])[:20].decode()
            raise ValueError(f"{shown!r} is no tracking state, these are 0, 1 and 2")
        return states
