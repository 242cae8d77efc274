import pickle
import shutil

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import write_clips
from torch.utils.data import DataLoader

from ptl_skel.data import dataset
from ptl_skel.data.datamodule import _as_fetched
from ptl_skel.data.dataset import ClipDataset, DrawSampler, ResidentClips, balanced_clips
from ptl_skel.data.sampling import sample_test, sample_train
from ptl_skel.storage import Clip, KeypointFile

CLIPS = np.array([23, 4, 11, 0, 17, 8])  # in an order of their own, with one person and with two


@pytest.fixture(scope="module", params=[True, False], ids=["memory", "disk"])
def file(tiny_file, request):
    return KeypointFile(tiny_file, in_memory=request.param)


def write_one(path, persons, frames):
    random = np.random.default_rng(0)
    clip = Clip("a", random.uniform(1, 99, (persons, frames, 13, 2)).astype(np.float32),
                np.ones((persons, frames, 13), np.float32), (100, 100))
    return KeypointFile(write_clips(path / "one.h5", [clip], splits={}))


class TestBatch:
    @pytest.mark.parametrize("draws", [[0], [5, 1, 1, 3], [6, 13, 602, 4]])
    @pytest.mark.parametrize("seed", [None, 7])
    def test_it_holds_what_reading_clip_by_clip_gives(self, file, draws, seed):
        batch = ClipDataset(file, CLIPS, 16, seed=seed).__getitems__(draws)
        clips = CLIPS[np.array(draws) % 6]
        persons = file.num_persons[clips].max()
        assert batch["keypoints"].shape == (len(draws), persons, 16, 13, 2)
        assert batch["scores"].shape == (len(draws), persons, 16, 13)
        for i, (draw, position) in enumerate(zip(draws, clips, strict=True)):
            clip = file.clip(position)
            length = clip.keypoints.shape[1]
            frames = (sample_test(length, 16)[0] if seed is None else
                      sample_train(torch.tensor([length]), 16, seed, torch.tensor([draw]))[0])
            present = len(clip.keypoints)
            keypoints, scores = batch["keypoints"][i].numpy(), batch["scores"][i].numpy()
            assert np.array_equal(keypoints[:present], clip.keypoints[:, frames])
            assert np.array_equal(scores[:present], clip.scores[:, frames])
            assert not scores[present:].any()
            assert batch["frame_size"][i].tolist() == [240, 320]
            assert batch["label"][i] == clip.label
            assert batch["clip"][i] == position
        assert batch["label"].dtype == batch["clip"].dtype == torch.int64
        assert (batch["keypoints"].dtype == batch["scores"].dtype == batch["frame_size"].dtype
                == torch.float32)

    def test_persons_of_the_largest_clip_make_room(self, file):
        dataset = ClipDataset(file, np.array([0, 1]), 4)
        assert file.num_persons[:2].tolist() == [1, 2]
        assert dataset[0]["keypoints"].shape[1] == 1
        assert dataset[1]["keypoints"].shape[1] == 2
        assert dataset.__getitems__([0, 1])["keypoints"].shape[1] == 2

    def test_several_clips_of_a_sample_follow_each_other(self, file):
        batch = ClipDataset(file, CLIPS, 8, num_clips=3)[2]
        frames = sample_test(int(file.num_frames[11]), 8, 3)
        assert len({tuple(row) for row in frames.tolist()}) == 3
        expected = file.frames(11)[0][:, frames.ravel()]
        assert np.array_equal(batch["keypoints"][0].numpy(), expected)

    @given(st.permutations(range(12)), st.integers(1, 12))
    def test_a_draw_does_not_depend_on_the_batch_it_is_in(self, tiny_file, order, size):
        dataset = ClipDataset(KeypointFile(tiny_file), CLIPS, 8, seed=3)
        alone = {draw: dataset[draw] for draw in range(12)}
        for start in range(0, 12, size):
            draws = order[start : start + size]
            batch = dataset.__getitems__(draws)
            for i, draw in enumerate(draws):
                persons = alone[draw]["keypoints"].shape[1]
                assert torch.equal(batch["keypoints"][i, :persons], alone[draw]["keypoints"][0])

    def test_each_pass_over_a_clip_draws_other_frames(self, file):
        dataset = ClipDataset(file, CLIPS, 8, seed=3)
        passes = {dataset[6 * epoch]["keypoints"].numpy().tobytes() for epoch in range(5)}
        assert len(passes) == 5
        other = ClipDataset(file, CLIPS, 8, seed=4)[0]["keypoints"]
        assert not torch.equal(other, dataset[0]["keypoints"])

    @pytest.mark.parametrize(("persons", "frames"), [(1, 1), (1, 10_001), (300, 2)])
    def test_extreme_clips(self, tmp_path, persons, frames):
        file = write_one(tmp_path, persons, frames)
        for seed in (None, 0):
            batch = ClipDataset(file, np.array([0]), 32, seed=seed)[0]
            assert batch["keypoints"].shape == (1, persons, 32, 13, 2)
            assert (batch["scores"] == 1).all()
            stored = {keypoints.tobytes() for keypoints in file.frames(0)[0][0]}
            assert {keypoints.tobytes() for keypoints in batch["keypoints"][0, 0].numpy()} <= stored

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_a_stored_joint_that_is_not_finite_is_missing(self, tiny_file, tmp_path, value):
        path = tmp_path / "broken.h5"
        shutil.copy(tiny_file, path)
        with h5py.File(path, "r+") as stored:
            stored["frames/keypoints"][0, 3, 1] = value
            stored["frames/scores"][1, 5] = np.nan
        file = KeypointFile(path)
        frames = int(file.num_frames[0])
        batch = ClipDataset(file, np.array([0]), frames)[0]  # as many as there are: each once
        expected = file.frames(0)[1].astype(np.float32)
        expected[0, 0, 3] = expected[0, 1, 5] = 0
        assert np.array_equal(batch["scores"][0].numpy(), expected)
        assert batch["keypoints"].isfinite().all()
        assert batch["keypoints"][0, 0, 0, 3].tolist() == [0, 0]

    @pytest.mark.parametrize(("clip_len", "num_clips"), [(0, 1), (8, 0), (-3, 1)])
    def test_bad_arguments_are_refused(self, file, clip_len, num_clips):
        with pytest.raises(ValueError, match=f"must be >= 1, got {clip_len} and {num_clips}"):
            ClipDataset(file, CLIPS, clip_len, num_clips=num_clips)

    def test_it_goes_to_a_worker(self, file):
        dataset = ClipDataset(file, CLIPS, 8, seed=3)
        before = dataset[1]  # opens the handle
        pickled = pickle.dumps(dataset)
        assert len(pickled) < 2000
        after = pickle.loads(pickled)[1]
        assert all(torch.equal(before[name], after[name]) for name in before.tensors)

    def test_a_worker_that_is_not_forked_reads_the_same(self, tiny_file, monkeypatch):
        monkeypatch.chdir(tiny_file.parent)  # the worker begins elsewhere
        file = KeypointFile(tiny_file.name, in_memory=True)
        dataset = ClipDataset(file, CLIPS, 8, seed=3)
        loader = DataLoader(dataset, batch_size=2, num_workers=1, multiprocessing_context="spawn",
                            collate_fn=_as_fetched)
        batches = list(loader)
        assert len(batches) == 3
        for number, batch in enumerate(batches):
            expected = dataset.__getitems__([2 * number, 2 * number + 1])
            assert all(torch.equal(batch[name], expected[name]) for name in expected.tensors)


class TestDrawSampler:
    @given(st.integers(1, 50), st.integers(1, 4))
    def test_processes_together_see_each_clip_once_up_to_padding(self, clips, processes):
        draws = [list(DrawSampler(clips, processes, rank, None)) for rank in range(processes)]
        shares = {len(share) for share in draws}
        assert len(shares) == 1
        joined = [draw for share in draws for draw in share]
        assert set(joined) == set(range(clips))
        assert len(joined) < clips + processes

    @given(st.integers(1, 50), st.integers(1, 4), st.integers(0, 5), st.integers(0, 9))
    def test_a_shuffled_epoch_repeats_no_clip(self, clips, processes, epoch, seed):
        draws = []
        for rank in range(processes):
            sampler = DrawSampler(clips, processes, rank, seed)
            sampler.set_epoch(epoch)
            share = list(sampler)
            assert len(share) == len(sampler) == clips // processes
            draws += share
        assert len(set(draws)) == len(draws)
        assert all(epoch * clips <= draw < (epoch + 1) * clips for draw in draws)

    def test_the_order_follows_from_seed_and_epoch(self):
        def order(seed, epoch):
            sampler = DrawSampler(20, 1, 0, seed)
            sampler.set_epoch(epoch)
            return tuple(draw % 20 for draw in sampler)

        orders = {order(seed, epoch) for seed in range(3) for epoch in range(3)}
        # torch's sampler adds seed and epoch, so that (0, 1) and (1, 0) agree.
        assert len(orders) == 5
        assert order(1, 2) == order(1, 2)
        assert all(sorted(clips) == list(range(20)) for clips in orders)
        assert list(DrawSampler(20, 1, 0, None)) == list(range(20))


labels = st.lists(st.integers(0, 5), min_size=1, max_size=60).map(np.array)


class TestBalanced:
    @given(labels, st.integers(1, 4), st.integers(0, 5), st.integers(0, 9))
    def test_each_class_is_as_frequent_as_every_other(self, labels, processes, epoch, seed):
        draws = []
        for rank in range(processes):
            sampler = DrawSampler(len(labels), processes, rank, seed, labels)
            sampler.set_epoch(epoch)
            share = list(sampler)
            assert len(share) == len(sampler) == len(labels) // processes
            draws += share
        assert len(set(draws)) == len(draws)  # so the frames of a clip that comes twice differ
        clips = np.array(draws, int) % len(labels)
        counts = np.bincount(labels[clips], minlength=6)[np.unique(labels)]
        left_out = len(labels) - len(draws)
        assert counts.max() - counts.min() <= 1 + left_out
        # No clip comes again before every other one of its class has come.
        for label in np.unique(labels):
            times = np.bincount(clips, minlength=len(labels))[labels == label]
            assert times.max() - times.min() <= 1 + left_out

    @given(labels, st.integers(1, 5))
    def test_draws_of_epochs_differ(self, labels, seed):
        sampler = DrawSampler(len(labels), 1, 0, seed, labels)
        epochs = []
        for epoch in range(3):
            sampler.set_epoch(epoch)
            epochs.append(list(sampler))
            assert list(sampler) == epochs[-1]
        assert len({draw for epoch in epochs for draw in epoch}) == 3 * len(labels)

    @given(labels, st.integers(0, 60), st.integers(1, 2))
    def test_an_epoch_continues_where_it_was_left(self, labels, done, processes):
        sampler = DrawSampler(len(labels), processes, 0, 3, labels)
        sampler.set_epoch(2)
        whole = list(sampler)
        resumed = DrawSampler(len(labels), processes, 0, 3, labels)
        resumed.begin_at(2, done)
        assert list(resumed) == whole[done:]

    def test_by_hand(self):
        labels = np.array([0] * 9 + [1])
        clips = balanced_clips(labels, (0, 0))
        assert (clips == 9).sum() == 5
        assert len(set(clips[clips < 9])) == 5
        others = [balanced_clips(labels, (0, epoch)) for epoch in range(20)]
        assert set(np.concatenate(others)) == set(range(10))  # every clip has its turn


@pytest.mark.parametrize("rows", [1, 7, 10**6])
def test_a_file_is_sent_to_a_device_in_parts(file, monkeypatch, rows):
    monkeypatch.setattr(dataset, "ROWS_AT_ONCE", rows)
    resident = ResidentClips(file, torch.device("cpu"))
    for clip in range(len(file)):
        keypoints, scores = file.frames(clip)
        part = slice(int(file.start[clip]), int(file.start[clip]) + scores[..., 0].size)
        np.testing.assert_array_equal(resident.keypoints[part].view(keypoints.shape), keypoints)
        np.testing.assert_array_equal(resident.scores[part].view(scores.shape), scores)
    assert len(resident.keypoints) == len(resident.scores) == file.num_rows
