import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ptl_skel.sampling import sample_test, sample_train

LENGTHS = st.integers(1, 64)
SEEDS = st.tuples(st.integers(0, 2**31), st.integers(0, 2**31))


def test_golden_frames_of_the_reference(shared):
    cases = json.loads((shared / "golden/uniform_sampling_test.json").read_text())
    assert len(cases) == 64
    for case, expected in cases.items():
        num_frames, num_clips, clip_len = map(int, case.split("_"))
        frames = sample_test(num_frames, clip_len, num_clips)
        assert frames.shape == (num_clips, clip_len)
        assert frames.ravel().tolist() == np.ravel(expected).tolist(), case


@given(LENGTHS, LENGTHS, SEEDS)
def test_training_frames_lie_in_the_clip_and_follow_from_the_seed(num_frames, clip_len, seed):
    frames = sample_train(num_frames, clip_len, seed)
    assert frames.shape == (clip_len,)
    assert 0 <= frames.min() <= frames.max() < num_frames
    assert frames.tolist() == sample_train(num_frames, clip_len, seed).tolist()


@given(LENGTHS, LENGTHS, SEEDS)
def test_a_clip_that_is_too_short_is_repeated(num_frames, clip_len, seed):
    assume(num_frames < clip_len)
    frames = sample_train(num_frames, clip_len, seed)
    assert ((frames[1:] - frames[:-1]) % num_frames == 1 % num_frames).all()


@given(st.integers(1, 64), st.data(), SEEDS)
def test_a_clip_of_less_than_twice_the_frames_loses_single_ones(clip_len, data, seed):
    num_frames = data.draw(st.integers(clip_len, 2 * clip_len - 1))
    frames = sample_train(num_frames, clip_len, seed)
    # Nothing is lost but single frames between those that are kept, or at the ends.
    assert set(np.diff(frames).tolist()) <= {1, 2}
    assert frames[0] <= 1
    assert frames[-1] >= num_frames - 2


@given(LENGTHS, st.integers(2, 400), SEEDS)
def test_a_longer_clip_gives_one_frame_of_each_segment(clip_len, times, seed):
    num_frames = clip_len * times // 2 + clip_len
    frames = sample_train(num_frames, clip_len, seed)
    for segment, frame in enumerate(frames.tolist()):
        start, end = (num_frames * i // clip_len for i in (segment, segment + 1))
        assert start <= frame < end


@pytest.mark.parametrize(("num_frames", "clip_len", "possible"), [
    (3, 5, 3),  # a start
    (6, 5, 6),  # which of the frames is left out
    (12, 3, 4**3),  # one of 4 frames in each segment
])
def test_every_choice_of_frames_comes_up(num_frames, clip_len, possible):
    seen = {tuple(sample_train(num_frames, clip_len, (0, draw))) for draw in range(1500)}
    assert len(seen) == possible


def test_different_draws_and_different_seeds_give_different_frames():
    drawn = {tuple(sample_train(500, 32, (seed, draw))) for seed in range(9) for draw in range(9)}
    assert len(drawn) == 81


def test_one_frame_is_shown_all_the_time():
    assert sample_test(1, 4, 2).tolist() == [[0] * 4] * 2
    assert sample_train(1, 4, (0, 0)).tolist() == [0] * 4
