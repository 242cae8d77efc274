"""More inputs of the kinds in `test_cases` and `test_kinds`, by the command line."""

import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from pose_inputs import (
    COCO,
    H36M,
    RANDOM,
    SIZED,
    arrays,
    dump,
    mmpose,
    results,
    walk,
    write,
)

from ptl_skel.storage import KeypointFile


def keypoints(position=0):
    return KeypointFile("out.h5").frames(position)[0]


def save(name, array):
    np.save(name, array)
    return name


def sleap(poses, dims=None, names=COCO):
    """An analysis export of poses in an order of their axes."""
    with h5py.File("one.h5", "w") as file:
        file["tracks"], file["node_names"] = poses, np.array([name.encode() for name in names])
        if dims is not None:
            file["tracks"].attrs["dims"] = json.dumps(dims)
    return "one.h5"


def kinetics(poses, scale=1.0, numbers=None):
    return write("one.json", {"label": "yoga", "data": [
        {"frame_index": i if numbers is None else numbers[i],
         "skeleton": [{"pose": (pose * scale).ravel().tolist(), "score": [0.9] * len(pose)}]}
        for i, pose in enumerate(poses)]})


def videopose3d(poses, name="coco"):
    np.savez("one.npz", positions_2d=np.array({"S1": {"Walk": [poses]}}, object),
             metadata=np.array({"layout_name": name, "video_metadata": {
                 "S1": {"w": 640, "h": 480}}}, object))
    return "one.npz"


def wide(poses, names=None, first=("frame",), cells=None, scores=None):
    """A table with a line per frame; `cells` are those of the first columns."""
    names = names or [f"j{i}" for i in range(poses.shape[1])]
    axes = "xy" if scores is None else ("x", "y", "score")
    head = ",".join([*first, *(f"{name}_{axis}" for name in names for axis in axes)])
    lines = [",".join(map(str, [
        *(cells[t] if cells else [t]),
        *(value for joint, place in enumerate(pose.tolist())
          for value in (*place, *([] if scores is None else [scores[t][joint]])))]))
        for t, pose in enumerate(poses)]
    Path("one.csv").write_text("\n".join([head, *lines, ""]))
    return "one.csv"


@pytest.mark.parametrize(("form", "low", "high", "message"), [
    ("kinetics_skeleton", -0.5, 0.5, "lie around a centre"),
    ("kinetics_skeleton", 100, 400, "are pixels, not shares"),
    ("kinetics_skeleton", 5, 90, "are pixels, not shares"),
    ("mediapipe", -0.9, 0.9, "lie around a centre"),
    ("mediapipe", 5, 90, "are pixels, not shares")])
def test_shares_that_are_not_those_of_a_frame(refuse, form, low, high, message):
    poses = walk(18 if form == "kinetics_skeleton" else 33, low=low, high=high)
    name = kinetics(poses) if form == "kinetics_skeleton" else save("one.npy", poses)
    assert message in refuse(form, name, *SIZED)


def test_a_part_in_relative_coordinates_is_doubted(run):
    poses = np.concatenate([walk(frames=6), walk(frames=6, low=0, high=1)])
    code, notes = run("arrays", arrays(poses), *SIZED)
    assert code == 0
    assert "doubtful: 50% of the joints lie in -3 to 3; are some persons or frames" in notes


def test_a_frame_that_is_much_too_small_is_doubted(run):
    code, notes = run("coco", write("one.json", results(walk(low=300, high=470))),
                      "--frame_size", "256", "192")
    assert code == 0
    assert "doubtful: 100% of the joints lie outside the frame of height 256" in notes


@pytest.mark.parametrize(("form", "mark"), [
    ("coco", 999), ("coco", -7), ("pyskl", 0), ("pyskl", 999),
    ("3D", 999), ("3D", -999), ("3D", -1), ("3D", 100)])
def test_joints_marked_by_one_number_are_missing(run, form, mark):
    poses = walk(20, low=-1, high=1) if form == "3D" else walk()
    if form == "3D":
        poses = np.concatenate([poses, poses[..., :1] + 3], -1)
    poses[::2, 15:17] = mark
    if form == "coco":
        code, notes = run("coco", write("one.json", results(poses)), *SIZED)
    else:
        scores = np.ones((1, *poses.shape[:2]), np.float32)
        name = dump("one.pkl", [poses[None]], keypoint_score=scores)
        code, notes = run("pyskl", name, *(("--layout", "kinect20") if form == "3D" else ()))
    assert code == 0
    assert notes == f"joints at the same number in all axes, as {mark}, count as missing: 12"
    missing = KeypointFile("out.h5").frames(0)[1][0] == 0
    assert missing[::2, 15:17].all()
    assert missing.sum() == 12


@pytest.mark.parametrize("form", ["nw_ucla", "pyskl"])
def test_a_body_at_the_origin_is_nobody(run, form):
    poses = RANDOM.normal(0, 0.4, (12, 20, 3)) + np.array([0, 0, 3])
    poses[::3] = 0
    poses[1, 4] = 0  # of a body elsewhere: an ordinary place
    name = (write("one.json", {"label": 1, "skeletons": poses.tolist()}) if form == "nw_ucla" else
            dump("one.pkl", [poses[None]], keypoint_score=np.ones((1, 12, 20), np.float32)))
    assert run(form, name, "--layout", "kinect20")[0] == 0
    scores = KeypointFile("out.h5").frames(0)[1][0]
    assert (scores > 0).all(1).tolist() == [False, True, True] * 4


def test_the_axes_of_sleap_are_those_that_the_file_names(run, refuse):
    poses = np.stack([walk(frames=20), walk(frames=20)], 1)  # (T, M, V, 2)
    said = refuse("tables", sleap(poses), *SIZED)
    assert "it has 20 persons in 2 frames" in said
    assert "and the axes" in refuse("tables", sleap(poses, ["a", "b"]), *SIZED)
    assert run("tables", sleap(poses, ["frame", "track", "node", "xy"]), *SIZED)[0] == 0
    np.testing.assert_allclose(keypoints(), poses.swapaxes(0, 1), rtol=1e-6)


def test_many_short_tracks_of_sleap_are_read(run):
    tracks = np.full((30, 2, 17, 20), np.nan)
    tracks[4, ..., :10] = walk(frames=10).transpose(2, 1, 0)
    tracks[9, ..., 10:] = walk(frames=10).transpose(2, 1, 0)
    assert run("tables", sleap(tracks), *SIZED)[0] == 0
    assert KeypointFile("out.h5").num_frames.tolist() == [20]


@pytest.mark.parametrize("form", ["arrays", "pyskl"])
def test_the_axes_of_st_gcn(refuse, form):
    array = np.zeros((3, 50, 18, 2))
    array[:2, ..., 0] = walk(18, frames=50).transpose(2, 0, 1)
    array[2, ..., 0] = 0.9
    name = arrays(array) if form == "arrays" else dump("one.pkl", [array])
    assert "axes seem to be (x y score, frames, joints, persons)" in refuse(
        form, name, *(SIZED if form == "arrays" else ()))


def test_the_axes_of_st_gcn_without_scores(refuse):
    array = np.stack([walk(18, frames=50).transpose(2, 0, 1), np.zeros((2, 50, 18))], -1)
    assert "all its y are 0; it may be a mark of what is missing, or the axes of an array are" in (
        refuse("arrays", arrays(array), *SIZED))


def test_frames_and_joints_exchanged(run, refuse):
    poses = walk(17, frames=25).swapaxes(0, 1)  # (V, T, 2)
    said = refuse("pyskl", dump("one.pkl", [poses[None]], total_frames=25))
    assert "`total_frames` is 25, but its `keypoint` has the shape (1, 17, 25, 2)" in said
    code, notes = run("arrays", arrays(walk(30, frames=17).swapaxes(0, 1)), *SIZED)
    assert code == 0
    assert notes.startswith("doubtful: joints differ more from frame to frame")


def test_a_split_that_names_no_clip_is_refused(refuse):
    path = Path(dump("one.pkl", [walk()[None]] * 2))
    path.write_bytes(pickle.dumps({"annotations": pickle.loads(path.read_bytes()),
                                   "split": {"train": [0], "val": [1]}}))
    assert "a split default that names none of its clips: it names '0', the first clip is 'c0'" in (
        refuse("pyskl", path))


def test_hidden_files_are_not_clips(run):
    for name in ("a", ".ipynb_checkpoints/a-checkpoint", "._a"):
        write(f"in/{name}.json", results(walk()))
    assert run("keypoints", "in", *SIZED)[0] == 0
    assert KeypointFile("out.h5").ids == ["a"]


def test_a_depth_of_zeros_is_not_a_score(run):
    rows = np.append(walk(33, low=0.1, high=0.9), np.zeros((12, 33, 1)), -1)
    assert run("mediapipe", save("one.npy", rows), *SIZED)[0] == 0


def test_movenet_is_not_mediapipe(refuse):
    rows = np.concatenate([walk(low=0.1, high=0.9), np.full((12, 17, 1), 0.8)], -1)
    for source in ("mediapipe", "keypoints"):
        said = refuse(source, save("one.npy", rows), *SIZED)
        assert "its third values look like scores" in said
        assert "as MoveNet gives them" in said


@pytest.mark.parametrize("form", ["coco", "tables", "arrays", "openpose", "pyskl", "long"])
def test_third_values_of_both_signs_are_not_scores(refuse, form):
    poses = walk(25 if form == "openpose" else 17)
    depth = RANDOM.normal(0, 0.3, poses.shape[:2])
    rows = np.concatenate([poses, depth[..., None]], -1)
    options = SIZED
    if form == "coco":
        name = write("one.json", [{"image_id": i, "keypoints": row.ravel().tolist()}
                                  for i, row in enumerate(rows)])
    elif form == "tables":
        name = wide(poses, scores=depth)
    elif form == "arrays":
        name = arrays(poses, scores=depth)
    elif form == "openpose":
        name = Path("in")
        for i, row in enumerate(rows):
            write(name / f"v_{i:012d}_keypoints.json",
                  {"people": [{"pose_keypoints_2d": row.ravel().tolist()}]})
    elif form == "pyskl":
        name, options = dump("one.pkl", [poses[None]], keypoint_score=depth[None]), ()
    else:
        name, form, options = Path("one.csv"), "arrays", (*SIZED, "--layout", "coco17")
        name.write_text("clip,frame,person,joint,x,y,score\n" + "".join(
            f"a,{t},0,{joint},{x},{y},{z}\n" for t, row in enumerate(rows)
            for joint, (x, y, z) in enumerate(row)))
    assert "of its scores are negative" in refuse(form, name, *options)


@pytest.mark.parametrize(("scores", "doubt"), [
    (np.full((1, 12, 17), 80), "doubtful: most scores are above 1 and count as 1, the largest is"),
    (np.full((1, 12, 17), 0.001), "doubtful: all scores are below 0.02")])
def test_scores_of_another_range_in_a_pickle(run, scores, doubt):
    code, notes = run("pyskl", dump("one.pkl", [walk()[None]], keypoint_score=scores))
    assert code == 0
    assert notes.startswith(doubt)


@pytest.mark.parametrize("form", ["openpose", "yolo", "coco", "mediapipe"])
@pytest.mark.parametrize("stamp", ["2024-01-01T12_00_{:02d}.{:03d}", "17000000{:02d}.{:03d}"])
def test_files_named_by_the_time_are_not_a_clip_per_second(refuse, form, stamp):
    poses = walk(25 if form == "openpose" else 33)
    for i, pose in enumerate(poses):
        name = Path("in") / stamp.format(i // 4, i % 4 * 250)
        if form == "openpose":
            write(f"{name}_keypoints.json", {"people": [
                {"pose_keypoints_2d": results([pose])[0]["keypoints"]}]})
        elif form == "coco":
            write(f"{name}.json", results([pose]))
        elif form == "yolo":
            name.parent.mkdir(exist_ok=True)
            Path(f"{name}.txt").write_text("0 .5 .5 .2 .4 " + ".5 .5 .9 " * 17)
        else:
            name.parent.mkdir(exist_ok=True)
            np.save(f"{name}.npy", np.append(pose / 640, np.ones((33, 2)), 1))
    assert "in has files named by the time" in refuse(form, "in", *SIZED)


def test_recordings_named_by_the_time_are_clips(run):
    for video in range(2):
        for i in (0, 1, 3, 4, 7, 8):
            write(f"in/12_00_0{video}_{i:03d}_keypoints.json", {"people": [
                {"pose_keypoints_2d": results(walk(25, frames=1))[0]["keypoints"]}]})
    assert run("openpose", "in", *SIZED)[0] == 0
    assert KeypointFile("out.h5").num_frames.tolist() == [9, 9]


@pytest.mark.parametrize("form", ["tables", "persons", "coco", "mmpose", "kinetics_skeleton"])
def test_videos_that_follow_each_other_are_not_persons(refuse, form):
    poses, numbers = walk(), [i % 6 for i in range(12)]
    if form in {"tables", "persons"}:
        first = ("frame",) if form == "tables" else ("frame", "person")
        name = wide(poses, first=first, cells=[(i, 1)[: len(first)] for i in numbers])
        form = "tables"
    elif form == "kinetics_skeleton":
        name = kinetics(walk(18, low=0.1, high=0.9), numbers=numbers)
    else:
        name = write("one.json", results(poses, numbers) if form == "coco" else [
            {**frame, "frame_id": i} for frame, i in zip(mmpose(poses), numbers, strict=True)])
        form = "coco"
    assert "its frames are counted from 0 2 times" in refuse(form, name, *SIZED)


@pytest.mark.parametrize("name", ["time", "Timestamp"])
def test_times_that_go_back_are_not_one_clip(run, refuse, name):
    poses = walk()
    table = wide(poses, first=(name,), cells=[(1.7e9 + i % 6 / 30,) for i in range(12)])
    assert "not in the order of their times" in refuse("tables", table, *SIZED)
    for cells in ([(1.7e9 + i / 30,) for i in range(12)], [(f"12:00:{i}",) for i in range(12)]):
        assert run("tables", wide(poses, first=(name,), cells=cells), *SIZED,
                   "--overwrite")[0] == 0
        assert KeypointFile("out.h5").num_frames.tolist() == [12]


def test_persons_who_follow_each_other_have_numbers(run):
    poses = walk()
    name = wide(poses, first=("frame", "person"), cells=[(i % 6, i // 6) for i in range(12)])
    assert run("tables", name, *SIZED)[0] == 0
    np.testing.assert_allclose(keypoints(), poses.reshape(2, 6, 17, 2), rtol=1e-6)


def test_a_column_of_videos(run):
    name = wide(walk(), first=("video_path", "frame"),
                cells=[(f"{'ab'[i // 6]}.mp4", i % 6) for i in range(12)])
    assert run("tables", name, *SIZED)[0] == 0
    assert KeypointFile("out.h5").ids == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize("form", ["name2id", "list", "categories"])
def test_names_of_joints_in_further_forms(run, form):
    poses = walk()
    content = {"meta_info": {"keypoint_name2id": {name: i for i, name in enumerate(H36M)}}
               if form == "name2id" else {"keypoint_id2name": list(H36M)},
               "instance_info": mmpose(poses)}
    if form == "categories":
        content = {"images": [{"id": i, "height": 480.0, "width": 640.0} for i in range(12)],
                   "annotations": [{**person, "image_id": float(i)}
                                   for i, person in enumerate(results(poses))],
                   "categories": {"keypoints": list(H36M)}}
    assert run("coco", write("one.json", content),
               *(() if form == "categories" else SIZED))[0] == 0
    assert KeypointFile("out.h5").header.layout.name == "h36m17"
    np.testing.assert_allclose(keypoints()[0], poses, atol=1e-3)


def test_names_that_contradict_the_layout(run, refuse):
    poses = walk()
    message = "names its joints, and they are those of h36m17, not of --layout coco17"
    assert message in refuse("tables", wide(poses, H36M), *SIZED, "--layout", "coco17")
    assert message in refuse("arrays", arrays(poses, joint_names=np.array(H36M)), *SIZED,
                             "--layout", "coco17")
    assert "`layout_name` 'h36m' has 17 joints, but it has 18" in refuse(
        "videopose3d", videopose3d(walk(18), "h36m"))
    assert run("tables", wide(poses, [f"part {name}" for name in H36M]), *SIZED, "--layout",
               "coco17")[0] == 0  # names of one's own say nothing


def test_a_choice_of_numbered_joints_is_not_a_layout(refuse):
    names = [f"kp{i}" for i in [*range(16), 20]]
    assert "kp20, which are those of no built-in layout" in refuse(
        "tables", wide(walk(), names), *SIZED)


def test_a_column_of_scores_that_is_spelled_otherwise(refuse):
    name = wide(walk(), COCO, scores=np.full((12, 17), 0.5))
    Path(name).write_text(Path(name).read_text().replace("right_ankle_score", "right-ankle_score"))
    assert "score of 'right-ankle', which has no x and y, but none of 'right_ankle'" in refuse(
        "tables", name, *SIZED)


def test_labels_that_look_like_indices(run):
    Path("labels.csv").write_text("clip,label\nc0,01\nc1,02\nc2,03\n")
    name = dump("one.pkl", [walk()[None]] * 3)
    assert run("pyskl", name, "--labels", "labels.csv")[0] == 0
    file = KeypointFile("out.h5")
    assert file.header.class_names == ("01", "02", "03")
    assert file.label.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("form", "label"), [("csv", "-1"), ("csv", "nan"), ("arrays", -1)])
def test_labels_that_say_that_they_are_not_known(refuse, form, label):
    if form == "csv":
        Path("labels.csv").write_text(f"clip,label\nc0,{label}\nc1,1\n")
        said = refuse("pyskl", dump("one.pkl", [walk()[None]] * 2), "--labels", "labels.csv")
    else:
        said = refuse("arrays", arrays(walk(), label=label), *SIZED)
    assert f"the label '{label}'; leave the label out, or empty, where it is not known" in said


@pytest.mark.parametrize("form", ["arrays", "nw_ucla"])
def test_labels_that_are_floats(run, form):
    for i in range(3):
        if form == "arrays":
            Path("in").mkdir(exist_ok=True)
            np.savez(f"in/{i}.npz", keypoints=walk(), label=float(i), height=480.0, width=640.0)
        else:
            write(f"in/{i}.json", {"label": float(i),
                                   "skeletons": RANDOM.normal(size=(6, 20, 3)).tolist()})
    assert run(form, "in")[0] == 0
    assert KeypointFile("out.h5").label.tolist() == [0, 1, 2]


def test_numbers_of_frames_that_are_floats(run):
    for name, content in (("coco", results(walk(), [float(i) for i in range(12)])),
                          ("mmpose", [{**frame, "frame_id": float(i)}
                                      for i, frame in enumerate(mmpose(walk()))])):
        assert run("coco", write(f"{name}.json", content), *SIZED, "--overwrite")[0] == 0
        assert KeypointFile("out.h5").num_frames.tolist() == [12]
    name = kinetics(walk(18, low=0.1, high=0.9), numbers=[float(i) for i in range(12)])
    assert run("kinetics_skeleton", name, *SIZED, "--overwrite")[0] == 0


def test_classes_without_clips_are_reported(run):
    name = dump("one.pkl", [walk()[None]] * 3, (1, 2, 3))
    code, said = run("pyskl", name)
    assert code == 0
    assert "classes without clips 1: 0; do the labels count from 1?" in said
    Path("labels.csv").write_text("clip,split\nc0,test\nc1,test\nc2,test\n")
    code, said = run("pyskl", name, "--labels", "labels.csv", "--overwrite")
    assert code == 0
    assert "training clips in own none" in said
