"""Inputs as people have them that used to be silently misread, by the command line."""

import csv

import numpy as np
import pytest
from commandline import preprocess_or_check as main

from ptl_skel.storage import KeypointFile

SIZED = ("--frame_size", "480", "640")


@pytest.fixture
def read(shared, tmp_path, monkeypatch):
    """Runs a command on the cases and returns the keypoint file."""
    monkeypatch.chdir(shared / "cases")

    def run(*arguments):
        assert main([*arguments, "--out", str(tmp_path / "out.h5"), "--workers", "0"][
            : -2 if arguments[0] == "pyskl" else None]) == 0
        return KeypointFile(tmp_path / "out.h5")

    return run


@pytest.mark.parametrize(("arguments", "message"), [
    (("pyskl", "axes_swapped/TM.pkl"), "`total_frames` is 20, .* the shape (20, 2, 17, 2)"),
    (("arrays", "axes_swapped/TM.npz", *SIZED), "20 persons in 2 frames"),
    (("arrays", "csv_upper_body/upper.csv", *SIZED), "name it with --layout"),
    (("arrays", "csv_upper_body/float.csv", *SIZED), "name it with --layout"),
    (("coco", "joint_names_in_file/posetrack.json"), "head_bottom, .* with --layout"),
    (("pyskl", "labels_from_1/one_based.pkl", "--classes", "labels_from_1/three.txt"),
     "seem to count from 1"),
    (("coco", "labels_from_1/clips", "--labels", "labels_from_1/digits.csv", "--classes",
      "labels_from_1/digits.txt", *SIZED), "the name of a class or its index"),
    (("pyskl", "pickle_messages/list.pkl"), "`keypoint` of the type list; .* (M, T, V, 2)"),
    (("pyskl", "pickle_messages/TV2.pkl"), "`keypoint` of the shape (6, 17, 2); .* (M, T, V, 2)"),
    (("pyskl", "pickle_messages/ints.pkl"), "`frame_dir` of the type int"),
    (("pyskl", "pickle_messages/single.pkl"), "a single clip; put those of all clips in a list"),
    (("coco", "relative_overflow/coco", *SIZED), "relative, not in pixels"),
    (("arrays", "relative_overflow/mp.csv", "--layout", "blazepose33", *SIZED), "relative, not in"),
    (("openpose", "relative_overflow/op", *SIZED), "relative, not in pixels"),
    (("arrays", "third_column/movenet.npz", *SIZED), "third values look like scores"),
    (("arrays", "third_column/mediapipe.npz", *SIZED), "relative .* not in metres"),
    (("pyskl", "third_column/xys.pkl"), "third values look like scores"),
    (("coco", "unsupported_formats/kinetics.json", *SIZED), "preprocess kinetics_skeleton` reads"),
    (("coco", "unsupported_formats/nwucla.json", *SIZED), "preprocess nw_ucla` reads"),
    (("coco", "unsupported_formats/mmpose3d.json", *SIZED), "human3d .* in 2D can be read instead"),
    (("yolo", "xy_without_score/yolo26", *SIZED), "without a score; name the layout"),
    (("yolo", "xy_without_score/yolo20", *SIZED), "name another layout with --layout"),
    (("coco", "xy_without_score/flat27.json", *SIZED), "without a score, name the layout"),
    (("openpose", "xy_without_score/op27", *SIZED), "without a score, name the layout"),
])
def test_what_is_certainly_wrong_is_refused(shared, tmp_path, monkeypatch, capsys, arguments,
                                            message):
    monkeypatch.chdir(shared / "cases")
    assert main([*arguments, "--out", str(tmp_path / "out.h5")]) == 2
    complaint = capsys.readouterr().err.splitlines()[-1]
    for part in message.split(".*"):
        assert part.strip() in complaint
    assert not (tmp_path / "out.h5").exists()


def test_a_sentinel_is_a_missing_joint(read, tmp_path):
    _, scores = read("arrays", "absurd_coordinates/sentinel.npz").frames(0)
    assert (scores == 0).sum() == 1
    with (tmp_path / "out.repaired.csv").open() as file:
        assert [row["reason"] for row in csv.DictReader(file)] == [
            "joints more than 10 frame sizes away count as missing: 1"]


@pytest.mark.parametrize("name", ["upper", "float", "named"])
def test_a_table_whose_layout_is_named(read, name):
    file = read("arrays", f"csv_upper_body/{name}.csv", "--layout", "coco17", *SIZED)
    keypoints, scores = file.frames(0)
    if name == "named":
        assert keypoints[0, 0, :2].tolist() == [[100, 200], [110, 190]]
    else:
        assert keypoints[0, 0, :2].round(1).tolist() == pytest.approx(
            np.array([[294.6, 235.4], [265.2, 170.5]]), abs=0.1)
    assert scores[0, :, 16].any() == (name == "float")


@pytest.mark.parametrize("tool", ["results", "mmpose"])
def test_a_file_per_frame_is_one_clip(read, tool):
    file = read("coco", f"json_per_frame/{tool}", *SIZED)
    assert file.ids == ["videoA", "videoB"]
    assert file.num_frames.tolist() == [5, 5]


def test_what_has_no_label_or_split_is_reported(read, capsys):
    read("coco", "left_out_silently/clips", "--labels", "left_out_silently/part.csv", *SIZED)
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for fact in ("clips without a label 1", "clips in no part of own 2",
                 "classes without training clips, own 1: c"):
        assert fact in printed


@pytest.mark.parametrize(("arguments", "frames"), [
    (("coco", "time_stamps/names.json"), 24), (("coco", "time_stamps/ms.json"), 30),
    (("arrays", "time_stamps/ms.csv", "--layout", "coco17"), 30)])
def test_time_stamps_are_in_the_order_of_time(read, arguments, frames):
    keypoints, scores = read(*arguments, *SIZED).frames(0)
    assert keypoints.shape[:2] == (1, frames)
    assert scores.all()
    assert np.diff(keypoints[0, :, 0, 0]) == pytest.approx(6, abs=0.1)


@pytest.mark.parametrize(("arguments", "layout"), [
    (("nw_ucla", "unsupported_formats/nwucla.json"), "kinect20"),
    (("kinetics_skeleton", "unsupported_formats/kinetics.json"), "openpose18"),
    (("keypoints", "unsupported_formats/nwucla.json"), "kinect20"),
    (("keypoints", "unsupported_formats/kinetics.json"), "openpose18"),
    (("keypoints", "unsupported_formats/ultralytics.json"), "coco17"),
    (("keypoints", "unsupported_formats/poseflow.json"), "coco17"),
    (("keypoints", "unsupported_formats/openpose_names"), "body25"),
    (("coco", "unsupported_formats/ultralytics.json"), "coco17"),
    (("coco", "unsupported_formats/poseflow.json"), "coco17"),
    (("openpose", "unsupported_formats/openpose_names"), "body25")])
def test_formats_that_are_read(read, arguments, layout):
    file = read(*arguments, *SIZED)
    assert (file.ids, file.header.layout.name) == ([file.ids[0]], layout)
    assert file.num_frames.tolist() == [3]
    assert file.num_persons.tolist() == [1]


def test_names_of_joints_in_the_file_are_believed(read):
    file = read("coco", "joint_names_in_file/mmpose_h36m.json", *SIZED)
    assert file.header.layout.name == "h36m17"
    assert file.header.layout.joints[8] == "thorax"


def test_lists_of_x_and_y_whose_layout_is_named(read, tmp_path):
    layout = tmp_path / "layout.yaml"
    for joints, arguments in ((27, ("coco", "xy_without_score/flat27.json")),
                              (27, ("openpose", "xy_without_score/op27")),
                              (26, ("yolo", "xy_without_score/yolo26")),
                              (20, ("yolo", "xy_without_score/yolo20"))):
        names = ", ".join(f"joint{i}" for i in range(joints))
        layout.write_text(f"{{name: own, joints: [{names}], limbs: [], pairs: []}}")
        file = read(*arguments, "--layout", str(layout), *SIZED, "--overwrite")
        keypoints, scores = file.frames(0)
        assert keypoints.shape[2] == joints
        assert (scores == 1).all()
        assert (keypoints > 100).all()
        assert (keypoints < 400).all()
