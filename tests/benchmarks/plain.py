"""Heatmaps the plain way, a window at a time in numpy: what the renderers are measured against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SIGMA = 0.6


def window(low: float, high: float, size: int) -> tuple[int, int]:
    """First pixel and the one after the last, of what reaches from low to high."""
    return max(int(low - 3 * SIGMA), 0), min(int(high + 3 * SIGMA) + 1, size)


def joints(keypoints: np.ndarray, scores: np.ndarray, size: int) -> np.ndarray:
    """Keypoints ``(M, T, V, 2)`` to ``(T, V, H, W)``."""
    persons, frames, number = scores.shape
    volume = np.zeros((frames, number, size, size), np.float32)
    for frame in range(frames):
        for joint in range(number):
            for person in range(persons):
                score = scores[person, frame, joint]
                if score < 1e-3:
                    continue
                x, y = keypoints[person, frame, joint]
                left, right = window(x, x, size)
                top, bottom = window(y, y, size)
                if left >= right or top >= bottom:
                    continue
                across = np.arange(left, right, dtype=np.float32)
                down = np.arange(top, bottom, dtype=np.float32)[:, None]
                patch = np.exp(((across - x) ** 2 + (down - y) ** 2) / (-2 * SIGMA**2)) * score
                part = volume[frame, joint, top:bottom, left:right]
                np.maximum(part, patch, out=part)
    return volume


def limbs(keypoints: np.ndarray, scores: np.ndarray, size: int, links: Sequence[tuple[int, int]]
          ) -> np.ndarray:
    """Keypoints ``(M, T, V, 2)`` to ``(T, L, H, W)``."""
    persons, frames, _ = scores.shape
    volume = np.zeros((frames, len(links), size, size), np.float32)
    for frame in range(frames):
        for limb, (first, second) in enumerate(links):
            for person in range(persons):
                score = min(scores[person, frame, first], scores[person, frame, second])
                if score < 1e-3:
                    continue
                start, end = keypoints[person, frame, first], keypoints[person, frame, second]
                line = end - start
                if line @ line < 1:
                    end, line, score = start, line * 0, scores[person, frame, first]
                (left, top), (right, bottom) = np.minimum(start, end), np.maximum(start, end)
                left, right = window(left, right, size)
                top, bottom = window(top, bottom, size)
                if left >= right or top >= bottom:
                    continue
                x = np.arange(left, right, dtype=np.float32) - start[0]
                y = np.arange(top, bottom, dtype=np.float32)[:, None] - start[1]
                along = np.clip((x * line[0] + y * line[1]) / max(line @ line, 1), 0, 1)
                distance = (x - along * line[0]) ** 2 + (y - along * line[1]) ** 2
                patch = np.exp(distance / (-2 * SIGMA**2)) * score
                part = volume[frame, limb, top:bottom, left:right]
                np.maximum(part, patch, out=part)
    return volume
