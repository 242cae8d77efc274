"""Measures of segments against cases that were computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptl_skel.live.measures import (
    UNKNOWN,
    count_hits,
    edit_score,
    f1_score,
    frame_accuracy,
    score_segments,
    to_runs,
)


def frames(text):
    """Classes of frames: a letter for each, ``-`` for unknown."""
    return np.array([UNKNOWN if letter == "-" else ord(letter) for letter in text])


def test_runs_are_the_segments_without_the_unknown_ones():
    assert to_runs(frames("aab-bb")) == [(97, 0, 2), (98, 2, 3), (98, 4, 6)]
    assert to_runs(frames("---")) == []


@pytest.mark.parametrize(("predicted", "true", "expected"), [
    ("aabb", "aabb", 1.0),
    ("abab", "aabb", 0.5),  # abab against ab: two insertions of four
    ("aaaa", "aabb", 0.5),  # one of two is missing
    ("bbaa", "aabb", 0.0),  # both are exchanged
    ("----", "aabb", 0.0),
    ("----", "----", 1.0),
])
def test_edit_score(predicted, true, expected):
    assert edit_score(frames(predicted), frames(true)) == pytest.approx(expected)


@pytest.mark.parametrize(("predicted", "overlap", "expected"), [
    ("aaaaabbbbb", 0.5, (2, 0, 0)),
    ("aaaaaaabbb", 0.5, (2, 0, 0)),    # 5 of 7, and 3 of 5
    ("aaaaaaabbb", 0.65, (1, 1, 1)),   # 3 of 5 is too little
    ("aabaabbbbb", 0.25, (2, 2, 0)),   # two pieces of a: one takes it; the short b takes nothing
    ("bbbbbaaaaa", 0.1, (0, 2, 2)),    # right classes, but elsewhere
    ("----------", 0.1, (0, 0, 2)),
])
def test_hits_false_and_missed_segments(predicted, overlap, expected):
    assert count_hits(frames(predicted), frames("aaaaabbbbb"), overlap) == expected


def test_f1_sums_over_videos():
    pairs = [(frames("aabb"), frames("aabb")), (frames("cccc"), frames("aabb"))]
    # 2 hits, 1 false, 2 missed
    assert f1_score(pairs, 0.5) == pytest.approx(2 * 2 / (2 * 2 + 1 + 2))
    assert frame_accuracy(*pairs[0]) == 1
    scores = score_segments(pairs)
    assert scores["frame_accuracy"] == 0.5
    assert scores["edit"] == 0.5


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=30), st.sampled_from([0.1, 0.25, 0.5]))
def test_a_perfect_prediction_scores_one_unless_nothing_is_there(classes, overlap):
    classes = np.array(classes)
    hits, wrong, missed = count_hits(classes, classes, overlap)
    assert (wrong, missed) == (0, 0)
    assert hits == len(to_runs(classes))
    assert edit_score(classes, classes) == 1


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=30),
       st.lists(st.integers(-1, 3), min_size=1, max_size=30))
def test_measures_lie_between_0_and_1_and_fall_with_the_overlap(one, other):
    length = min(len(one), len(other))
    pair = np.array(one[:length]), np.array(other[:length])
    low, middle, high = (f1_score([pair], overlap) for overlap in (0.1, 0.25, 0.5))
    assert 0 <= high <= middle <= low <= 1
    assert 0 <= edit_score(*pair) <= 1
    assert edit_score(*pair) == edit_score(*pair[::-1])
