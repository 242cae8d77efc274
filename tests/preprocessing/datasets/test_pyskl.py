import pickle
from pathlib import Path

import numpy as np
import pytest
from commandline import preprocess_or_check as main

from preprocessing.core import runner
from preprocessing.datasets.pyskl import PysklSource
from ptl_skel.storage import KeypointFile


def annotate(name="a", joints=17, *, coordinates=2, dtype=np.float16, **changes):
    random = np.random.default_rng(len(name))
    annotation = {
        "frame_dir": name, "label": 1, "img_shape": (120, 160), "original_shape": (240, 320),
        "total_frames": 4, "keypoint": random.uniform(1, 99, (2, 4, joints, coordinates)).astype(
            dtype), "keypoint_score": random.uniform(0.1, 1, (2, 4, joints)).astype(np.float16)}
    annotation.update(changes)
    return {key: value for key, value in annotation.items() if value is not None}


def dump(path: Path, *annotations, split=None) -> Path:
    path.write_bytes(pickle.dumps({"split": split or {}, "annotations": list(annotations)}))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.pkl"


def test_an_annotation_becomes_a_clip(path):
    annotation = annotate()
    source = PysklSource(dump(path, annotation))
    clip, = source.read("a")
    assert (clip.id, clip.label, clip.frame_size) == ("a", 1, (120, 160))
    assert clip.subject == clip.camera == clip.setup == clip.replication == -1
    np.testing.assert_array_equal(clip.keypoints, annotation["keypoint"])
    np.testing.assert_array_equal(clip.scores, annotation["keypoint_score"])
    assert source.header.class_names == ("0", "1")
    assert (source.header.dataset, source.header.layout.name) == ("some", "coco17")
    assert (source.header.dtype, source.header.num_coordinates) == ("float16", 2)


@pytest.mark.parametrize(("dtype", "stored"), [(np.float16, "float16"), (np.float32, "float32"),
                                               (np.float64, "float32"), (np.int64, "float32")])
def test_precision_is_that_of_the_source(path, dtype, stored):
    assert PysklSource(dump(path, annotate(dtype=dtype))).header.dtype == stored
    mixed = dump(path, annotate(dtype=dtype), annotate("b", dtype=np.float32))
    assert PysklSource(mixed).header.dtype == "float32"


def test_3d_keypoints_need_no_frame_size(path):
    source = PysklSource(dump(path, annotate(joints=25, coordinates=3, img_shape=None,
                                             original_shape=None)))
    assert (source.header.num_coordinates, source.header.layout.name) == (3, "ntu25")
    assert source.read("a")[0].frame_size == (1, 1)


def test_the_original_shape_stands_in_for_a_missing_one(path):
    source = PysklSource(dump(path, annotate(img_shape=None), annotate(
        "b", img_shape=None, original_shape=None)))
    assert source.read("a")[0].frame_size == (240, 320)
    with pytest.raises(ValueError, match="no `img_shape`"):
        source.read("b")


def test_missing_scores_follow_from_the_coordinates(path):
    keypoints = np.ones((1, 1, 17, 2), np.float32)
    keypoints[0, 0, :5] = [[0, 0], [0, 1], [np.nan, 1], [1, np.inf], [-5, 0]]
    source = PysklSource(dump(path, annotate(keypoint=keypoints, keypoint_score=None)))
    assert source.read("a")[0].scores[0, 0, :6].tolist() == [0, 1, 0, 0, 1, 1]


@pytest.mark.parametrize(("edition", "names", "second"), [
    (60, ("S001C001P001R001A001", "S017C003P040R002A060"), "xview"),
    (120, ("S018C001P045R001A061", "S031C002P106R002A120"), "xset")])
def test_the_hrnet_poses_of_ntu(tmp_path, edition, names, second):
    """As in ntu60_hrnet.pkl and ntu120_hrnet.pkl."""
    annotations = [annotate(name, label=int(name[-3:]) - 1, img_shape=(1080, 1920),
                            original_shape=(1080, 1920)) for name in names]
    split = {f"{protocol}_{part}": [name] for protocol in ("xsub", second)
             for part, name in zip(("train", "val"), names, strict=True)}
    path = dump(tmp_path / f"ntu{edition}_hrnet.pkl", *annotations, split=split)
    out = tmp_path / "out.h5"
    assert main(["pyskl", str(path), "--out", str(out)]) == 0
    file = KeypointFile(out)
    assert file.ids == list(names)
    assert (file.header.layout.name, file.header.dtype) == ("coco17", "float16")
    assert len(file.header.class_names) == edition
    for protocol in ("xsub", second):
        assert [file.split(protocol, part).tolist() for part in ("train", "test")] == [[0], [1]]
    for number, annotation in enumerate(annotations):
        clip = file.clip(number)
        assert clip.label == annotation["label"]
        np.testing.assert_array_equal(clip.keypoints, annotation["keypoint"])
        np.testing.assert_array_equal(clip.scores, annotation["keypoint_score"])


def test_ntu_names_are_understood(path):
    clip, = PysklSource(dump(path, annotate("S001C002P003R004A005"))).read("S001C002P003R004A005")
    assert (clip.setup, clip.camera, clip.subject, clip.replication) == (1, 2, 3, 4)


@pytest.mark.parametrize(("named", "taken"), [
    (["xsub_train", "xsub_val"], {"xsub": {"train", "test"}}),
    (["xsub_train", "xsub_val", "xsub_test"], {"xsub": {"train", "val", "test"}}),
    (["train", "val"], {"default": {"train", "test"}}),
    (["train", "test"], {"default": {"train", "test"}}),
    (["train1", "test1", "train2", "test2"], {"split1": {"train", "test"},
                                              "split2": {"train", "test"}}),
    (["fold_10_train", "fold_10_val"], {"fold_10": {"train", "test"}}),
    (["x_train"], {"x": {"train"}}),
])
def test_names_of_splits(path, named, taken):
    clips = [annotate(str(number)) for number in range(len(named))]
    split = {name: [str(number)] for number, name in enumerate(named)}
    splits = PysklSource(dump(path, *clips, split=split)).splits([])
    assert {protocol: set(parts) for protocol, parts in splits.items()} == taken
    assert sorted(clip for parts in splits.values() for part in parts.values()
                  for clip in part) == sorted(str(number) for number in range(len(named)))


def test_what_pyskl_calls_val_is_the_test_part(path):
    split = {"x_train": ["a"], "x_val": ["b"]}
    source = PysklSource(dump(path, annotate("a"), annotate("b"), split=split))
    assert source.splits([]) == {"x": {"train": ["a"], "test": ["b"]}}


def test_a_bare_list_of_annotations(path):
    path.write_bytes(pickle.dumps([annotate()]))
    source = PysklSource(path)
    assert source.keys() == ["a"]
    assert source.splits(["a"]) == {}


def test_the_layout_can_be_named_or_declared(path, tmp_path):
    dump(path, annotate(joints=15))
    with pytest.raises(ValueError, match=r"15 joints.*of several; name the layout with --layout"):
        PysklSource(path)
    assert PysklSource(path, layout="jhmdb15").header.layout.name == "jhmdb15"
    with pytest.raises(ValueError, match="15 joints, but --layout coco17 has 17"):
        PysklSource(path, layout="coco17")
    own = tmp_path / "own.yaml"
    own.write_text(f"{{name: own, joints: [{', '.join('abcdefghijklmno')}], limbs: [[a, b]], "
                   "pairs: []}")
    assert PysklSource(path, layout=str(own)).header.layout.name == "own"


def test_class_names_from_a_file(path, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("wave \nwalk\n")
    assert PysklSource(dump(path, annotate()), classes=names).header.class_names == ("wave", "walk")
    for content in (b"", b"wave\n\nwalk\n", b"\xff\n"):
        names.write_bytes(content)
        with pytest.raises(ValueError, match=r"names\.txt"):
            PysklSource(path, classes=names)


@pytest.mark.parametrize(("content", "message"), [
    (5, "PYSKL schema"),
    ({"annotations": {}}, "PYSKL schema"),
    ({"annotations": [{"label": 0}]}, "PYSKL schema"),
    ([annotate(keypoint=None)], "without keypoints, as the list of Kinetics-400"),
    ({"annotations": []}, "without keypoints"),
    ([annotate(), annotate()], "2 annotations of the clip 'a'"),
    ([annotate(label=10**9)], "label 1000000000, which looks damaged"),
    ({"annotations": [annotate()], "split": [1]}, "`split` that is not a dictionary"),
    ({"annotations": [annotate()], "split": {"all": ["a"]}}, "a split 'all'"),
    ({"annotations": [annotate()], "split": np.zeros(2)}, "`split` that is not a dictionary"),
    ({"annotations": [annotate()], "split": {"x_train": np.array(1)}}, "`split` that is not a"),
])
def test_what_is_no_such_pickle_is_refused(path, content, message):
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=message) as refusal:
        PysklSource(path)
    assert str(path) in str(refusal.value)


def test_flawed_annotations_are_skipped_with_their_reason(path, tmp_path):
    flaws = {
        "none": ({"keypoint": None}, "no `keypoint`"),
        "nobody": ({"keypoint": np.ones((0, 4, 17, 2)), "keypoint_score": np.ones((0, 4, 17))},
                   "no person"),
        "short": ({"keypoint": np.ones((1, 0, 17, 2)), "keypoint_score": np.ones((1, 0, 17))},
                  "no frame"),
        "joints": ({"keypoint": np.ones((1, 4, 25, 2))}, "for layout coco17"),
        "nowhere": ({"keypoint": np.full((2, 4, 17, 2), np.nan)}, "no joint is visible"),
        "scores": ({"keypoint_score": np.ones((1, 1, 1))}, "scores have the shape"),
        "texts": ({"keypoint_score": np.array(["a"])}, "not an array of numbers"),
        "label": ({"label": "wave"}, "label 'wave', which is not an integer"),
        "negative": ({"label": -7}, "label -7 is out of range"),
        "size": ({"img_shape": (0, 0)}, "frame size"),
        "large": ({"img_shape": (480, 2**25)}, "frame size"),
        **{name: ({"img_shape": size, "original_shape": None}, "no `img_shape`") for name, size in (
            ("endless", (480, 10**400)), ("nan", np.array([np.nan, 5])), ("ragged", [[1, 2], 3]))},
    }
    dump(path, annotate("good"), *(annotate(name, **changes)
                                   for name, (changes, _) in flaws.items()),
         split={"x_train": ["good", *flaws]})
    runner.run(PysklSource(path), tmp_path / "out.h5", workers=0)
    assert KeypointFile(tmp_path / "out.h5").ids == ["good"]
    report = (tmp_path / "out.skipped.csv").read_text().splitlines()[1:]
    for line, (name, (_, reason)) in zip(report, flaws.items(), strict=True):
        assert line.startswith(f"{name},")
        assert reason in line


def test_labels_beyond_the_named_classes_are_skipped(path, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("only\n")
    dump(path, annotate("a", label=0), annotate("b", label=1))
    runner.run(PysklSource(path, classes=names), tmp_path / "out.h5", workers=0)
    assert "b,label 1 is out of range: the classes are 0 to 0" in (
        tmp_path / "out.skipped.csv").read_text()


def test_sbu(shared, tmp_path):
    path = shared / "data" / "sbu" / "sbu_interaction.pkl"
    runner.run(PysklSource(path, layout="sbu15"), tmp_path / "sbu.h5", workers=0)
    file = KeypointFile(tmp_path / "sbu.h5")
    annotations = {a["frame_dir"]: a for a in pickle.loads(path.read_bytes())["annotations"]}
    assert len(file) == 282
    assert set(file.splits) == {f"fold{fold}" for fold in range(1, 6)}
    for fold in range(1, 6):
        assert len(file.split(f"fold{fold}", "train")) + len(file.split(f"fold{fold}", "test")) \
            == 282
    for position in (0, 100, 281):
        clip = file.clip(position)
        np.testing.assert_array_equal(clip.keypoints, annotations[clip.id]["keypoint"])
        assert clip.label == annotations[clip.id]["label"]
        assert (clip.scores == 1).all()


def test_the_hands_of_whole_bodies(path):
    given = annotate(joints=133)
    source = PysklSource(dump(path, given), layout="coco_hands59")
    clip, = source.read("a")
    chosen = [*range(17), *range(91, 133)]
    np.testing.assert_array_equal(clip.keypoints, given["keypoint"][:, :, chosen])
    np.testing.assert_array_equal(clip.scores, given["keypoint_score"][:, :, chosen])
    assert PysklSource(path).header.layout.name == "coco_wholebody133"
