"""Decimal numbers in a text, read many at once with arithmetic on eight characters in a word.

Numbers such as ``-12.3456`` (up to 7 digits, a point, up to 8 digits) are what sensors write;
they are read without a Python object for each. All others (``1E-05``, ``NaN``, ``7``) go through
`float`. Either way the result is the number that `float` gives, to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.integer[Any]]
Words = NDArray[np.uint64]

PADDING = b" " * 24
_MAX_WHOLE, _MAX_FRACTION = 7, 8  # 10^15 < 2^53: whole part and fraction fit a float64 exactly


def _word(byte: int) -> np.uint64:
    return np.uint64(int.from_bytes(bytes([byte]) * 8, "little"))


_ONES, _TOPS, _POINTS, _ZEROS = _word(0x01), _word(0x80), _word(ord(".")), _word(ord("0"))
_ABOVE_NINE = _word(0x80 - 10)  # added to a digit value it sets the top bit when it is > 9
# The first n bytes in memory of a word, and the last n: n = 0 to 8.
_FIRST = np.array([2 ** (8 * n) - 1 for n in range(9)], np.uint64)
_LAST = ~_FIRST[::-1]


def read_decimals(text: NDArray[np.uint8], start: Positions, end: Positions) -> NDArray[np.float64]:
    """The numbers that stand in a text at ``start`` to ``end``, in the shape of ``start``.

    Args:
        text: Characters, with at least `PADDING` before the first and after the last number.
        start: Position of the first character of each number.
        end: Position after the last character of each number.

    Raises:
        ValueError: One of them is no number; the message quotes it.
    """
    # A word at every byte: overlapping, so that a number is loaded from wherever it begins.
    words: Words = np.ndarray((text.size - 7,), "<u8", text, strides=(1,))
    shape, start, end = start.shape, start.ravel(), end.ravel()
    negative = text[start] == ord("-")
    first = start + negative
    point = first + _find_point(words[first])
    num_whole, num_fraction = point - first, end - point - 1
    whole, whole_is_number = _eight_digits(words[point - 8], _LAST, num_whole)
    fraction, fraction_is_number = _eight_digits(words[point + 1], _FIRST, num_fraction)
    whole *= np.uint64(10**_MAX_FRACTION)
    whole += fraction
    # Below 2^53 and divided by an exact number, so rounded once: the same as `float`.
    values = whole.astype(np.float64)
    values /= 10**_MAX_FRACTION
    np.negative(values, out=values, where=negative)
    usual = (whole_is_number & (num_whole > 0) & (num_whole <= _MAX_WHOLE)
             & fraction_is_number & (num_fraction > 0) & (num_fraction <= _MAX_FRACTION))
    if not usual.all():
        values[~usual] = [_read_one(text[a:b].tobytes()) for a, b in zip(
            start[~usual].tolist(), end[~usual].tolist(), strict=True)]
    return values.reshape(shape)


def _find_point(words: Words) -> NDArray[np.int64]:
    """Position 0..7 of the first point in each word; 8 where it has none."""
    differs = words ^ _POINTS
    found = differs - _ONES
    found &= ~differs
    found &= _TOPS
    # The lowest set bit marks the first point; the bits below it count its position.
    below = found - np.uint64(1)
    below &= ~found
    positions: NDArray[np.int64] = (np.bitwise_count(below) >> 3).astype(np.int64)
    return positions


def _eight_digits(words: Words, masks: Words, count: Positions) -> tuple[Words, NDArray[np.bool_]]:
    """The masked digits of each word as a whole number, and whether all of them are digits."""
    digits = words ^ _ZEROS
    digits &= masks.take(count, mode="clip")
    above = digits + _ABOVE_NINE
    above |= digits
    above &= _TOPS
    # The first byte in memory counts most, and is the lowest of a word. Neighbours join to
    # numbers below 100, these to numbers below 10^4, these to one below 10^8.
    for bits, factor, mask in _JOINS:
        digits *= factor
        digits >>= bits
        digits &= mask
    return digits, above == 0


# Bits of a part, what adds 10 (100, 10^4) times a part to the next, the parts that are left.
_JOINS = [(np.uint64(bits), np.uint64(1 + (10 ** (bits // 8) << bits)),
           np.uint64(sum((2**bits - 1) << shift for shift in range(0, 64, 2 * bits))))
          for bits in (8, 16, 32)]


def _read_one(token: bytes) -> float:
    try:
        return float(token)
    except ValueError:
        shown = token[:20].decode(errors="replace")
        raise ValueError(f"{shown!r} is no number") from None
