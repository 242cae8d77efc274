"""Further inputs of people that were silently misread, or rejected by mistake."""

import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from pose_inputs import COCO, RANDOM, SIZED, arrays, dump, mmpose, results, walk, write

from ptl_skel.skeletons import get_layout
from ptl_skel.storage import KeypointFile

KINECT = get_layout("ntu25").joints


def check(poses, tolerance=1e-3):
    """Checks the first clip against ``(T, V, C)`` of a person."""
    np.testing.assert_allclose(KeypointFile("out.h5").frames(0)[0], poses[None], atol=tolerance)


def metres(frames, joints):
    """A person at 3 m from the camera, ``(T, V, 3)``."""
    return RANDOM.normal(0, 0.4, (frames, joints, 3)) + np.array([0, 0, 3])


def table(name, poses, joints, axes="xy", first=(), cells=None):
    """A table with a line per frame, of poses ``(T, V, axes)``."""
    lines = [",".join([*first, *(f"{joint}_{axis}" for joint in joints for axis in axes)])]
    lines += [",".join(map(str, [*(cells[i] if cells else ()), *pose.ravel().tolist()]))
              for i, pose in enumerate(poses)]
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("\n".join([*lines, ""]))
    return name


def deeplabcut(name, poses, axes="xy"):
    """An HDF5 file of DeepLabCut, of poses ``(T, 17, axes)``."""
    columns = [("scorer", joint, axis) for joint in COCO for axis in axes]
    rows = np.empty(len(poses), [("index", "i8"), ("values_block_0", "f8", len(columns))])
    rows["index"], rows["values_block_0"] = np.arange(len(poses)), poses.reshape(len(poses), -1)
    Path(name).parent.mkdir(exist_ok=True)
    with h5py.File(name, "w") as file:
        stored = file.create_dataset("df_with_missing/table", data=rows)
        stored.attrs["values_block_0_kind"] = np.bytes_(pickle.dumps(columns, 0))
    return name


@pytest.mark.parametrize("form", ["mediapipe", "deeplabcut", "npz", "wide", "long"])
@pytest.mark.parametrize("recognised", [False, True])
def test_labels_beside_the_clips_are_not_a_clip(run, form, recognised):
    Path("in").mkdir()
    poses = walk(33, low=0.1, high=0.9) if form == "mediapipe" else walk()
    for name in "ab":
        if form == "mediapipe":
            np.save(f"in/{name}.npy", np.concatenate([poses, np.ones((12, 33, 2))], -1))
        elif form == "deeplabcut":
            deeplabcut(f"in/{name}.h5", poses)
        elif form == "npz":
            np.savez(f"in/{name}.npz", keypoints=poses)
        elif form == "wide":
            table(f"in/{name}.csv", poses, COCO)
        else:
            Path(f"in/{name}.csv").write_text("clip,frame,person,joint,x,y\n" + "".join(
                f"{name},{t},0,{i},{x},{y}\n" for t, pose in enumerate(poses.tolist())
                for i, (x, y) in enumerate(pose)))
    Path("in/labels.csv").write_text("clip,label\na,up\nb,down\n")
    source = {"mediapipe": "mediapipe", "npz": "arrays", "long": "arrays"}.get(form, "tables")
    assert run("keypoints" if recognised else source, "in", "--labels", "in/labels.csv", *SIZED,
               *(("--layout", "coco17") if form == "long" else ()))[0] == 0
    file = KeypointFile("out.h5")
    assert file.ids == ["a", "b"]
    assert file.num_lost == 0
    assert file.label.tolist() == [1, 0]


def test_labels_of_clips_that_cannot_be_read(refuse):
    Path("in").mkdir()
    Path("in/a.csv").write_text("what,is,this\n1,2,3\n")
    Path("labels.csv").write_text("clip,label\na,up\n")
    assert "in has no clip that can be used; the first, a: it has no columns x and y" in refuse(
        "tables", "in", "--labels", "labels.csv", *SIZED)


def test_clips_that_are_only_there_as_hdf5_are_not_left_out(run, refuse):
    poses = walk()
    for name in "ab":
        deeplabcut(f"in/{name}.h5", poses)
    table("in/a.csv", poses, COCO)
    assert "in holds both .csv and .h5 files, among them b.h5; keep one kind" in refuse(
        "tables", "in", *SIZED)
    table("in/b.csv", poses, COCO)
    assert run("tables", "in", *SIZED)[0] == 0
    assert KeypointFile("out.h5").ids == ["a", "b"]


def test_tables_and_arrays_in_a_folder(refuse):
    poses = walk(33, low=0.1, high=0.9)
    table("in/a.csv", poses, [f"j{i}" for i in range(33)])
    np.save("in/b.npy", poses)
    assert "in holds both .npy and .csv files, among them a.csv" in refuse("mediapipe", "in",
                                                                           *SIZED)


@pytest.mark.parametrize("scale", [1, 1000])
def test_deeplabcut_in_3d_as_hdf5(run, scale):
    poses = metres(12, 17)
    code, notes = run("keypoints", deeplabcut("one.h5", poses * scale, "xyz"))
    assert code == 0
    check(poses * scale, 1e-2)
    assert ("are they millimetres" in notes) == (scale > 1)


@pytest.mark.parametrize("joints", [21, 33])
def test_a_table_of_mediapipe_without_visibility(run, refuse, joints):
    poses = walk(joints, low=0.1, high=0.9)
    rows = np.concatenate([poses, RANDOM.normal(0, 0.05, (12, joints, 1))], -1)
    name = table("one.csv", rows, [f"j{i}" for i in range(joints)], "xyz")
    options = (*SIZED, "--layout", "hand21" if joints == 21 else "blazepose33")
    assert run("keypoints", name, *options)[0] == 0
    check(poses * (640, 480), 1e-2)
    Path("out.h5").unlink()
    assert "read MediaPipe's files with `mediapipe`, or give" in refuse("tables", name, *options)


@pytest.mark.parametrize("form", ["csv", "npy"])
def test_legs_far_below_the_frame_are_not_metres(run, form):
    poses = walk(33, low=0.1, high=0.9)
    poses[:, 25:, 1] += 1.2  # as MediaPipe guesses those of somebody at a desk
    rows = np.concatenate([poses, np.full((12, 33, 1), -0.2), np.ones((12, 33, 1))], -1)
    if form == "csv":
        name = Path(table("one.csv", rows, [f"j{i}" for i in range(33)], "xyzv"))
    else:
        name = Path("one.npy")
        np.save(name, rows[..., :3])
    assert run("keypoints", name, *SIZED)[0] == 0
    check(poses * (640, 480), 1e-2)


@pytest.mark.parametrize("form", ["nested", "predictions", "cmu", "open", "text"])
def test_a_file_per_frame_in_further_forms(run, form):
    poses = walk(18)
    for i, (person, pose) in enumerate(zip(results(poses), mmpose(poses), strict=True)):
        values = person["keypoints"]
        content = {"nested": [pose["instances"]],
                   "predictions": {"visualization": [], "predictions": [pose["instances"]]},
                   "cmu": {"version": "AlphaPose v0.3", "bodies": [{"joints": values}]},
                   "open": {"version": "AlphaPose v0.3", "people": [
                       {"pose_keypoints_2d": values}]},
                   "text": json.dumps([{"keypoints": values}])}[form]
        write(f"in/jump/{i}.json", content)
    assert run("keypoints", "in", *SIZED)[0] == 0
    assert KeypointFile("out.h5").num_frames.tolist() == [12]
    check(poses)


@pytest.mark.parametrize("form", ["mmpose", "coco", "arrays", "pyskl"])
def test_scores_of_another_name_are_doubted(run, form):
    poses, scores = walk(), np.full((12, 17), 0.3)
    content = [{"frame_id": i, "keypoints": pose.tolist(), "confidence": scores[i].tolist(),
                "bbox": [1.0, 2.0, 3.0, 4.0]} for i, pose in enumerate(poses)]
    if form == "mmpose":
        content = [{"frame_id": i, "instances": [one]} for i, one in enumerate(content)]
    name = (arrays(poses, confidence=scores, boxes=np.ones((12, 4))) if form == "arrays" else
            dump("one.pkl", [poses[None]], confidence=scores[None]) if form == "pyskl" else
            write("one.json", content))
    source = "coco" if form == "mmpose" else form
    code, notes = run(source, name, *(() if form == "pyskl" else SIZED))
    assert code == 0
    assert notes.startswith("doubtful: values of each joint are left out: confidence; must they")


def test_names_of_joints_of_another_name_are_doubted(run):
    name = arrays(walk(), scores=np.ones((12, 17)), joints=np.array(COCO[::-1]))
    code, notes = run("arrays", name, *SIZED)
    assert code == 0
    assert "left out: joints; must they be called scores, or joint_names?" in notes


@pytest.mark.parametrize("step", [20, 30])
def test_images_named_by_seconds_with_fewer_decimals(run, step):
    poses = walk(frames=70)
    names = [f"{round(i / step, 3)}.jpg" for i in range(70)]
    assert run("coco", write("one.json", results(poses, names)), *SIZED)[0] == 0
    check(poses)


def test_files_named_by_seconds(refuse):
    for i, pose in enumerate(walk(25, frames=70)):
        write(f"in/{i / 30:.3f}_keypoints.json", {"people": [
            {"pose_keypoints_2d": results([pose])[0]["keypoints"]}]})
    assert "in has files named by the time, as 0. and 1." in refuse("openpose", "in", *SIZED)


def test_images_in_several_folders_are_several_videos(refuse):
    names = [f"{'ab'[i // 6]}/{i:04d}.jpg" for i in range(12)]
    said = refuse("coco", write("one.json", results(walk(), names)), *SIZED)
    assert "its images lie in 2 folders, such as a and b; a file must hold one clip" in said


def test_a_list_of_frames_for_each_person_is_not_one_of_persons_for_each_frame(refuse):
    tracks = {str(person): [{"frame": i, "keypoints": one["keypoints"]}
                            for i, one in enumerate(results(walk()))] for person in (1, 2)}
    assert "it has 24 persons in frame 1 and 1 more; number the frames" in refuse(
        "coco", write("one.json", tracks), *SIZED)


@pytest.mark.parametrize("name", ["TrackingId", "who"])
def test_several_lines_of_the_same_time(run, refuse, name):
    poses = metres(24, 25)
    cells = [(i // 2 * 33, 70_000 + i % 2) for i in range(24)]
    kinect = table("one.csv", poses, KINECT, "xyz", ("Timestamp", name), cells)
    if name == "TrackingId":
        assert "it has a column of persons, but none of frames" in refuse("tables", kinect)
        table("one.csv", poses, KINECT, "xyz", ("Timestamp", name), [(i, 7) for i in range(24)])
        assert run("tables", kinect)[0] == 0
        check(poses)
        return
    code, notes = run("tables", kinect)
    assert code == 0
    assert notes.startswith("doubtful: up to 2 lines have the same time; if they are of several")


def test_times_in_whole_seconds_are_not_doubted(run):
    poses = metres(24, 25)
    kinect = table("one.csv", poses, KINECT, "xyz", ("time",), [(i // 12,) for i in range(24)])
    assert run("tables", kinect)[1].startswith("out.h5")


@pytest.mark.parametrize("mark", [999, -1000])
def test_a_mark_in_one_axis_of_3d(run, mark):
    poses = metres(12, 20)
    poses[::4, 5, 2] = mark
    code, notes = run("nw_ucla", write("one.json", {"label": 1, "skeletons": poses.tolist()}))
    assert code == 0
    assert notes == "joints more than 100 times as far away as usual count as missing: 3"


def test_percent_of_a_person_who_is_narrow_or_cut_off_are_doubted(run):
    poses = np.stack([RANDOM.uniform(30, 45, (12, 17)), RANDOM.uniform(30, 85, (12, 17))], -1)
    poses[0, 16, 1] = 103
    assert run("coco", write("one.json", results(poses)), *SIZED)[1].startswith("doubtful: all")


@pytest.mark.parametrize(("name", "message"), [
    ("one.csv", "one.csv cannot be read: it has no columns x and y of joints"),
    ("one.json", "one.json cannot be read: one.json is not JSON"),
    ("one.npz", "it has no array `keypoints`; it has points"),
    ("one.slp", "it is a project of SLEAP; export it")])
def test_why_an_input_is_not_recognised(refuse, name, message):
    if name == "one.npz":
        np.savez(name, points=walk())
    elif name == "one.slp":
        with h5py.File(name, "w") as file:
            file["instances"], file["pred_points"] = np.zeros(3), np.zeros(3)
    else:
        Path(name).write_text("frame,landmark,x,y\n0,0,1,2\n")
    assert message in refuse("keypoints", name, *SIZED)
