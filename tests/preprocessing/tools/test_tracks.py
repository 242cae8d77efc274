"""Persons followed over frames: constructed walks, of which the truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.tools.poses import PoseList, Poses
from preprocessing.tools.tracks import MAX_FRAMES, assign_tracks, follow_persons

JOINTS = 6


def body(seed):
    """A pose about 100 pixels high, around 0, 0."""
    return np.random.default_rng(seed).uniform(-50, 50, (JOINTS, 2))


def walk(seed, start, speed, frames):
    """Keypoints of a body that moves on at a speed, ``(T, V, 2)`` pixels; it trembles."""
    random = np.random.default_rng((seed, 1))
    way = np.asarray(start) + np.outer(frames, speed)
    return body(seed) + way[:, None] + random.normal(0, 1, (len(frames), JOINTS, 2))


def poses(*walks, seed=0, numbered=False):
    """Walks of (frames, keypoints), their persons in random order; and whose each row is."""
    rows = [(frame, pose, who) for who, (frames, keypoints) in enumerate(walks)
            for frame, pose in zip(frames, keypoints, strict=True)]
    order = np.random.default_rng(seed).permutation(len(rows))
    frame, keypoints, who = (np.array([rows[i][part] for i in order]) for part in range(3))
    person = who if numbered else np.full(len(rows), -1)
    return Poses(keypoints, np.ones(keypoints.shape[:2]), frame, person, np.unique(frame)), who


def tracks_of(found):
    return assign_tracks(found.keypoints, found.scores, found.frame, found.person)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), speed=st.floats(2, 25), slope=st.floats(-3, 3),
       meet=st.floats(200, 300))
def test_persons_who_cross_keep_their_tracks(seed, speed, slope, meet):
    frames = np.arange(40)
    left = walk(seed, (meet - 20 * speed, 200), (speed, slope), frames)
    right = walk(seed + 1, (meet + 20.5 * speed, 200), (-speed, 0), frames)
    found, who = poses((frames, left), (frames, right), seed=seed)
    track = tracks_of(found)
    assert len(set(track)) == 2
    assert len(set(zip(track, who, strict=True))) == 2


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), gap=st.integers(1, 29), speed=st.floats(0, 1))
def test_a_person_who_is_not_seen_for_a_while_keeps_the_track(seed, gap, speed):
    frames = np.delete(np.arange(60), np.arange(10, 10 + gap))
    stays = np.arange(60)
    found, who = poses((frames, walk(seed, (300, 300), (speed, 0), frames)),
                       (stays, walk(seed + 1, (900, 300), (0, 0), stays)), seed=seed)
    track = tracks_of(found)
    assert len(set(zip(track, who, strict=True))) == len(set(track)) == 2


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), gap=st.integers(31, 60), x=st.integers(-2000, 2000))
def test_a_person_who_returns_takes_the_old_place(seed, gap, x):
    before, after, all_of_it = np.arange(20), np.arange(20 + gap, 90), np.arange(90)
    found, _ = poses((before, walk(seed, (300, 300), (9, 0), before)),
                     (after, walk(seed, (x, 300), (0, 0), after)),
                     (all_of_it, walk(seed + 1, (900, 300), (0, 1), all_of_it)), seed=seed)
    assert len(set(tracks_of(found))) == 3
    keypoints, scores = follow_persons(found, 2)
    assert keypoints.shape == (2, 90, JOINTS, 2)
    assert (scores[0] == 1).all()  # who is seen throughout has the largest sum of scores
    seen = scores[1].all(1)
    assert np.flatnonzero(seen).tolist() == [*before, *after]


@given(seed=st.integers(0, 10**6), count=st.integers(1, 5), places=st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_every_person_is_whole_or_dropped_and_the_strongest_stay(seed, count, places):
    """With persons far apart the result is that of a sort."""
    random = np.random.default_rng(seed)
    walks = []
    for i in range(count):
        frames = np.arange(30)[: random.integers(5, 31)]
        walks.append((frames, walk(seed + i, (1000 * i + 500, 300), (1, 1), frames)))
    keypoints, scores = follow_persons(poses(*walks, seed=seed)[0], places)
    expected = sorted((len(frames) for frames, _ in walks), reverse=True)[:places]
    assert scores.all(2).sum(1).tolist() == expected
    assert len(keypoints) == min(count, places)


def test_numbers_of_the_tool_are_believed():
    """Even where two persons change places from one frame to the next."""
    frames = np.arange(4)
    one, other = np.full((2, 4, JOINTS, 2), 100.0), np.full((4, JOINTS, 2), 900.0)
    one[0] += body(0)
    one[0, 2:] += 800
    other += body(1)
    other[2:] -= 800
    found, who = poses((frames, one[0]), (frames, other), numbered=True)
    assert (tracks_of(found) == tracks_of(found)[np.argmax(who == 0)])[who == 0].all()
    keypoints, _ = follow_persons(found, 2)
    np.testing.assert_allclose(keypoints, [one[0], other], rtol=1e-6)


def test_numbers_are_kept_in_their_order_where_there_are_places_enough():
    few, many = np.arange(3), np.arange(3, 9)
    walks = (few, walk(0, (300, 300), (0, 0), few)), (many, walk(1, (300, 300), (0, 0), many))
    found, _ = poses(*walks, numbered=True)
    assert follow_persons(found, 2)[1].all(2).tolist() == [[t < 3 for t in range(9)],
                                                     [t >= 3 for t in range(9)]]
    assert follow_persons(found, 1)[1].all()  # one after the other in the only place


def test_a_person_without_number_continues_one_with():
    frames = np.arange(9)
    found, _ = poses((frames, walk(0, (300, 300), (5, 0), frames)), numbered=True)
    found.person[found.frame == 4] = -1
    assert set(tracks_of(found)) == {0}


def test_the_same_number_twice_in_a_frame_is_two_persons():
    frames = np.arange(5)
    found, _ = poses((frames, walk(0, (300, 300), (0, 0), frames)),
                     (frames, walk(1, (900, 300), (0, 0), frames)))
    found.person[:] = 7
    keypoints, scores = follow_persons(found, 2)
    assert keypoints.shape[0] == 2
    assert scores.all()


@pytest.mark.parametrize(("numbers", "frames"), [
    ([0, 1, 2], [0, 1, 2]),
    ([10, 15, 30], [0, 1, 4]),  # of every fifth frame
    ([1, 2, 4], [0, 1, 3]),
    ([-4, -2], [0, 1]),
    ([7], [0]),
])
def test_numbers_of_frames(numbers, frames):
    found = PoseList()
    for number in numbers:
        found.add(number, body(0) + 300, None)
    _, scores = follow_persons(found.finish(numbers), 2)
    assert np.flatnonzero(scores[0].all(1)).tolist() == frames


def test_frames_without_persons_count_only_in_the_middle():
    found = PoseList()
    for number in (4, 8):
        found.add(number, body(0) + 300, None)
    assert follow_persons(found.finish(range(2, 20)), 2)[1].shape == (1, 5, JOINTS)
    assert follow_persons(found.finish(range(2, 20, 2)), 2)[1].shape == (1, 3, JOINTS)


def test_joints_that_are_missing():
    pose = np.array([[0, 0], [0, 5], [np.nan, 5], [np.inf, 5], [1e300, 5], [5, 5], [6, 6], [7, 7]])
    scores = np.array([1, 6, 1, 1, 1, 0, np.nan, 0.25])
    found = PoseList()
    found.add(0, pose, scores)
    keypoints, kept = follow_persons(found.finish([0]), 1)
    assert kept[0, 0].tolist() == [0, 1, 0, 0, 0, 0, 0, 0.25]
    assert keypoints[0, 0].tolist() == [[0, 0], [0, 5], *[[0, 0]] * 5, [7, 7]]


def test_in_metres_the_origin_is_a_place():
    rows = np.zeros((1, 3, 3))
    scores = follow_persons(Poses(rows, np.ones((1, 3)), *np.zeros((3, 1), np.int64)), 1)[1]
    assert scores.all()


def test_absurd_input():
    found = PoseList()
    for number in (0, 1, MAX_FRAMES):
        found.add(number, body(0), None)
    with pytest.raises(ValueError, match="more than the 100,000 that a clip can have"):
        follow_persons(found.finish([]), 1)
    with pytest.raises(ValueError, match="absurdly large"):
        found.finish([10**30])
    with pytest.raises(ValueError, match="no person in any frame"):
        PoseList().finish([0])
    nobody = PoseList()
    nobody.add(0, np.zeros((3, 2)), None)
    with pytest.raises(ValueError, match="no joint is visible"):
        follow_persons(nobody.finish([0]), 1)
    with pytest.raises(ValueError, match="persons have 3 joints, but in frame 5 one has 4"):
        nobody.add(5, np.zeros((4, 2)), None)
    with pytest.raises(ValueError, match="3 joints, but 2 scores"):
        nobody.add(5, np.zeros((3, 2)), np.zeros(2))


def test_a_crowd_is_followed_in_bounded_memory():
    found = PoseList()
    for frame in range(10):
        for i in range(300):
            found.add(frame, body(0) + np.array([200 * i, 300]), np.full(JOINTS, (1 + i) / 300))
    _, scores = follow_persons(found.finish(range(10)), 2)
    assert scores[:, :, 0].tolist() == [[1] * 10, [np.float32(299 / 300)] * 10]


def test_coordinates_of_any_size_do_no_harm():
    found = PoseList()
    for frame in range(3):
        for size in (1e-40, 1.0, 3e38):
            found.add(frame, body(frame) / 50 * size, None)
    keypoints, _ = follow_persons(found.finish(range(3)), 9)
    assert np.isfinite(keypoints).all()
