"""Test clips that are in the training part as well are reported, by the command line."""

import pickle

import numpy as np
import pytest
from commandline import preprocess_or_check as main

from preprocessing.commands import split
from preprocessing.inspect.copies import copies_of
from ptl_skel.storage import KeypointFile


def annotation(name, seed):
    walk = np.random.default_rng(seed).uniform(50, 400, (1, 6, 17, 2)).astype(np.float32)
    return {"frame_dir": name, "label": 0, "img_shape": (480, 640), "total_frames": 6,
            "keypoint": walk, "keypoint_score": np.full((1, 6, 17), 0.9, np.float32)}


@pytest.fixture
def made(tmp_path, capsys):
    """The keypoint file of annotations and splits, and what was printed."""
    def make(annotations, splits):
        path, out = tmp_path / "mine.pkl", tmp_path / "mine.h5"
        path.write_bytes(pickle.dumps({"annotations": annotations, "split": splits}))
        assert main(["pyskl", str(path), "--out", str(out)]) == 0
        return out, " ".join(capsys.readouterr().out.replace("│", "").split())
    return make


COPIED = ([annotation("a", 1), annotation("b", 2), annotation("c", 1), annotation("d", 3)],
          {"x_train": ["a", "b"], "x_test": ["c", "d"]})


def test_the_summary_and_check_name_a_pair(made, capsys):
    out, said = made(*COPIED)
    expected = "1 of 2 have exactly the keypoints of a training clip, e.g. c those of a;"
    assert "training clips in x/test" in said
    assert expected in said
    assert main(["check", str(out)]) == 0
    assert expected in " ".join(capsys.readouterr().out.replace("│", "").split())


def test_other_clips_are_not_accused(made):
    longer = annotation("e", 1)
    longer["keypoint"] = longer["keypoint"].reshape(2, 3, 17, 2)  # the same numbers of two persons
    longer["keypoint_score"], longer["total_frames"] = np.ones((2, 3, 17), np.float32), 3
    _, said = made([annotation("a", 1), annotation("b", 2), annotation("c", 2), annotation("d", 3),
                    longer], {"x_train": ["a", "b", "c"], "x_test": ["d", "e"]})
    assert "exactly the keypoints" not in said


def test_a_random_split_reports_its_own(made, capsys):
    out, _ = made([annotation(str(i), i % 5) for i in range(20)],
                  {"x_train": [str(i) for i in range(20)]})
    assert split([str(out), "--by", "class", "--fractions", "0.5", "0.5"]) is None
    said = capsys.readouterr().out
    assert "training clips in random0/test: " in said
    assert " of 10 have exactly the keypoints of a training clip" in said


def test_nw_ucla_has_such_clips(shared, tmp_path):
    """Cameras 2 and 3 have 95 clips in common."""
    source = shared / "data" / "nw_ucla" / "nw_ucla_2d.pkl"
    out = tmp_path / "nw_ucla.h5"
    assert main(["pyskl", str(source), "--layout", "kinect20", "--out", str(out)]) == 0
    found = copies_of(KeypointFile(out))
    assert list(found) == ["training clips in xview/test"]
    assert found["training clips in xview/test"].startswith("95 of 464 have exactly")
