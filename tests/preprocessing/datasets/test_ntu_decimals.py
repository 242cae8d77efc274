from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.datasets.ntu.decimals import PADDING, read_decimals

ANY_FLOAT = st.floats() | st.floats(-3000, 3000) | st.floats(-1e9, 1e9)
FORMATS = st.sampled_from(("{!r}", "{:.7g}", "{:.3f}", "{:.8f}", "{:.9f}", "{:e}", "{:.0f}"))
PLAIN = st.from_regex(r"-?[0-9]{0,9}\.[0-9]{0,9}", fullmatch=True).filter(
    lambda token: any(character.isdigit() for character in token))


def read(tokens, space=" "):
    content = space.join(tokens).encode()
    ends = np.cumsum([len(token) + len(space) for token in tokens])
    start = ends - [len(token) + len(space) for token in tokens] + len(PADDING)
    text = np.frombuffer(PADDING + content + PADDING, np.uint8)
    return read_decimals(text, start, start + [len(token) for token in tokens])


@given(st.lists(st.builds(str.format, FORMATS, ANY_FLOAT) | PLAIN, min_size=1, max_size=30))
def test_every_number_is_what_float_makes_of_it(tokens):
    np.testing.assert_array_equal(read(tokens), [float(token) for token in tokens])


@pytest.mark.parametrize("token", [
    "0.0", "-0.0", ".5", "5.", "+1.5", "1234567.12345678", "12345678.1", "0.123456789", "NaN",
    "-Infinity", "inf", "1E-05", "7", "-7", "00012.50", "12345678", "123456789", "123456789.",
    "12345678.1234567", "-1234567.1234567", "123456789.123456789", "9007199254740993",
])
def test_number(token):
    value, = read([token])
    assert np.array_equal(value, float(token), equal_nan=True)
    assert np.signbit(value) == np.signbit(float(token))


@pytest.mark.parametrize("token", [
    "abc", "-", ".", "-.", "1.2.3", "1..2", "--1.5", "1.5-", "0x10", "1,5", "1.2a", "a1.2", "1e",
    "12:4.5", "1.2/3", "1.#IND", "1.23456789.1", "123.4567.", ".12345678.", "1234567x1.5",
])
def test_what_is_no_number_is_refused_and_quoted(token):
    with pytest.raises(ValueError, match="is not a number") as caught:
        read(["1.5", token, "2.5"])
    assert repr(token) in str(caught.value)


@given(st.text("0123456789.-+eEnaif :/", min_size=1, max_size=14)
       .filter(lambda token: " " not in token))
def test_any_token_is_read_as_float_reads_it_or_refused(token):
    try:
        expected = float(token)
    except ValueError:
        with pytest.raises(ValueError, match="is not a number"):
            read(["0.5", token])
    else:
        np.testing.assert_array_equal(read(["0.5", token])[1], expected)


def test_the_shape_is_kept():
    text = np.frombuffer(PADDING + b"1.5 2.5 3.5 4.5" + PADDING, np.uint8)
    start = len(PADDING) + np.array([[0, 4], [8, 12]])
    assert read_decimals(text, start, start + 3).tolist() == [[1.5, 2.5], [3.5, 4.5]]
    assert read_decimals(text, start[:0], start[:0]).shape == (0, 2)
