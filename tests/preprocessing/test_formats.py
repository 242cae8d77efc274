"""Formats of other tools as these write them, by the command line: read, or refused by name."""

import csv
import json
import pickle

import h5py
import numpy as np
import pandas as pd
import pytest
from commandline import preprocess_or_check as main

from ptl_skel.skeletons import get_layout
from ptl_skel.storage import KeypointFile

SIZED = ("--frame_size", "480", "640")
RANDOM = np.random.default_rng(0)
COCO = get_layout("coco17").joints


def _names(text):
    return text.split()


def walk(joints=17, frames=12, persons=1, dimensions=2):
    """Joints that move by 2 pixels to the right in each frame, ``(M, T, V, 2)``; or by 2 cm."""
    unit = 1 if dimensions == 2 else 0.01
    at = RANDOM.uniform(100, 200, (persons, 1, joints, dimensions)) * unit
    at[..., 0] += (np.arange(persons)[:, None, None] * 250 - 150 * (dimensions == 3)) * unit
    at = np.repeat(at, frames, 1)
    at[..., 0] += np.arange(frames)[:, None] * 2 * unit
    return at.round(3)


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        assert main([*map(str, arguments), "--out", "out.h5", "--overwrite"]) == 0
        return KeypointFile("out.h5")

    return run


@pytest.fixture
def refuse(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        capsys.readouterr()
        assert main([*map(str, arguments), "--out", "out.h5"]) == 2
        return " ".join(capsys.readouterr().err.split())

    return run


def write_csv(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def deeplabcut(poses, individuals=None, joints=COCO, scorer="DLC_resnet50_demoJan1shuffle1_1000"):
    """The table that DeepLabCut's analyze_videos makes: pandas with its names of columns."""
    names = [("x", 0), ("y", 1), ("likelihood", None)]
    columns, values = [], []
    for person, pose in enumerate(poses):
        for i, joint in enumerate(joints):
            for axis, place in names:
                owner = () if individuals is None else (individuals[person],)
                columns.append((scorer, *owner, joint, axis))
                values.append(np.full(len(pose), 0.75) if place is None else pose[:, i, place])
    levels = ["scorer", *([] if individuals is None else ["individuals"]), "bodyparts", "coords"]
    return pd.DataFrame(np.stack(values, 1),
                        columns=pd.MultiIndex.from_tuples(columns, names=levels))


def test_deeplabcut_csv(read, tmp_path):
    poses = walk()
    table = deeplabcut(poses)
    table.iloc[3, :3] = np.nan
    (tmp_path / "videos").mkdir()
    table.to_csv(tmp_path / "videos" / "jumpDLC_resnet50.csv")
    for command in ("tables", "keypoints"):
        file = read(command, "videos", *SIZED)
        keypoints, scores = file.frames(0)
        assert (file.ids, file.header.layout.name) == (["jumpDLC_resnet50"], "coco17")
        assert scores[0, 3, 0] == 0
        assert np.delete(scores[0].ravel(), 3 * 17) == pytest.approx(0.75)
        np.testing.assert_allclose(keypoints[0, 4:], poses[0, 4:], rtol=1e-6)


def test_deeplabcut_of_several_persons(read, tmp_path):
    poses = walk(persons=2)
    deeplabcut(poses, ["mouse1", "mouse2"]).to_csv(tmp_path / "pair.csv")
    keypoints, _ = read("keypoints", "pair.csv", *SIZED).frames(0)
    np.testing.assert_allclose(keypoints, poses, rtol=1e-6)


def to_hdf(table, path):
    """What pandas writes with PyTables, as far as it matters."""
    rows = np.empty(len(table), [("index", "i8"), ("values_block_0", "f8", table.shape[1])])
    rows["index"], rows["values_block_0"] = table.index, table.to_numpy()
    with h5py.File(path, "w") as file:
        stored = file.create_dataset("df_with_missing/table", data=rows)
        stored.attrs["values_block_0_kind"] = np.bytes_(pickle.dumps(list(table.columns), 0))


@pytest.mark.parametrize("by_pandas", [True, False])
def test_deeplabcut_hdf5(read, tmp_path, by_pandas):
    poses = walk(persons=2)
    table = deeplabcut(poses, ["mouse1", "mouse2"])
    if by_pandas:
        pytest.importorskip("tables")  # not among our dependencies
        table.to_hdf(tmp_path / "pair.h5", key="df_with_missing", format="table", mode="w")
    else:
        to_hdf(table, tmp_path / "pair.h5")
    for command in ("tables", "keypoints"):
        keypoints, scores = read(command, "pair.h5", *SIZED).frames(0)
        np.testing.assert_allclose(keypoints, poses, rtol=1e-6)
        assert scores == pytest.approx(0.75)


def test_joints_of_other_names_need_a_layout(read, refuse, tmp_path):
    joints = ["snout", "left_ear", "right_ear", "tail"]
    poses = walk(joints=4)
    deeplabcut(poses, joints=joints).to_csv(tmp_path / "mouse.csv")
    assert "names its joints snout, left_ear" in refuse("tables", "mouse.csv", *SIZED)
    (tmp_path / "mouse.yaml").write_text(
        "{name: mouse, joints: [tail, left_ear, right_ear, snout], limbs: [[tail, snout]], "
        "pairs: [[left_ear, right_ear]]}")
    keypoints, _ = read("tables", "mouse.csv", "--layout", "mouse.yaml", *SIZED).frames(0)
    np.testing.assert_allclose(keypoints, poses[:, :, [3, 1, 2, 0]], rtol=1e-6)


def sleap(path, poses):
    """What SLEAP's `export_analysis_file` writes: (tracks, 2, nodes, frames), NaN if missing."""
    with h5py.File(path, "w") as file:
        file["tracks"] = poses.transpose(0, 3, 2, 1)
        file["node_names"] = np.array([joint.encode() for joint in COCO])
        file["track_names"] = np.array([f"track_{i}".encode() for i in range(len(poses))])
        file["track_occupancy"] = np.ones((poses.shape[1], len(poses)), np.uint8)
        file["point_scores"] = np.full((len(poses), 17, poses.shape[1]), 0.5)
        file["instance_scores"] = np.ones((len(poses), poses.shape[1]))
        file["edge_inds"] = np.array([[0, 1]])


def test_sleap(read, tmp_path):
    poses = walk(persons=2)
    poses[1, 5, 3] = np.nan
    sleap(tmp_path / "fly.analysis.h5", poses)
    header = ["track", "frame_idx", "instance.score",
              *(f"{joint}.{axis}" for joint in COCO for axis in ("x", "y", "score"))]
    write_csv(tmp_path / "fly.csv", header, [
        [f"track_{person}", frame, 0.9, *(
            "" if np.isnan(value) else value for x, y in poses[person, frame]
            for value in (x, y, 0.5))] for frame in range(12) for person in range(2)])
    for name in ("fly.analysis.h5", "fly.csv"):
        keypoints, scores = read("keypoints", name, *SIZED).frames(0)
        expected = np.nan_to_num(poses)
        np.testing.assert_allclose(keypoints, expected, rtol=1e-6)
        assert np.argwhere(scores == 0).tolist() == [[1, 5, 3]]
        assert scores.max() == 0.5


def test_a_project_of_sleap_is_refused_by_name(refuse, tmp_path):
    with h5py.File(tmp_path / "labels.h5", "w") as file:
        file["instances"], file["pred_points"] = np.zeros(3), np.zeros(3)
    assert "project of SLEAP; export it" in refuse("tables", "labels.h5", *SIZED)
    with h5py.File(tmp_path / "labels.h5", "w") as file:
        file["mine"] = np.zeros(3)
    assert "not an HDF5 file of DeepLabCut or of SLEAP" in refuse("tables", "labels.h5", *SIZED)


@pytest.mark.parametrize("name", ["{0}_x", "x_{0}", "x{0}", "{0}.x", "joint{0}_x", "joint_{0} x",
                                  "kp{0}x"])
def test_numbered_columns(read, tmp_path, name):
    poses = walk()
    order = RANDOM.permutation(17)
    header = ["frame", *(name.format(joint).replace("x", axis) for joint in order for axis in "xy")]
    write_csv(tmp_path / "jump.csv", header, [
        [frame, *poses[0, frame, order].ravel()] for frame in range(12)])
    file = read("keypoints", "jump.csv", *SIZED)
    np.testing.assert_allclose(file.frames(0)[0], poses, rtol=1e-6)


def test_clips_and_labels_in_columns(read, tmp_path):
    poses = walk(persons=2)
    header = ["video", "frame", "label", *(f"{joint}_{axis}" for joint in COCO for axis in "xy")]
    write_csv(tmp_path / "all.csv", header, [
        [f"clip{clip}", frame, "walk" if clip else "run", *poses[clip, frame].ravel()]
        for clip in range(2) for frame in range(12)])
    file = read("tables", "all.csv", *SIZED)
    assert file.ids == ["clip0", "clip1"]
    assert file.header.class_names == ("run", "walk")
    assert file.label.tolist() == [0, 1]
    np.testing.assert_allclose(file.frames(1)[0][0], poses[1], rtol=1e-6)


KINECT = _names(
    "SpineBase SpineMid Neck Head ShoulderLeft ElbowLeft WristLeft HandLeft "
    "ShoulderRight ElbowRight WristRight HandRight HipLeft KneeLeft AnkleLeft "
    "FootLeft HipRight KneeRight AnkleRight FootRight SpineShoulder HandTipLeft "
    "ThumbLeft HandTipRight ThumbRight")
KINECT_1 = _names(
    "HipCenter Spine ShoulderCenter Head ShoulderLeft ElbowLeft WristLeft HandLeft "
    "ShoulderRight ElbowRight WristRight HandRight HipLeft KneeLeft AnkleLeft "
    "FootLeft HipRight KneeRight AnkleRight FootRight")


@pytest.mark.parametrize(("joints", "layout"), [(KINECT, "ntu25"), (KINECT_1, "kinect20")])
@pytest.mark.parametrize("form", ["{}X", "{}_x", "{}.X"])
def test_kinect(read, tmp_path, joints, layout, form):
    poses = walk(joints=len(joints), dimensions=3)
    header = ["Timestamp", *(form.replace("X", axis.upper()).replace("_x", f"_{axis}").format(joint)
                             for joint in joints for axis in "xyz")]
    write_csv(tmp_path / "body.csv", header, [
        [frame * 33.3, *poses[0, frame].ravel()] for frame in range(12)])
    file = read("keypoints", "body.csv")
    assert (file.header.layout.name, file.header.num_coordinates) == (layout, 3)
    np.testing.assert_allclose(file.frames(0)[0], poses, rtol=1e-5)


def holistic(poses):
    """Rows of pose, face, left and right hand, as scripts around MediaPipe Holistic save them."""
    shares = poses / (640, 480)
    frames = shares.shape[1]
    pose = np.concatenate([shares[0, :, :33], np.full((frames, 33, 1), -0.3),
                           np.full((frames, 33, 1), 0.9)], -1)
    face = RANDOM.uniform(0, 1, (frames, 468, 3))
    hands = np.concatenate([shares[0, :, 33:], np.full((frames, 42, 1), 0.01)], -1)
    return [part.reshape(frames, -1) for part in (pose, face, hands)]


@pytest.mark.parametrize("with_face", [True, False])
@pytest.mark.parametrize("per_frame", [True, False])
def test_holistic(read, tmp_path, with_face, per_frame):
    poses = walk(joints=75)
    pose, face, hands = holistic(poses)
    hands[3] = 0  # not found
    rows = np.concatenate([pose, face, hands] if with_face else [pose, hands], 1)
    (tmp_path / "data" / "hello" / "0").mkdir(parents=True)
    if per_frame:
        for frame, row in enumerate(rows):
            np.save(tmp_path / "data" / "hello" / "0" / f"{frame}.npy", row)
    else:
        np.save(tmp_path / "data" / "hello" / "0" / "clip.npy", rows)
    file = read("keypoints", "data", *SIZED)
    assert file.ids == ["hello/0" if per_frame else "hello/0/clip"]
    assert file.header.layout.name == "holistic75"
    keypoints, scores = file.frames(0)
    assert (scores[0, 3, 33:] == 0).all()
    assert scores[0, :, :33] == pytest.approx(0.9, abs=1e-3)
    poses[0, 3, 33:] = 0
    np.testing.assert_allclose(keypoints, poses, atol=1e-3)


def test_mediapipe_pose_in_a_table(read, refuse, tmp_path):
    poses = walk(joints=33)
    names = [joint for i in range(33) for joint in (f"x{i + 1}", f"y{i + 1}", f"z{i + 1}",
                                                    f"v{i + 1}")]
    rows = [["walk", *np.concatenate([poses[0, frame] / (640, 480), np.full((33, 1), -0.2),
                                      np.full((33, 1), 0.8)], 1).ravel()] for frame in range(12)]
    write_csv(tmp_path / "coords.csv", ["class", *names], rows)
    file = read("keypoints", "coords.csv", *SIZED)
    assert (file.header.layout.name, file.header.class_names) == ("blazepose33", ("walk",))
    np.testing.assert_allclose(file.frames(0)[0], poses, atol=1e-3)
    assert "give it in pixels" in refuse("mediapipe", "coords.csv", "--overwrite")
    rows[5][0] = "run"
    write_csv(tmp_path / "coords.csv", ["class", *names], rows)
    assert "single frames, not a clip" in refuse("mediapipe", "coords.csv", *SIZED, "--overwrite")


def test_landmarks_with_the_names_of_mediapipe(read, tmp_path):
    joints = _names(
        "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye "
        "right_eye_outer left_ear right_ear mouth_left mouth_right left_shoulder "
        "right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky "
        "right_pinky left_index right_index left_thumb right_thumb left_hip right_hip "
        "left_knee right_knee left_ankle right_ankle left_heel right_heel left_foot_index "
        "right_foot_index")
    poses = walk(joints=33)
    header = [f"{joint.upper()}_{axis}" for joint in joints for axis in ("x", "y", "z",
                                                                         "visibility")]
    write_csv(tmp_path / "jump.csv", header, [np.concatenate(
        [poses[0, frame] / (640, 480), np.zeros((33, 1)), np.ones((33, 1))], 1).ravel()
        for frame in range(12)])
    file = read("keypoints", "jump.csv", *SIZED)
    assert file.header.layout.name == "blazepose33"
    np.testing.assert_allclose(file.frames(0)[0], poses, atol=1e-3)


@pytest.mark.parametrize(("array", "message"), [
    (np.zeros((5, 543, 3)), "543 landmarks, whose order differs"),
    (np.zeros((5, 7)), "expected (V, 2)"),
    (np.full((5, 33, 3), 250.0), "pixels, not shares"),
    (np.zeros(1662), "a single frame"),
    (np.array([{}]), "holds objects"),
])
def test_what_is_not_of_mediapipe(refuse, tmp_path, array, message):
    np.save(tmp_path / "clip.npy", array)
    assert message in refuse("mediapipe", "clip.npy", *SIZED)


def test_an_npy_file_of_pixels(read, tmp_path):
    poses = walk(persons=2)
    np.save(tmp_path / "jump.npy", poses)
    for command in ("arrays", "keypoints"):
        np.testing.assert_allclose(read(command, "jump.npy", *SIZED).frames(0)[0], poses, rtol=1e-6)


def save_videopose3d(path, key, positions, metadata=None):
    np.savez_compressed(path, **{key: positions}, **(
        {} if metadata is None else {"metadata": metadata}))


def test_videopose3d(read, tmp_path):
    first, second = walk()[0].astype(np.float32), walk()[0].astype(np.float32)
    save_videopose3d(tmp_path / "data_2d_custom_mine.npz", "positions_2d",
                     {"a.mp4": {"custom": [first]}, "b.mp4": {"custom": [second]}},
                     {"layout_name": "coco", "num_joints": 17,
                      "keypoints_symmetry": [[1, 3], [2, 4]],
                      "video_metadata": {"a.mp4": {"w": 640, "h": 480},
                                         "b.mp4": {"w": 320, "h": 400}}})
    file = read("keypoints", "data_2d_custom_mine.npz")
    assert (file.ids, file.header.layout.name) == (["a.mp4/custom", "b.mp4/custom"], "coco17")
    assert (file.height.tolist(), file.width.tolist()) == ([480, 400], [640, 320])
    np.testing.assert_array_equal(file.frames(1)[0][0], second)


def test_videopose3d_of_human36m(read, tmp_path):
    pose = walk()[0].astype(np.float32)
    save_videopose3d(tmp_path / "data_2d_h36m_gt.npz", "positions_2d",
                     {"S1": {"Walking 1": [pose, pose], "Eating": [pose]}, "S9": {
                         "Walking": [pose]}}, {"layout_name": "h36m", "num_joints": 17})
    file = read("videopose3d", "data_2d_h36m_gt.npz", "--frame_size", "1000", "1000")
    assert file.ids == ["S1/Walking 1/0", "S1/Walking 1/1", "S1/Eating", "S9/Walking"]
    assert file.header.layout.name == "h36m17"
    assert [file.header.class_names[label] for label in file.label] == [
        "Walking", "Walking", "Eating", "Walking"]
    assert file.subject.tolist() == [1, 1, 1, 9]


def test_videopose3d_in_3d(read, refuse, tmp_path):
    pose = walk(joints=32, dimensions=3)[0].astype(np.float32)
    save_videopose3d(tmp_path / "data_3d_h36m.npz", "positions_3d", {"S1": {"Walking": pose}})
    assert "32 joints, which is the number of no layout" in refuse("keypoints", "data_3d_h36m.npz")
    names = ", ".join(f"joint{i}" for i in range(32))
    (tmp_path / "own.yaml").write_text(f"{{name: own, joints: [{names}], limbs: [], pairs: []}}")
    file = read("keypoints", "data_3d_h36m.npz", "--layout", "own.yaml")
    np.testing.assert_allclose(file.frames(0)[0][0], pose, rtol=1e-6)


def test_an_archive_that_runs_code_is_refused(refuse, tmp_path):
    class Runs:
        def __reduce__(self):
            return eval, (f"open({str(tmp_path / 'executed')!r}, 'w')",)

    np.savez(tmp_path / "evil.npz", positions_2d={"a": Runs()})
    assert "cannot be read as an archive of VideoPose3D" in refuse("videopose3d", "evil.npz")
    assert not (tmp_path / "executed").exists()
    np.savez(tmp_path / "other.npz", mine=np.zeros(3))
    assert "no array positions_2d or positions_3d; it has mine" in refuse("videopose3d",
                                                                          "other.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_ctrgcn(read, refuse, tmp_path, save):
    poses = [walk(joints=25, dimensions=3, frames=12 - i, persons=1 + i % 2) for i in range(3)]
    for pose in poses:
        pose -= pose[:1, :1, :1]  # as it is written: the hip of the first frame at the origin
    x = np.zeros((3, 300, 150), np.float32)
    for row, pose in zip(x, poses, strict=True):
        row[: pose.shape[1], : 75 * len(pose)] = pose.transpose(1, 0, 2, 3).reshape(
            pose.shape[1], -1)
    y = np.eye(60)[[4, 59, 0]]
    save(tmp_path / "NTU60_CS.npz", x_train=x[:2], y_train=y[:2], x_test=x[2:], y_test=y[2:])
    for command in ("ctrgcn", "keypoints"):
        file = read(command, "NTU60_CS.npz")
        assert file.ids == ["train_000000", "train_000001", "test_000000"]
        assert file.label.tolist() == [4, 59, 0]
        assert {part: p.tolist() for part, p in file.splits["xsub"].items()} == {
            "train": [0, 1], "test": [2]}
        for clip, pose in enumerate(poses):
            np.testing.assert_allclose(file.frames(clip)[0], pose, atol=1e-6)
            assert (file.frames(clip)[1] == 1).all()
    assert "the archive of CTR-GCN, which `ptl-skel preprocess ctrgcn` reads" in refuse(
        "arrays", "NTU60_CS.npz", "--overwrite")
    np.savez(tmp_path / "NTU60_CS.npz", x_train=x[:2], y_train=y[:2])
    assert "no array x_test" in refuse("ctrgcn", "NTU60_CS.npz", "--overwrite")
    np.savez(tmp_path / "NTU60_CS.npz", x_train=x[..., :9], y_train=y, x_test=x, y_test=y)
    assert "expected (N, 300, 150)" in refuse("ctrgcn", "NTU60_CS.npz", "--overwrite")


def test_nw_ucla(read, tmp_path):
    poses = walk(joints=20, dimensions=3, persons=3)
    (tmp_path / "all_sqe").mkdir()
    for pose, name in zip(poses, ("a01_s01_e00_v01", "a08_s02_e00_v02", "a01_s10_e00_v03"),
                          strict=True):
        (tmp_path / "all_sqe" / f"{name}.json").write_text(json.dumps(
            {"file_name": name, "skeletons": pose.tolist(), "label": int(name[1:3])}))
    for command in ("nw_ucla", "keypoints"):
        file = read(command, "all_sqe")
        assert file.header.layout.name == "kinect20"
        assert [file.header.class_names[label] for label in file.label] == [
            "pick up with one hand", "pick up with one hand", "donning"]
        assert file.subject.tolist() == [1, 10, 2]
        assert {part: p.tolist() for part, p in file.splits["xview"].items()} == {
            "train": [0, 2], "test": [1]}
        np.testing.assert_allclose(file.frames(1)[0][0], poses[2], rtol=1e-6)


def test_kinetics_skeleton(read, refuse, tmp_path):
    poses = walk(joints=18, persons=2)
    (tmp_path / "kinetics_train").mkdir()
    (tmp_path / "kinetics_train" / "abc.json").write_text(json.dumps({
        "data": [{"frame_index": frame + 1, "skeleton": [
            {"pose": (poses[person, frame] / (640, 480)).ravel().tolist(), "score": [0.5] * 18}
            for person in range(2)]} for frame in range(12)],
        "label": "yoga", "label_index": 3}))
    for command in ("kinetics_skeleton", "keypoints"):
        file = read(command, "kinetics_train", *SIZED)
        assert (file.header.layout.name, file.header.class_names) == ("openpose18", ("yoga",))
        np.testing.assert_allclose(sorted(file.frames(0)[0].tolist()), sorted(poses.tolist()),
                                   atol=1e-3)
    assert "256 340 for Kinetics-Skeleton" in refuse("keypoints", "kinetics_train", "--overwrite")


@pytest.mark.parametrize("form", ["open", "cmu"])
def test_alphapose_in_other_forms(read, tmp_path, form):
    poses = walk(joints=18)
    people, values = ("people", "pose_keypoints_2d") if form == "open" else ("bodies", "joints")
    (tmp_path / "alphapose-results.json").write_text(json.dumps({
        f"{frame}.jpg": {"version": "AlphaPose v0.3", people: [{values: np.concatenate(
            [poses[0, frame], np.full((18, 1), 0.5)], 1).ravel().tolist()}]}
        for frame in range(12)}))
    file = read("keypoints", "alphapose-results.json", *SIZED)
    assert file.header.layout.name == "openpose18"
    np.testing.assert_allclose(file.frames(0)[0], poses, rtol=1e-6)


@pytest.mark.parametrize("flat", [True, False])
def test_mmpose_in_3d(read, refuse, tmp_path, flat):
    poses = walk(dimensions=3)
    (tmp_path / "jump.json").write_text(json.dumps({"instance_info": [
        {"frame_id": frame, "instances": [{
            "keypoints": poses[0, frame].ravel().tolist() if flat else poses[0, frame].tolist(),
            "keypoint_scores": [0.5] * 17}]} for frame in range(12)]}))
    assert "with --layout, e.g. coco17 or h36m17" in refuse("coco", "jump.json")
    file = read("keypoints", "jump.json", "--layout", "h36m17")
    assert file.header.num_coordinates == 3
    np.testing.assert_allclose(file.frames(0)[0], poses, rtol=1e-6)
    assert (file.frames(0)[1] == 0.5).all()


@pytest.mark.parametrize("wrap", [
    lambda frames: frames, lambda frames: {"predictions": frames},
    lambda frames: [{"visualization": [], "predictions": [frame]} for frame in frames]])
def test_what_the_inferencer_of_mmpose_yields(read, tmp_path, wrap):
    poses = walk()
    (tmp_path / "jump.json").write_text(json.dumps(wrap([[{
        "keypoints": poses[0, frame].tolist(), "keypoint_scores": [0.5] * 17,
        "bbox": [[0.0, 0.0, 9.0, 9.0]], "bbox_score": 0.9}] for frame in range(12)])))
    np.testing.assert_allclose(read("keypoints", "jump.json", *SIZED).frames(0)[0], poses,
                               rtol=1e-6)


@pytest.mark.parametrize("wrap", [lambda frame: frame, json.dumps])
def test_a_list_of_what_ultralytics_returns(read, refuse, tmp_path, wrap):
    poses = walk()
    frames = [[{"name": "person", "class": 0, "confidence": 0.9, "track_id": 3,
                "box": {"x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0},
                "keypoints": {"x": pose[:, 0].tolist(), "y": pose[:, 1].tolist(),
                              "visible": [0.9] * 17}}] for pose in poses[0]]
    frames[4] = []
    (tmp_path / "jump.json").write_text(json.dumps([wrap(frame) for frame in frames]))
    keypoints, scores = read("keypoints", "jump.json", *SIZED).frames(0)
    assert not scores[0, 4].any()
    np.testing.assert_allclose(np.delete(keypoints, 4, 1), np.delete(poses, 4, 1), rtol=1e-6)
    (tmp_path / "jump.json").write_text(json.dumps(["what"]))
    assert "strings that are not JSON" in refuse("coco", "jump.json", *SIZED, "--overwrite")


def test_an_array_of_many_clips_is_refused_by_name(refuse, tmp_path):
    np.save(tmp_path / "train_data.npy", np.zeros((4, 3, 300, 25, 2), np.float32))
    assert "many clips in one array, as in the train_data.npy of ST-GCN" in refuse(
        "keypoints", "train_data.npy", *SIZED)


def test_the_tool_can_be_named(read, refuse, tmp_path):
    np.save(tmp_path / "jump.npy", walk(joints=33))
    assert len(read("keypoints", "jump.npy", "--tool", "arrays", *SIZED)) == 1
    assert "--tool" in refuse("keypoints", "jump.npy", "--tool", "none", "--overwrite")


def test_what_is_not_clear_is_listed(refuse, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    assert "contains no files" in refuse("keypoints", "mixed")
    (folder / "notes.txt").write_text("hello")
    assert "has an unknown format; it contains .txt" in refuse("keypoints", "mixed")
    (folder / "run.mp4").touch()
    assert "`ptl-skel preprocess video` finds the keypoints" in refuse("keypoints", "mixed")
    (folder / "run.mp4").unlink()
    np.save(folder / "jump.npy", walk())
    (folder / "run.json").write_text(json.dumps([{"image_id": 1, "keypoints": [1, 2, 3]}]))
    complaint = refuse("keypoints", "mixed")
    assert "may be of several sources: " in complaint
    assert "arrays, as jump.npy" in complaint
    assert "coco, as run.json" in complaint
    assert "none does not exist" in refuse("keypoints", "none")


@pytest.mark.parametrize(("text", "message"), [
    ("frame,a,b\n0,1,2\n", "no columns x and y of joints"),
    ("frame,nose_x\n0,1\n", "no columns for x and y of the joint 'nose'"),
    ("frame,nose_x,nose_y\n0,1\n", "line 2 of jump.csv has 2 values, the first line 3"),
    ("frame,nose_x,nose_y\n", "no line below its header"),
    ("frame,nose_x,nose_y\n0.5,1,2\n", "the column of frames must hold integers"),
    ("frame,nose_x,nose_y\n0,1,what\n", "not a list of numbers"),
    ("id,nose_x,nose_y\n0,1,2\n1,1,2\n", "a column of persons, but none of frames"),
    ("", "no columns x and y of joints"),
])
def test_flawed_tables(refuse, tmp_path, text, message):
    (tmp_path / "jump.csv").write_text(text)
    assert message in refuse("tables", "jump.csv", *SIZED)
