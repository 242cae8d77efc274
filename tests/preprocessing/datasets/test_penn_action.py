import io
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from scipy.sparse import csr_matrix

from preprocessing.core import runner
from preprocessing.datasets.penn_action import CLASS_NAMES, PennActionSource
from ptl_skel.storage import KeypointFile


def label(frames=3, **changes):
    random = np.random.default_rng(frames)
    content = {
        "action": "squat", "pose": "front", "train": 1, "nframes": frames,
        "x": random.uniform(2, 160, (frames, 13)), "y": random.uniform(2, 120, (frames, 13)),
        "visibility": np.ones((frames, 13)), "bbox": np.ones((frames, 4)),
        "dimensions": np.array([120, 160, frames]), **changes}
    return {key: value for key, value in content.items() if value is not None}


def put(folder: Path, name: str, content) -> Path:
    raw = io.BytesIO()
    savemat(raw, content, do_compression=True)
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.mat").write_bytes(raw.getvalue())
    return folder


def test_a_label_file_becomes_a_clip(tmp_path):
    content = label(visibility=np.zeros((3, 13)), bbox=np.ones((2, 4)))
    source = PennActionSource(put(tmp_path, "0001", content))
    clip, = source.read("0001")
    assert (clip.id, clip.frame_size) == ("0001", (120, 160))
    assert CLASS_NAMES[clip.label] == "squat"
    np.testing.assert_allclose(clip.keypoints[0, :, :, 0], content["x"] - 1, rtol=1e-6)
    np.testing.assert_allclose(clip.keypoints[0, :, :, 1], content["y"] - 1, rtol=1e-6)
    assert (clip.scores == 0.5).all()  # their place is guessed


def test_an_invisible_joint_at_the_corner_is_missing_and_one_outside_is_not(tmp_path):
    content = label()
    content["visibility"][0] = 0
    content["visibility"][0, 4] = 1
    content["x"][0, :7] = [1, 1, -40, 500, 1.5, 0.75, 1.5]
    content["y"][0, :7] = [1, 7, -40, 500, 1.5, 0.75, 1.5]
    clip, = PennActionSource(put(tmp_path, "0001", content)).read("0001")
    assert clip.scores[0, 0, :7].tolist() == [0, 0.5, 0.5, 0.5, 1, 0, 0]
    assert clip.keypoints[0, 0, 1:5].tolist() == [[0, 6], [-41, -41], [499, 499], [0.5, 0.5]]


def test_the_official_split(tmp_path):
    for name, train in (("0002", 1), ("0001", -1), ("0003", 1)):
        put(tmp_path, name, label(train=train))
    source = PennActionSource(tmp_path)
    assert source.keys() == ["0001", "0002", "0003"]
    assert source.splits(["0001", "0003"]) == {"official": {"train": ["0003"], "test": ["0001"]}}


def test_the_folder_above_the_labels_will_do(tmp_path):
    put(tmp_path / "labels", "0001", label())
    assert PennActionSource(tmp_path).keys() == ["0001"]
    for wrong in (tmp_path / "none", tmp_path / "labels" / "0001.mat"):
        with pytest.raises(FileNotFoundError, match=r"no \.mat files in .*; give the folder"):
            PennActionSource(wrong)


@pytest.mark.parametrize(("changes", "message"), [
    ({"action": "sleep"}, "'sleep' is not one of"),
    ({"action": None}, "`action` is missing"),
    ({"train": None}, "`train` is missing"),
    ({"x": None}, "`x` is missing"),
    ({"y": np.zeros((3, 12))}, r"`y` is missing or not numbers of shape \(frames, 13\)"),
    ({"y": np.zeros((2, 13))}, "`x` and `y` differ"),
    ({"x": np.full((3, 13), "a")}, "`x` is missing or not numbers"),
    ({"visibility": np.ones((2, 13))}, "`visibility` is missing or does not have the shape"),
    ({"dimensions": 5}, "`dimensions`"),
    ({"dimensions": np.array([np.nan, 5.0])}, "`dimensions`"),
    ({"dimensions": np.array([np.inf, 5.0])}, "`dimensions`"),
    ({"train": csr_matrix([[1]])}, "`train` is missing"),
    ({"dimensions": np.array(["a", "b"], object)}, "`dimensions`"),
])
def test_flawed_files_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        PennActionSource(put(tmp_path, "0001", label(**changes))).read("0001")


@pytest.mark.parametrize("keep", [0, 3, 100, 127, 128, 200, 500])
def test_truncated_files_are_refused(tmp_path, keep):
    path = put(tmp_path, "0001", label()) / "0001.mat"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r" a \.mat file|is missing|is damaged|bytes"):
        PennActionSource(tmp_path).read("0001")


def test_penn_action(shared, tmp_path):
    labels = shared / "data" / "penn_action" / "labels"
    runner.run(PennActionSource(labels), tmp_path / "penn.h5", workers=0)
    file = KeypointFile(tmp_path / "penn.h5", in_memory=True)
    assert len(file) == 2326
    assert len(file.split("official", "train")) == 1258
    assert len(file.split("official", "test")) == 1068
    assert file.header.class_names == tuple(sorted(file.header.class_names))
    assert (np.bincount(file.label) > 0).all()
    assert (file.num_frames.min(), file.num_frames.max()) == (18, 663)
    missing = sum(int((file.frames(clip)[1] == 0).sum()) for clip in range(len(file)))
    assert missing == 187_326 + 26  # at the corner of resized videos; at (0, 0)
    content = loadmat(labels / "1516.mat")
    clip = file.clip(file.position("1516"))
    np.testing.assert_allclose(clip.keypoints[0, ..., 0], content["x"] - 1, rtol=1e-6)
    assert file.header.class_names[clip.label] == content["action"].item()
