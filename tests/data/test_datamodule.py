import shutil
from functools import partial
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from tiny import CLASSES, write_clips
from tiny import tiny_clips as make_clips

from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.data.dataset import KeypointBatch
from ptl_skel.data.sampling import sample_test
from ptl_skel.data.transforms import Augmentation, compact_box, crop_resize
from ptl_skel.errors import UserError
from ptl_skel.representations import Coordinates, JointHeatmaps, LimbHeatmaps
from ptl_skel.skeletons import LAYOUTS
from ptl_skel.storage import Clip, KeypointFile, KeypointFileError

# What a trainer says of itself, by what it is asked to do.
FUNCTIONS = {"training": "fit", "sanity_checking": "fit", "validating": "validate",
             "testing": "test", "predicting": "predict"}


def make(file, protocol="cross", stage=None, **changes):
    data = KeypointDataModule(file, JointHeatmaps, **{
        "protocol": protocol, "clip_len": 8, "size": 20, "eval_size": 24, "batch_size": 4,
        **changes})
    if stage is not None:
        data.trainer = trainer(stage)
    return data


def trainer(stage, world_size=1, rank=0, precision="32-true"):
    """What a data module asks of the trainer it is attached to."""
    state = SimpleNamespace(fn=FUNCTIONS[stage])
    return SimpleNamespace(world_size=world_size, global_rank=rank, state=state, current_epoch=0,
                           precision=precision, **{name: name == stage for name in FUNCTIONS})


@pytest.mark.parametrize("stage", ["training", "testing"])
def test_without_scores_all_joints_that_are_not_missing_count_alike(tiny_file, stage):
    data = make(tiny_file, stage=stage, use_scores=False)
    batch = next(iter(data.test_dataloader()))
    batch["scores"][:, :, ::3] = 0

    def inputs(scores):
        torch.manual_seed(0)
        varied = KeypointBatch(**{**batch.tensors, "scores": scores})
        if stage == "training":
            return data.maker.train(varied, torch.float32)
        return data.maker.evaluate(varied, torch.float32, several=True)

    found = inputs(batch["scores"])
    assert torch.equal(found, inputs(0.2 * batch["scores"]))
    data.maker.use_scores = True
    assert torch.equal(found, inputs((batch["scores"] > 0).float()))
    assert not torch.equal(found, inputs(batch["scores"]))


def clips_of(loader):
    return torch.cat([batch["clip"] for batch in loader]).tolist()


@pytest.fixture(scope="module")
def without_subjects(tmp_path_factory):
    """The tiny clips, in a file that does not know who performs."""
    return write_clips(tmp_path_factory.mktemp("anonymous") / "anonymous.h5",
                       make_clips(subjects=False))


@pytest.fixture(scope="module")
def broken_file(tiny_file, tmp_path_factory):
    """The tiny clips, with numbers among them that are not finite."""
    path = tmp_path_factory.mktemp("broken") / "broken.h5"
    shutil.copy(tiny_file, path)
    with h5py.File(path, "r+") as stored:
        rows = len(stored["frames/keypoints"])
        random = np.random.default_rng(0)
        for value in (np.nan, np.inf, -np.inf):
            broken = np.sort(random.permutation(rows)[: rows // 4])
            stored["frames/keypoints"][broken, 3, 0] = value
            stored["frames/scores"][broken, 4] = value
    return path


class TestHeader:
    def test_what_the_network_needs_to_know(self, tiny_file):
        data = make(tiny_file)
        assert (data.num_classes, data.num_channels) == (3, 13)
        assert data.class_names == CLASSES
        assert data.layout == LAYOUTS["penn13"]

    def test_class_names_from_outside_where_the_file_has_none(self, tmp_path):
        clips = make_clips(labelled=False)[:2]
        path = write_clips(tmp_path / "unnamed.h5", clips, class_names=(), splits={})
        with pytest.raises(ValueError, match="has no labels; make it with `ptl-skel preprocess"):
            make(path, None)
        assert make(path, None, class_names=["a", "b"]).num_classes == 2

    @pytest.mark.parametrize("on_device", [False, True])
    def test_labels_are_mapped_onto_the_classes_of_a_model_by_name(self, tiny_file, on_device):
        known = ["jump", *reversed(CLASSES)]
        data = make(tiny_file, stage="testing", class_names=known, on_device=on_device,
                    batch_size=6)
        assert data.class_names == tuple(known)
        batch = next(iter(data.test_dataloader()))
        made = data.on_after_batch_transfer(batch, 0)
        of_file = data.file.label[made["clip"].numpy()]
        assert [known[label] for label in made["label"]] == [CLASSES[label] for label in of_file]
        assert made["label"].tolist() != of_file.tolist()

    def test_clips_without_a_label_keep_none(self, tmp_path):
        clips = make_clips()[8:10] + make_clips(labelled=False)[:1]
        file = write_clips(tmp_path / "some.h5", clips)
        data = make(file, None, stage="predicting", class_names=CLASSES[::-1])
        made = data.on_after_batch_transfer(next(iter(data.predict_dataloader())), 0)
        assert made["label"].tolist() == [1, 1, -1]

    def test_a_class_that_the_model_does_not_know_is_refused_where_it_is_used(self, tmp_path):
        clips = make_clips()
        ids = [clip.id for clip in clips]
        file = write_clips(tmp_path / "two.h5", clips, splits={
            "known": {"train": ids[:8], "test": ids[8:16]}, "all": {"train": ids, "test": []}})
        known = ["walk", *CLASSES[:2]]
        said = "has clips of 'around', which the model does not know; its classes are 'walk', "
        for stage in ("fit", "test"):
            make(file, "known", class_names=known, val_fraction=0).setup(stage)
        assert len(make(file, "known", class_names=known).test_dataloader().dataset) == 8
        data = make(file, "all", class_names=known)
        with pytest.raises(UserError, match=said):
            data.setup("fit")
        with pytest.raises(UserError, match=said):
            data.train_dataloader()

    def test_a_class_that_the_model_does_not_know_counts_as_unknown_to_predict(self, tiny_file):
        data = make(tiny_file, None, stage="predicting", class_names=["walk", *CLASSES[:2]])
        data.setup("predict")
        assert data.unknown_classes() == [CLASSES[2]]
        labels = {data.on_after_batch_transfer(batch, 0)["label"].min().item()
                  for batch in data.predict_dataloader()}
        assert min(labels) == -1

    def test_a_name_that_two_classes_share_identifies_none(self, tiny_file):
        with pytest.raises(UserError, match="two of them are named 'a'"):
            make(tiny_file, class_names=["a", "b", "a"])

    def test_one_class_is_not_enough(self, tmp_path):
        file = write_clips(tmp_path / "one.h5", make_clips()[:8], class_names=CLASSES[:1])
        for protocol in ("cross", None):
            with pytest.raises(UserError, match="has only one class, 'sideways'; at least two"):
                make(file, protocol)
        assert make(file, class_names=CLASSES).num_classes == 3  # of a model

    def test_metres_are_no_pixels(self, tmp_path):
        clip = Clip("a", np.ones((1, 2, 13, 3), np.float32), np.ones((1, 2, 13)), (9, 9))
        path = write_clips(tmp_path / "metres.h5", [clip], splits={})
        with pytest.raises(ValueError, match="holds 3D coordinates; heatmaps need 2D pixels"):
            make(path, None)

    @pytest.mark.parametrize(("changes", "message"), [
        ({"clip_len": 0}, "`data.clip_len` must be >= 1, got 0"), ({"size": 0}, "`data.size`"),
        ({"eval_size": -1}, "`data.eval_size`"), ({"batch_size": 0}, "`data.batch_size`"),
        ({"test_clips": 0}, "`data.test_clips`"),
        ({"val_fraction": 1.0}, r"`data.val_fraction` must lie in 0..1, got 1.0"),
        ({"val_fraction": -0.1}, "`data.val_fraction`"),
    ])
    def test_bad_arguments_are_refused(self, tiny_file, changes, message):
        with pytest.raises(ValueError, match=message):
            make(tiny_file, **changes)


class TestProtocol:
    def test_a_wrong_name_lists_those_there_are(self, tiny_file):
        with pytest.raises(KeypointFileError, match="no protocol 'xsub'; it has: cross, own"):
            make(tiny_file, "xsub")

    @pytest.mark.parametrize("loader", ["train_dataloader", "test_dataloader"])
    def test_none_at_all_lists_those_there_are(self, tiny_file, loader):
        data = make(tiny_file, None)
        with pytest.raises(KeypointFileError, match=r"`data.protocol` is missing; .*: cross, own"):
            getattr(data, loader)()

    def test_an_empty_part(self, tmp_path):
        clips = make_clips()
        path = write_clips(tmp_path / "file.h5", clips,
                           splits={"all": {"train": [clip.id for clip in clips]}})
        with pytest.raises(KeypointFileError, match="no labelled clip to test on"):
            make(path, "all").test_dataloader()

    def test_clips_without_a_label_are_not_trained_or_tested_on(self, tmp_path):
        clips = make_clips()[:6] + make_clips(labelled=False)[6:]
        ids = [clip.id for clip in clips]
        path = write_clips(tmp_path / "some.h5", clips,
                           splits={"half": {"train": ids[3:], "test": ids[:3]},
                                   "blind": {"train": ids[:3], "test": ids[6:]}})
        data = make(path, "half", val_fraction=0)
        assert {part: clips.tolist() for part, clips in data.parts.items()} == {
            "train": [3, 4, 5], "val": [], "test": [0, 1, 2]}
        assert clips_of(data.predict_dataloader()) == list(range(24))
        with pytest.raises(KeypointFileError, match="no labelled clip to test on"):
            make(path, "blind").test_dataloader()


class TestHoldOut:
    def test_whole_subjects_where_they_are_known(self, tiny_file):
        data = make(tiny_file)
        file = data.file
        train, val = (set(file.subject[data.parts[part]].tolist()) for part in ("train", "val"))
        assert len(val) == 1
        assert train | val == {3, 5, 8}
        assert not train & val
        assert data.validation == f"held-out subjects {val.pop()}"

    @pytest.mark.parametrize(("fraction", "subjects"), [(0.1, 1), (0.3, 1), (0.4, 2), (0.9, 2)])
    def test_as_many_subjects_as_the_fraction_takes_but_never_all(self, tiny_file, fraction,
                                                                  subjects):
        data = make(tiny_file, val_fraction=fraction)
        assert len(np.unique(data.file.subject[data.parts["val"]])) == subjects
        assert len(data.parts["val"]) == 6 * subjects
        assert len(data.parts["train"]) == 18 - 6 * subjects

    def test_a_share_that_holds_out_nothing_is_refused(self, without_subjects):
        data = make(without_subjects, val_fraction=0.05)  # of 6 clips of each class
        data.setup("test")
        with pytest.raises(UserError, match=r"`data.val_fraction` 0.05 holds out no clip"):
            data.setup("fit")

    def test_the_same_share_of_each_class_where_they_are_not(self, without_subjects):
        data = make(without_subjects, val_fraction=1 / 3)
        for part, size in (("train", 4), ("val", 2)):
            assert np.bincount(data.file.label[data.parts[part]]).tolist() == [size] * 3
        assert data.validation == "clips held out of each class"

    def test_one_known_subject_is_split_by_class(self, tmp_path):
        clips = [clip for clip in make_clips() if clip.subject == 3]
        splits = {"all": {"train": [clip.id for clip in clips]}}
        path = write_clips(tmp_path / "one.h5", clips, splits=splits)
        data = make(path, "all", val_fraction=0.5)
        assert np.bincount(data.file.label[data.parts["val"]]).tolist() == [1, 1, 1]
        assert data.validation == "clips held out of each class"

    @pytest.mark.parametrize("fixture", ["tiny_file", "without_subjects"])
    def test_seeded_and_never_of_the_test_part(self, fixture, request):
        path = request.getfixturevalue(fixture)
        test = KeypointFile(path).split("cross", "test").tolist()
        held_out = set()
        for seed in range(8):
            data, again = (make(path, val_fraction=0.3, val_seed=seed) for _ in range(2))
            parts = {part: clips.tolist() for part, clips in data.parts.items()}
            assert parts["test"] == test
            assert parts["val"] == again.parts["val"].tolist()
            assert sorted(parts["train"] + parts["val"] + parts["test"]) == list(range(24))
            assert parts["val"]
            held_out.add(tuple(parts["val"]))
        assert len(held_out) >= 3

    def test_the_seed_of_the_run_does_not_move_it(self, tiny_file):
        assert (make(tiny_file, seed=1).parts["val"] == make(tiny_file, seed=2).parts["val"]).all()

    def test_a_part_of_the_protocol_comes_first(self, tiny_file):
        data = make(tiny_file, "own", val_fraction=0.5)
        assert data.parts["val"].tolist() == data.file.split("own", "val").tolist()
        assert len(data.parts["train"]) == 16
        assert data.validation == "val part"

    def test_a_part_of_the_protocol_without_labels_does_not(self, tmp_path):
        clips = make_clips(labelled=False)[:2] + make_clips()[2:]
        ids = [clip.id for clip in clips]
        path = write_clips(tmp_path / "blind.h5", clips,
                           splits={"own": {"train": ids[2:], "val": ids[:2]}})
        data = make(path, "own")
        assert len(data.parts["val"])
        assert data.validation.startswith("held-out subjects")

    def test_none(self, tiny_file):
        data = make(tiny_file, val_fraction=0)
        assert len(data.parts["train"]) == 18
        assert not data.has_validation
        assert data.validation == "none"
        data.trainer = trainer("training")
        assert data.val_dataloader() == []
        data.trainer = trainer("validating")
        with pytest.raises(KeypointFileError, match="to validate on; train with"):
            data.val_dataloader()

    def test_none_where_the_test_part_is_empty(self, tmp_path):
        clips = make_clips()
        path = write_clips(tmp_path / "file.h5", clips,
                           splits={"all": {"train": [clip.id for clip in clips]}})
        assert make(path, "all", val_on_test=True).validation == "none"

    def test_on_the_test_part_for_parity(self, tiny_file):
        data = make(tiny_file, val_on_test=True)
        assert len(data.parts["train"]) == 18
        assert data.parts["val"].tolist() == data.parts["test"].tolist()
        assert data.validation == "test part"


class TestLoaders:
    def test_training_shuffles_and_drops_the_rest(self, tiny_file):
        data = make(tiny_file, val_fraction=0)
        loader = data.train_dataloader()
        epochs = []
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            epochs.append(clips_of(loader))
        assert all(len(set(clips)) == len(clips) == 16 for clips in epochs)
        assert epochs[0] != epochs[1]
        assert set(epochs[0] + epochs[1]) <= set(data.parts["train"].tolist())

    def test_fewer_clips_than_a_batch_are_one_batch(self, tiny_file):
        data = make(tiny_file, val_fraction=0, batch_size=100)
        assert len(clips_of(data.train_dataloader())) == 18

    def test_fewer_clips_than_the_batches_of_all_processes(self, tiny_file):
        data = make(tiny_file, val_fraction=0, batch_size=16)
        clips = []
        for rank in range(2):
            data.trainer = trainer("training", 2, rank)
            clips += clips_of(data.train_dataloader())
        assert len(set(clips)) == len(clips) == 18

    def test_evaluation_takes_all_clips_in_order(self, tiny_file):
        data = make(tiny_file)
        assert clips_of(data.val_dataloader()) == data.parts["val"].tolist()
        assert clips_of(data.test_dataloader()) == data.parts["test"].tolist()
        assert clips_of(data.predict_dataloader()) == list(range(24))

    def test_a_clip_counts_once_for_each_view_in_a_batch(self, tiny_file):
        data = make(tiny_file, test_clips=2, batch_size=12)
        assert len(next(iter(data.test_dataloader()))["clip"]) == 6
        data = make(tiny_file, test_clips=2, test_flip=True, batch_size=12)
        assert len(next(iter(data.test_dataloader()))["clip"]) == 3
        data = make(tiny_file, test_clips=10, test_flip=True, batch_size=12)
        assert len(next(iter(data.test_dataloader()))["clip"]) == 1

    @pytest.mark.parametrize("in_memory", [True, False])
    def test_batches_do_not_depend_on_the_number_of_workers(self, tiny_file, in_memory):
        epochs = []
        for workers in (0, 2):
            data = make(tiny_file, num_workers=workers, in_memory=in_memory)
            loader = data.train_dataloader()
            loader.sampler.set_epoch(3)
            epochs.append(list(loader))
        for one, other in zip(*epochs, strict=True):
            assert all(torch.equal(one[name], other[name]) for name in one.tensors)

    @pytest.mark.parametrize(("part", "loader"), [("train", "train_dataloader"),
                                                  ("test", "test_dataloader")])
    def test_processes_share_the_clips(self, tiny_file, part, loader):
        data = make(tiny_file, val_fraction=0, batch_size=2)
        shares = []
        for rank in range(2):
            data.trainer = trainer("training", 2, rank)
            shares.append(clips_of(getattr(data, loader)()))
        assert not set(shares[0]) & set(shares[1])
        assert len(shares[0]) == len(shares[1])
        expected = data.parts[part].tolist()
        missing = set(expected) - set(shares[0] + shares[1])
        assert len(missing) <= (2 if part == "train" else 0)  # an incomplete batch is left out


class TestInputs:
    def test_evaluation_draws_the_box_in_the_evaluation_size(self, tiny_file):
        data = make(tiny_file, "own", stage="validating")
        batch = next(iter(data.val_dataloader()))
        inputs = data.on_after_batch_transfer(batch, 0)
        assert set(inputs) == {"inputs", "label", "clip", "views"}
        assert inputs["views"] == 1
        assert inputs["inputs"].shape == (2, 13, 8, 24, 24)
        assert inputs["clip"].tolist() == data.parts["val"].tolist()
        assert inputs["label"].tolist() == data.file.label[data.parts["val"]].tolist()
        for i, clip in enumerate(data.parts["val"]):
            assert_same(inputs["inputs"][i], render_slowly(data, clip, 1)[0][0])

    @pytest.mark.parametrize("stage", ["testing", "predicting"])
    @pytest.mark.parametrize(("clips", "flip"), [(1, False), (1, True), (3, False), (2, True)])
    def test_views_of_a_clip_stand_together(self, tiny_file, stage, clips, flip):
        data = make(tiny_file, stage=stage, test_clips=clips, test_flip=flip, batch_size=24)
        batch = next(iter(data.test_dataloader()))
        inputs = data.on_after_batch_transfer(batch, 0)
        number, views = len(batch["clip"]), clips * (1 + flip)
        assert number > 1
        assert inputs["views"] == views
        assert inputs["inputs"].shape == (number * views, 13, 8, 24, 24)
        assert inputs["inputs"].is_contiguous(memory_format=torch.channels_last_3d)
        of_each = inputs["inputs"].unflatten(0, (number, views))
        for i, clip in enumerate(batch["clip"].tolist()):
            drawn, mirrored = render_slowly(data, clip, clips)
            expected = ([view for pair in zip(drawn, mirrored, strict=True) for view in pair]
                        if flip else drawn)
            for view in range(views):
                assert_same(of_each[i, view], expected[view])

    def test_validation_has_one_view_whatever_the_test_has(self, tiny_file):
        data = make(tiny_file, stage="validating", test_clips=2, test_flip=True)
        batch = next(iter(data.val_dataloader()))
        assert len(batch["clip"]) == 4
        made = data.on_after_batch_transfer(batch, 0)
        assert (len(made["inputs"]), made["views"]) == (4, 1)

    def test_training_augments_in_the_training_size(self, tiny_file):
        data = make(tiny_file, stage="training", augment=Augmentation(rotation=20))
        batch = next(iter(data.train_dataloader()))
        torch.manual_seed(0)
        first, second = (data.on_after_batch_transfer(batch, 0)["inputs"] for _ in range(2))
        assert first.shape == (4, 13, 8, 20, 20)
        assert not torch.equal(first, second)
        torch.manual_seed(0)
        assert torch.equal(data.on_after_batch_transfer(batch, 0)["inputs"], first)

    def test_training_without_augmentation_is_the_plain_crop(self, tiny_file):
        plain = Augmentation(crop_area=(1, 1), flip=0)
        data = make(tiny_file, stage="training", augment=plain, eval_size=20)
        batch = next(iter(data.train_dataloader()))
        trained = data.on_after_batch_transfer(batch, 0)["inputs"]
        data.trainer = trainer("testing")
        assert torch.equal(data.on_after_batch_transfer(batch, 0)["inputs"], trained)

    def test_what_is_not_finite_in_the_file_does_not_reach_the_network(self, broken_file):
        for stage in ("training", "testing"):
            data = make(broken_file, stage=stage, val_fraction=0)
            loader = data.train_dataloader() if stage == "training" else data.test_dataloader()
            for batch in loader:
                inputs = data.on_after_batch_transfer(batch, 0)["inputs"]
                assert inputs.isfinite().all()
                assert inputs.max() <= 1

    def test_persons_who_are_not_there_draw_nothing(self, tiny_file):
        data = make(tiny_file, "own", stage="validating")
        batch = next(iter(data.val_dataloader()))
        assert data.file.num_persons[batch["clip"]].tolist() == [1, 2]
        alone = {name: value[:1] for name, value in batch.tensors.items()}
        alone |= {name: alone[name][:, :1] for name in ("keypoints", "scores")}
        assert torch.equal(data.on_after_batch_transfer(batch, 0)["inputs"][:1],
                           data.on_after_batch_transfer(KeypointBatch(**alone), 0)["inputs"])


class TestOnDevice:
    @pytest.mark.parametrize(("stage", "loader", "balanced"), [
        ("training", "train_dataloader", False), ("training", "train_dataloader", True),
        ("validating", "val_dataloader", False), ("testing", "test_dataloader", True),
        ("predicting", "predict_dataloader", False)])
    def test_batches_are_those_of_the_loader(self, broken_file, stage, loader, balanced):
        epochs = []
        for on_device in (False, True):
            torch.manual_seed(0)
            data = make(broken_file, stage=stage, on_device=on_device, test_clips=3,
                        balanced=balanced, augment=Augmentation(rotation=20))
            epochs.append([])
            for epoch in range(2):
                batches = getattr(data, loader)()
                batches.sampler.set_epoch(epoch)
                epochs[-1] += [data.on_after_batch_transfer(batch, 0) for batch in batches]
        assert len(epochs[0]) == len(epochs[1]) > 0
        for one, other in zip(*epochs, strict=True):
            assert one.pop("views") == other.pop("views")
            assert one.keys() == other.keys()
            assert all(torch.equal(one[name], other[name]) for name in one)

    @pytest.mark.parametrize("box", ["clip", "follow"])
    @pytest.mark.parametrize("sampling", ["first_part", "camera_rate"])
    def test_training_for_live_makes_the_same_batches_too(self, broken_file, sampling, box):
        epochs = []
        for on_device in (False, True):
            torch.manual_seed(0)
            data = make(broken_file, stage="training", on_device=on_device, sampling=sampling,
                        box=box, clip_len=24)
            epochs.append([data.on_after_batch_transfer(batch, 0)
                           for batch in data.train_dataloader()])
        for one, other in zip(*epochs, strict=True):
            assert torch.equal(one["inputs"], other["inputs"])
        nothing = [(batch["inputs"] == 0).flatten(3).all(-1).all(1) for batch in epochs[0]]
        assert torch.cat(nothing)[:, 0].any() == (sampling == "camera_rate")  # before the start

    @pytest.mark.parametrize("loader", ["train_dataloader", "predict_dataloader"])
    def test_the_loader_ships_numbers_alone(self, tiny_file, loader):
        for batch in getattr(make(tiny_file, on_device=True, num_workers=1), loader)():
            assert {tensor.dtype for tensor in batch.tensors.values()} == {torch.int64}
            assert sum(tensor.nbytes for tensor in batch.tensors.values()) < 500

    def test_the_file_is_not_held_in_memory_as_well(self, tiny_file):
        assert make(tiny_file, on_device=True).file._memory is None


class TestFollowBox:
    def test_an_input_does_not_depend_on_later_frames(self, tiny_file):
        data = make(tiny_file, stage="validating", box="follow")
        batch = next(iter(data.val_dataloader()))
        later = batch["keypoints"].clone()
        later[:, :, 5:] *= 1.5
        changed = KeypointBatch(**{**batch.tensors, "keypoints": later})
        whole, other = (data.on_after_batch_transfer(each, 0)["inputs"]
                        for each in (batch, changed))
        assert torch.equal(whole[:, :, :5], other[:, :, :5])
        assert not torch.equal(whole[:, :, 5:], other[:, :, 5:])

    def test_each_of_several_clips_has_its_own(self, tiny_file):
        several = make(tiny_file, stage="testing", box="follow", test_clips=3, test_flip=True)
        batch = next(iter(several.test_dataloader()))
        inputs = several.on_after_batch_transfer(batch, 0)["inputs"]
        one = make(tiny_file, stage="testing", box="follow")
        for clip in range(3):
            part = slice(8 * clip, 8 * clip + 8)
            alone = KeypointBatch(**{**batch.tensors, **{
                name: batch[name][:, :, part] for name in ("keypoints", "scores")}})
            assert_same(inputs[2 * clip], one.on_after_batch_transfer(alone, 0)["inputs"][0])

    def test_it_is_for_heatmaps(self, tiny_file):
        with pytest.raises(UserError, match=r"`data.box` follow is for heatmaps"):
            KeypointDataModule(tiny_file, Coordinates, box="follow")


class TestTwentyViews:
    """10 clips x (itself, its horizontal flip), in the box around all of them, at 64x64."""

    def test_each_is_the_one_drawn_alone(self, tiny_file):
        data = make(tiny_file, stage="testing", test_clips=10, test_flip=True, eval_size=64)
        loader = data.test_dataloader()
        for batch, _ in zip(loader, range(3), strict=False):
            inputs = data.on_after_batch_transfer(batch, 0)["inputs"]
            assert inputs.shape == (20, 13, 8, 64, 64)  # one sample at a time, however many views
            drawn, mirrored = render_slowly(data, batch["clip"].item(), 10)
            for i in range(10):
                assert_same(inputs[2 * i], drawn[i])
                assert_same(inputs[2 * i + 1], mirrored[i])

    def test_golden_pipeline_of_the_reference_from_pixels_to_the_views(self, shared, tmp_path):
        cases = [np.load(path) for path in sorted((shared / "golden").glob("pipeline_*.npz"))]
        assert cases
        layout = LAYOUTS["coco17"]
        data = make(write_clips(tmp_path / "coco.h5", make_clips(layout), layout=layout),
                    stage="testing", clip_len=5, test_flip=True, eval_size=64)
        for case in cases:  # in single precision: a file keeps scores in half
            batch = {name: torch.from_numpy(case[name])[None]
                     for name in ("keypoints", "scores", "frame_size")}
            batch |= {"label": torch.tensor([0]), "clip": torch.tensor([0])}
            views = data.on_after_batch_transfer(KeypointBatch(**batch), 0)["inputs"]
            expected = case["heatmaps_original_then_flipped"].reshape(2, 5, 17, 64, 64)
            np.testing.assert_allclose(views.transpose(1, 2).numpy(), expected, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("representation", [LimbHeatmaps, Coordinates])
    def test_of_other_representations_too(self, tiny_file, representation):
        data = make(tiny_file, stage="testing", test_clips=3, test_flip=True, batch_size=24)
        data.maker.representation = representation(data.layout)
        batch = next(iter(data.test_dataloader()))
        views = data.on_after_batch_transfer(batch, 0)["inputs"].unflatten(0, (-1, 6))
        alone = make(tiny_file, stage="testing", test_clips=3)
        alone.maker.representation = data.maker.representation
        for i in range(len(batch["clip"])):
            clip = {name: tensor[i : i + 1] for name, tensor in batch.tensors.items()}
            one = alone.on_after_batch_transfer(KeypointBatch(**clip), 0)
            torch.testing.assert_close(views[i, ::2], one["inputs"])
            mirrored = data.maker.representation.flip(one["inputs"])
            torch.testing.assert_close(views[i, 1::2], mirrored)


class TestCoordinates:
    def test_they_are_those_of_the_frame(self, tiny_file):
        data = KeypointDataModule(tiny_file, Coordinates, "own", clip_len=8, eval_size=24)
        data.trainer = trainer("validating")
        batch = next(iter(data.val_dataloader()))
        inputs = data.on_after_batch_transfer(batch, 0)["inputs"]
        assert inputs.shape[1:] == data.input_shape == (3, 8, 2, 13)
        height, width = batch["frame_size"].unbind(1)
        person = batch["keypoints"][:, 0]
        half = torch.stack([width, height], 1)[:, None, None] / 2
        torch.testing.assert_close(inputs[:, :2, :, 0].movedim(1, -1), (person - half) / half,
                                   rtol=0, atol=1e-5)
        torch.testing.assert_close(inputs[:, 2, :, 0], batch["scores"][:, 0])

    @pytest.mark.parametrize("stream", ["joint", "bone"])
    def test_missing_joints_are_in_the_same_corner_in_a_flipped_view(self, tiny_file, stream):
        data = KeypointDataModule(tiny_file, partial(Coordinates, stream=stream), "cross",
                                  clip_len=8, eval_size=24, test_flip=True)
        data.trainer = trainer("testing")
        batch = next(iter(data.test_dataloader()))
        batch["scores"][:, :, ::3, ::2] = 0
        views = data.on_after_batch_transfer(batch, 0)["inputs"].unflatten(0, (-1, 2))
        order, width = data.layout.mirrored_joints, batch["frame_size"][:, 1, None, None, None]
        keypoints = batch["keypoints"][..., order, :].clone()
        keypoints[..., 0] = width - keypoints[..., 0]
        flipped = KeypointBatch(**{**batch.tensors, "keypoints": keypoints,
                                   "scores": batch["scores"][..., order]})
        mirrored = data.on_after_batch_transfer(flipped, 0)["inputs"].unflatten(0, (-1, 2))
        torch.testing.assert_close(views[:, 1], mirrored[:, 0], atol=1e-5, rtol=0)
        torch.testing.assert_close(views[:, 0], mirrored[:, 1], atol=1e-5, rtol=0)

    def test_heatmaps_have_the_shape_that_is_announced(self, tiny_file):
        assert make(tiny_file).input_shape == (13, 8, 24, 24)
        assert make(tiny_file).links == LAYOUTS["penn13"].tree


def render_slowly(data, clip, num_clips):
    """Each clip of a sample by itself, and its horizontal flip, in the box around all clips."""
    stored = data.file.clip(clip)
    frames = sample_test(stored.keypoints.shape[1], data.clip_len, num_clips)
    keypoints = torch.from_numpy(stored.keypoints.astype(np.float32))[None]
    scores = torch.from_numpy(stored.scores.astype(np.float32))[None]
    size = data.maker.eval_size, data.maker.eval_size
    box = compact_box(keypoints[:, :, frames.ravel()], scores[:, :, frames.ravel()],
                      torch.tensor([stored.frame_size], dtype=torch.float32))
    render = JointHeatmaps(data.layout)
    drawn = [render(crop_resize(keypoints[:, :, part], box, size), scores[:, :, part], size)
             for part in frames]
    mirrored = [volume.flip(-1)[:, list(data.layout.mirrored_joints)] for volume in drawn]
    return [volume[0] for volume in drawn], [volume[0] for volume in mirrored]


def assert_same(volume, expected):
    torch.testing.assert_close(volume, expected, rtol=0, atol=1e-6)


def test_fewer_training_clips_than_processes(tiny_file):
    data = make(tiny_file)
    clips = len(data.parts["train"])
    assert data.train_batches(clips) == 1
    data.trainer = trainer("training", world_size=clips + 1)
    with pytest.raises(UserError, match=rf"fewer clips \({clips}\) than there are processes"):
        data.train_dataloader()
