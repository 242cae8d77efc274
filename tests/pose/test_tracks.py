"""The tracker of persons: beside ByteTrack on real poses, and rule by rule."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ptl_skel.errors import UserError
from ptl_skel.pose import PersonTracker

GOLDEN = json.loads(Path(__file__).with_name("bytetrack.json").read_text(encoding="utf-8"))
BODY = np.random.default_rng(0).uniform(-50, 50, (13, 2))


def follow(tracker, frames):
    """Number of each person in each frame, for frames of (keypoints, confidence)."""
    ids = []
    for persons in frames:
        keypoints = np.array([joints for joints, _ in persons]).reshape(-1, 13, 2)
        ids.append(tracker.update(keypoints, np.ones(keypoints.shape[:2]), np.array(
            [confidence for _, confidence in persons])).tolist())
    return ids


@pytest.mark.parametrize("video", ["demo_skeleton", "test_video_structuralize"])
def test_it_agrees_with_bytetrack(video):
    """Two persons from beginning to end, the same as there, and nobody else for long."""
    frames = GOLDEN[video]
    ids = follow(PersonTracker(), [[(np.reshape(person["keypoints"], (13, 2)),
                                     person["confidence"]) for person in frame]
                                   for frame in frames])
    theirs = [person["id"] for frame in frames for person in frame]
    ours = [i for frame in ids for i in frame]
    assert len(ours) == len(theirs)
    pairs = Counter((i, j) for i, j in zip(ours, theirs, strict=True) if i >= 0 and j >= 0)
    main = [pair for pair, count in pairs.items() if count > 5]
    assert len(main) == len({i for i, _ in main}) == len({j for _, j in main}) == 2
    assert sum(pairs[pair] for pair in main) >= 0.98 * sum(j >= 0 for j in theirs)
    assert abs(sum(i >= 0 for i in ours) - sum(j >= 0 for j in theirs)) <= 0.02 * len(ours)


def test_two_persons_who_hug_keep_their_numbers():
    counts = Counter(person["id"] for frame in GOLDEN["demo_skeleton"] for person in frame)
    assert counts[0] == counts[1] == 70  # what ByteTrack makes of it
    ids = follow(PersonTracker(), [[(np.reshape(p["keypoints"], (13, 2)), p["confidence"])
                                    for p in frame] for frame in GOLDEN["demo_skeleton"]])
    assert Counter(i for frame in ids for i in frame if i >= 0) == {0: 70, 1: 70}


def test_a_number_is_given_after_some_frames_and_kept_through_doubt():
    sure, doubt = (BODY, 0.3), (BODY, 0.1)
    ids = follow(PersonTracker(), [[sure], [doubt], [sure], [doubt], [], [doubt]])
    assert ids == [[-1], [-1], [0], [0], [], [0]]


def test_doubtful_persons_start_nothing_and_worse_ones_are_ignored():
    assert follow(PersonTracker(), [[(BODY, 0.29)]] * 9) == [[-1]] * 9
    ids = follow(PersonTracker(), [[(BODY, 0.9)]] * 3 + [[(BODY, 0.09)]] * 2)
    assert ids == [[-1], [-1], [0], [-1], [-1]]


def test_a_sure_person_is_matched_before_a_doubtful_one_who_is_nearer():
    tracker = PersonTracker(confirm=1)
    assert follow(tracker, [[(BODY, 0.9)]] * 3) == [[0]] * 3
    assert follow(tracker, [[(BODY, 0.2), (BODY + 10, 0.9)]]) == [[-1, 0]]


@pytest.mark.parametrize(("gap", "same"), [(1, True), (29, True), (30, False)])
def test_who_was_hidden_returns_within_the_patience(gap, same):
    tracker = PersonTracker(patience=30)
    follow(tracker, [[(BODY, 0.9)]] * 5 + [[]] * gap)
    assert follow(tracker, [[(BODY + 5, 0.9)]] * 3)[-1] == [0 if same else 1]


def test_what_is_seen_for_a_moment_is_forgotten():
    tracker = PersonTracker()
    assert follow(tracker, [[(BODY, 0.9)], [], [], [], [(BODY, 0.9)], [(BODY, 0.9)]])[-1] == [-1]
    assert tracker.live == set()


def test_those_who_left_are_gone():
    tracker = PersonTracker(patience=5)
    for number in range(50):
        follow(tracker, [[(BODY + 1000 * number, 0.9)]] * 4)
        assert number in tracker.live
        assert len(tracker.live) <= 3
    follow(tracker, [[]] * 6)
    assert tracker.live == set()


def test_impossible_settings():
    with pytest.raises(UserError, match="`keep` must be <= `begin`"):
        PersonTracker(begin=0.1, keep=0.2)
    with pytest.raises(UserError, match="`confirm` must be >= 1"):
        PersonTracker(confirm=0)
