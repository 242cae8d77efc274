import json
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from ptl_skel.data.sampling import ABSENT, _hash, sample_test, sample_train

LENGTHS = st.integers(1, 64)
NUMBERS = st.integers(0, 2**31)


def drawn(num_frames, clip_len, seed, draw):
    """A single clip."""
    return sample_train(torch.tensor([num_frames]), clip_len, seed, torch.tensor([draw]))[0].numpy()


def test_golden_frames_of_the_reference(shared):
    cases = json.loads((shared / "golden/uniform_sampling_test.json").read_text())
    assert len(cases) == 64
    for case, expected in cases.items():
        num_frames, num_clips, clip_len = map(int, case.split("_"))
        frames = sample_test(num_frames, clip_len, num_clips)
        assert frames.shape == (num_clips, clip_len)
        assert frames.ravel().tolist() == np.ravel(expected).tolist(), case


@given(LENGTHS, LENGTHS, NUMBERS, NUMBERS)
def test_training_frames_lie_in_the_clip_and_follow_from_the_seed(num_frames, clip_len, seed, draw):
    frames = drawn(num_frames, clip_len, seed, draw)
    assert frames.shape == (clip_len,)
    assert 0 <= frames.min() <= frames.max() < num_frames
    assert frames.tolist() == drawn(num_frames, clip_len, seed, draw).tolist()


@given(LENGTHS, LENGTHS, NUMBERS, NUMBERS)
def test_a_clip_that_is_too_short_is_repeated(num_frames, clip_len, seed, draw):
    assume(num_frames < clip_len)
    frames = drawn(num_frames, clip_len, seed, draw)
    assert ((frames[1:] - frames[:-1]) % num_frames == 1 % num_frames).all()


@given(st.integers(1, 64), st.data(), NUMBERS, NUMBERS)
def test_a_clip_of_less_than_twice_the_frames_loses_single_ones(clip_len, data, seed, draw):
    num_frames = data.draw(st.integers(clip_len, 2 * clip_len - 1))
    frames = drawn(num_frames, clip_len, seed, draw)
    # Nothing is lost but single frames between those that are kept, or at the ends.
    assert set(np.diff(frames).tolist()) <= {1, 2}
    assert frames[0] <= 1
    assert frames[-1] >= num_frames - 2


@given(LENGTHS, st.integers(2, 400), NUMBERS, NUMBERS)
def test_a_longer_clip_gives_one_frame_of_each_segment(clip_len, times, seed, draw):
    num_frames = clip_len * times // 2 + clip_len
    frames = drawn(num_frames, clip_len, seed, draw)
    for segment, frame in enumerate(frames.tolist()):
        start, end = (num_frames * i // clip_len for i in (segment, segment + 1))
        assert start <= frame < end


@pytest.mark.parametrize(("num_frames", "clip_len", "possible"), [
    (3, 5, 3),  # a start
    (6, 5, 6),  # which of the frames is left out
    (7, 5, 15),  # which two
    (12, 3, 4**3),  # one of 4 frames in each segment
])
def test_every_choice_of_frames_comes_up_equally_often(num_frames, clip_len, possible):
    times = 300
    draws = torch.arange(times * possible)
    frames = sample_train(torch.full_like(draws, num_frames), clip_len, 0, draws)
    seen = Counter(map(tuple, frames.tolist()))
    assert len(seen) == possible
    # The sum of squares is chi-squared: its mean is possible - 1, its variance twice as much.
    chi = sum((count - times) ** 2 / times for count in seen.values())
    assert abs(chi - (possible - 1)) < 4 * (2 * (possible - 1)) ** 0.5


@given(st.lists(st.tuples(st.integers(1, 200), NUMBERS), min_size=1, max_size=9), LENGTHS, NUMBERS)
def test_a_clip_does_not_depend_on_the_batch_it_is_in(clips, clip_len, seed):
    num_frames, draws = (torch.tensor(numbers) for numbers in zip(*clips, strict=True))
    batch = sample_train(num_frames, clip_len, seed, draws)
    assert batch.tolist() == [drawn(frames, clip_len, seed, draw).tolist()
                              for frames, draw in clips]


def test_the_hash_is_that_of_the_paper():
    # The first outputs of SplitMix64 from the state 0, as published with the generator.
    golden = 0x9E3779B97F4A7C15
    states = torch.tensor([0, golden - 2**64, 2 * golden % 2**64])
    assert [number % 2**64 for number in _hash(states).tolist()] == [
        0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_different_draws_and_different_seeds_give_different_frames():
    frames = {tuple(drawn(500, 32, seed, draw)) for seed in range(-9, 9) for draw in range(9)}
    assert len(frames) == 162


def test_one_frame_is_shown_all_the_time():
    assert sample_test(1, 4, 2).tolist() == [[0] * 4] * 2
    assert drawn(1, 4, 0, 0).tolist() == [0] * 4


class TestFirstPart:
    def test_half_of_the_draws_are_of_the_whole_clip(self):
        draws = torch.arange(4000)
        frames = sample_train(torch.full_like(draws, 400), 8, 0, draws, "first_part")
        whole = sample_train(torch.full_like(draws, 400), 8, 0, draws)
        assert (frames == whole).all(1).float().mean() == pytest.approx(0.5, abs=0.03)

    def test_the_others_are_spread_over_a_first_part_of_any_length(self):
        draws = torch.arange(4000)
        frames = sample_train(torch.full_like(draws, 400), 50, 0, draws, "first_part")
        last = frames[:, -1].sort().values
        assert 58 <= last[0] <= 64  # 15 % of 400 frames
        # Uniform between 60 and 400 for half of the draws: 125 in 1000 are below 145.
        assert (last < 145).float().mean() == pytest.approx(0.125, abs=0.02)

    @given(LENGTHS, LENGTHS, NUMBERS, NUMBERS)
    def test_frames_lie_in_the_clip_and_rise_unless_it_is_repeated(self, num_frames, clip_len,
                                                                   seed, draw):
        frames = sample_train(torch.tensor([num_frames]), clip_len, seed, torch.tensor([draw]),
                              "first_part")[0]
        assert 0 <= frames.min() <= frames.max() < num_frames


class TestCameraRate:
    @given(st.integers(1, 300), st.integers(8, 64), NUMBERS, NUMBERS)
    def test_a_window_is_evenly_spaced_and_absent_before_the_start(self, num_frames, clip_len, seed,
                                                                   draw):
        frames = sample_train(torch.tensor([num_frames]), clip_len, seed, torch.tensor([draw]),
                              "camera_rate")[0].numpy()
        present = frames[frames >= 0]
        assert (frames[: clip_len - len(present)] == ABSENT).all()
        assert present.max() < num_frames
        steps = set(np.diff(present).tolist())
        assert len(steps) <= 1
        if steps and len(present) < clip_len:  # nothing is left out where there is room
            assert present[0] < max(steps)

    def test_where_windows_end_and_how_fast_they_are(self):
        draws = torch.arange(9000)
        frames = sample_train(torch.full_like(draws, 600), 32, 0, draws, "camera_rate")
        last = frames[:, -1]
        assert (last == 599).float().mean() == pytest.approx(0.5, abs=0.02)
        assert 7 <= last.min() <= 12
        assert (last < 304).float().mean() == pytest.approx(0.25, abs=0.02)
        stride = last - frames[:, -2]
        # Seven in ten have a stride of 1 to 3, the others that of the whole clip until then.
        assert (stride <= 3).float().mean() == pytest.approx(0.7, abs=0.04)
        assert (stride[last == 599] == 19).float().mean() == pytest.approx(0.3, abs=0.02)
        for one in (1, 2, 3):
            share = (stride[last == 599] == one).float().mean()
            assert share == pytest.approx(0.7 / 3, abs=0.03)


@pytest.mark.parametrize("sampling", ["first_part", "camera_rate"])
def test_a_draw_is_the_same_in_any_batch(sampling):
    lengths, draws = torch.tensor([5, 70, 300]), torch.tensor([8, 2, 1000])
    together = sample_train(lengths, 16, 3, draws, sampling)
    for i in range(3):
        assert torch.equal(sample_train(lengths[i : i + 1], 16, 3, draws[i : i + 1], sampling)[0],
                           together[i])
