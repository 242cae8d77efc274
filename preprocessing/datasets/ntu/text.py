"""Parses the text of an NTU RGB+D ``.skeleton`` file: its lines and numbers.

A file has the number of frames, then for each frame the number of bodies, then for each body a line
of 10 values (the first is its ID), the line ``25``, and 25 lines of 12 values. No count is trusted
before its lines are seen, so absurd counts take no memory.

Reference:
    Shahroudy et al., NTU RGB+D, arXiv 1604.02808.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...core.source import Unusable
from .decimals import PADDING, read_decimals

NUM_JOINTS = 25
XYZ, PIXELS = (0, 1, 2), (5, 6)  # columns of a joint line: metres, and pixels of the colour image
_STATE = 11
_BODY_VALUES, _JOINT_VALUES = 10, 12
_BODY_LINES = 2 + NUM_JOINTS
_SIZES = np.array([_BODY_VALUES, 1, *[_JOINT_VALUES] * NUM_JOINTS])  # values in lines of a body
_FRAMES = "the number of frames"
_BLANKS = b" \t\r\n"
_IN_NUMBERS = _BLANKS + b"0123456789+-.eE" b"NaN" b"nan" b"INFTY" b"infty"
Bodies = tuple[int, NDArray[np.int64], NDArray[np.int64]]
MAX_BYTES = 512 * 2**20  # 100 times the longest official file


@dataclass(frozen=True)
class Recording:
    """One file: B observations of a body, in the order of the file.

    Args:
        num_frames: Number of frames.
        frame: Frame of each observation, ``(B,)``.
        body: ID of the body, ``(B,)``; 64-bit integers, since a float would merge neighbours.
        states: Tracking state of each joint, ``(B, 25)``: 0 not tracked, 1 inferred, 2 tracked.
        num_blank_lines: Lines without content that were ignored.
    """

    num_frames: int
    frame: NDArray[np.int64]
    body: NDArray[np.int64]
    states: NDArray[np.uint8]
    num_blank_lines: int
    _lines: _Lines
    _joints: NDArray[np.int64]

    def values(self, columns: tuple[int, ...]) -> NDArray[np.float64]:
        """Columns of the joint lines, ``(B, 25, len(columns))``, read at this call.

        Raises:
            Unusable: A value is not a number.
        """
        # Columns first in memory, since the next steps work on whole columns.
        token = self._joints + np.array(columns)[:, None, None]
        values = read_decimals(self._lines.text, *self._lines.span(token))
        return values.transpose(1, 2, 0)


def read_recording(content: bytes) -> Recording:
    """The bodies in the content of a ``.skeleton`` file; blank lines are ignored.

    Raises:
        Unusable: It is incomplete, or not such a file; the message says what is wrong and where.
    """
    if len(content) > MAX_BYTES:
        raise Unusable(f"the file is larger than {MAX_BYTES >> 20} MB")
    lines = _Lines(b"".join((PADDING, content, PADDING)))
    num_frames, frame, body_line = lines.find_bodies()
    joints = lines.first[body_line[:, None] + np.arange(2, _BODY_LINES)]
    ids, states = lines.read_ids(body_line), lines.read_states(joints + _STATE)
    lines.check_characters()
    return Recording(num_frames, frame, ids, states, lines.num_blank, lines, joints)


class _Lines:
    """The lines of a text that are not blank: line i has the tokens ``first[i]:first[i + 1]``.

    Raises:
        Unusable: It is not text, or is empty.
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.text = np.frombuffer(raw, np.uint8)
        self._strange = raw.translate(None, _IN_NUMBERS)
        if not (self._strange.isascii() and self._strange.decode().isprintable()):
            raise Unusable("the file holds bytes that are not text")
        self._blank = self.text <= ord(" ")
        borders = self._blank[:-1] > self._blank[1:]
        borders[len(raw.rstrip(_BLANKS))] = True
        # The character before each token, and after the last one.
        self._before = np.flatnonzero(borders)
        del borders
        if self._before.size == 1:
            raise Unusable("the file is empty")
        begins = self.text[self._before] == ord("\n")
        begins[[0, -1]] = True
        is_newline = self.text == ord("\n")
        num_lines = int(np.count_nonzero(is_newline)) + (b"\n" not in raw[self._before.item(-1) :])
        if np.count_nonzero(begins) - 1 != num_lines:  # lines are blank, or start with a blank
            begins[np.searchsorted(self._before[:-1], np.flatnonzero(is_newline))] = True
        self.first = np.flatnonzero(begins)
        self.size = self.first[1:] - self.first[:-1]
        self.num_blank = num_lines - len(self.size)

    def check_characters(self) -> None:
        """Rejects characters that do not occur in numbers, also in columns that are not read.

        Raises:
            Unusable: There is such a character.
        """
        if self._strange:
            token = int(np.searchsorted(self._before, self.raw.index(self._strange[:1]))) - 1
            raise Unusable(f"{self._token(token)[:20].decode()!r} is not a number")

    def span(self, token: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Position of the first character of each token, and that after its last one."""
        return self._before[token] + 1, self._end(token)

    def _end(self, token: NDArray[np.int64]) -> NDArray[np.int64]:
        end = self._before[token + 1]
        return self._ends[token] if self._blank[end - 1].any() else end

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """Position after the last character of each token, however many blanks follow."""
        return np.flatnonzero(self._blank[1:] & ~self._blank[:-1]) + 1

    def find_bodies(self) -> Bodies:
        """The number of frames; the frame and the first line of each body, ``(B,)``."""
        return self._find_at_once() or self._find_by_frame()

    def _find_at_once(self) -> Bodies | None:
        """The bodies, if each count of bodies is a single digit and correct."""
        # A line of one value is a count, or "25" after the line of a body.
        is_count = self.size[1:] == 1
        is_count &= self.size[:-1] != _BODY_VALUES
        line = np.flatnonzero(is_count) + 1
        if line.size == 0 or line.size != self._count(0, _FRAMES):
            return None
        start = self._before[self.first[line]] + 1
        bodies = (self.text[start] - np.uint8(ord("0"))).astype(np.int64)
        if bodies.max() > 9 or not self._blank[start + 1].all():
            return None
        # Positions of the counts and the end if they are correct.
        due = np.cumsum(np.append(1, 1 + bodies * _BODY_LINES))
        if not np.array_equal(due, np.append(line, self.size.size)):
            return None
        frame = np.repeat(np.arange(line.size), bodies)
        body_line = 2 + frame + np.arange(frame.size) * _BODY_LINES
        self._check_bodies(body_line)
        return line.size, frame, body_line

    def _find_by_frame(self) -> Bodies:
        """The bodies of any file, or what is wrong with it."""
        frames, lines = list[int](), list[int]()
        try:
            num_frames = self._walk(frames, lines)
        finally:  # a wrong body is reported first, since an extra line shifts everything after it
            body_line = np.array(lines, np.int64)
            self._check_bodies(body_line)
        return num_frames, np.array(frames, np.int64), body_line

    def _walk(self, frames: list[int], lines: list[int]) -> int:
        num_frames = self._count(0, _FRAMES)
        if num_frames == 0:
            raise Unusable("the file has no frames")
        line, num_lines = 1, len(self.size)
        for frame in range(num_frames):
            if line >= num_lines:
                raise Unusable(f"the file ends after {frame} of {num_frames} frames")
            bodies = self._count(line, "the number of bodies")
            line += 1
            end = line + bodies * _BODY_LINES
            if end > num_lines:
                raise Unusable(f"the file ends in frame {frame + 1} of {num_frames}, which "
                               f"claims {bodies} bodies")
            frames += [frame] * bodies
            lines += range(line, end, _BODY_LINES)
            line = end
        if line < num_lines:
            raise Unusable(f"the file continues after its {num_frames} frames, in "
                           f"{self._where(line)}")
        return num_frames

    def _where(self, line: int) -> str:
        before = self.raw.count(b"\n", 0, self._before.item(self.first.item(line)) + 1)
        return f"line {before + 1}"

    def _token(self, token: int) -> bytes:
        start, end = self._before.item(token) + 1, self._before.item(token + 1)
        return self.raw[start:end].rstrip(_BLANKS)

    def _count(self, line: int, what: str) -> int:
        token = self._token(self.first.item(line))
        if self.size.item(line) != 1 or not token.isdigit():
            raise Unusable(f"{self._where(line)} should be {what}")
        if len(token) > 9:
            raise Unusable(f"{self._where(line)} claims an absurd number")
        return int(token)

    def _check_bodies(self, body_line: NDArray[np.int64]) -> None:
        line = body_line[:, None] + np.arange(_BODY_LINES)
        wrong = line[self.size[line] != _SIZES]
        start = self._before[self.first[body_line + 1]] + 1
        is_25 = ((self.text[start] == ord("2")) & (self.text[start + 1] == ord("5"))
                 & self._blank[start + 2])
        wrong = np.concatenate((wrong, body_line[~is_25] + 1))
        if wrong.size:
            raise Unusable(self._what_is_wrong(int(wrong.min()), body_line))

    def _what_is_wrong(self, line: int, body_line: NDArray[np.int64]) -> str:
        place = line - body_line[np.searchsorted(body_line, line, "right") - 1]
        if place == 1:
            return f"{self._where(line)} should be the number of joints, {NUM_JOINTS}"
        kind, values = ("body", _BODY_VALUES) if place == 0 else ("joint", _JOINT_VALUES)
        return (f"{self._where(line)} should be a {kind} with {values} values, but has "
                f"{self.size[line]}")

    def read_ids(self, body_line: NDArray[np.int64]) -> NDArray[np.int64]:
        """The ID of each body, ``(B,)``."""
        start, end = self.span(self.first[body_line])
        ids = [self.raw[a:b] for a, b in zip(start.tolist(), end.tolist(), strict=True)]
        numbers = {token: int(token) for token in set(ids) if token.isdigit() and len(token) <= 18}
        wrong = [line for line, token in enumerate(ids) if token not in numbers]
        if wrong:
            raise Unusable(f"{self._where(body_line[wrong[0]])} should begin with the ID of a "
                           "body")
        return np.array([numbers[token] for token in ids], np.int64)

    def read_states(self, token: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The tracking states in the tokens, in the same shape."""
        start = self._before[token] + 1
        states = self.text[start] - np.uint8(ord("0"))
        wrong = (states > 2) | ~self._blank[start + 1]
        if wrong.any():
            shown = self._token(int(token[wrong][0]))[:20].decode()
            raise Unusable(f"{shown!r} is not a tracking state; these are 0, 1 and 2")
        return states
