"""What holds for the inputs of every source: changes are noticed, and links are followed."""

import json
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
from commandline import preprocess_or_check as main
from scipy.io import savemat
from skeleton_files import body, file_text
from videos import walking

from preprocessing.commands import SOURCES
from preprocessing.core.files import walk
from ptl_skel.storage import KeypointFile

SKELETON = file_text([[body(at=(t / 10, 0, 3))] for t in range(3)])
POSE = [[100.0 + joint, 200.0, 0.5] for joint in range(17)]


def ntu(folder):
    (folder / "S001C001P001R001A001.skeleton").write_bytes(SKELETON)


def archive(folder):
    with zipfile.ZipFile(folder / "some.zip", "w") as file:
        file.writestr("S001C001P001R001A001.skeleton", SKELETON)


def penn_action(folder):
    savemat(folder / "0001.mat", {"action": "squat", "train": 1, "dimensions": [480, 640, 3],
                                  "visibility": np.ones((3, 13)), "x": np.full((3, 13), 30.0),
                                  "y": np.full((3, 13), 40.0)}, do_compression=True)


def pyskl(folder):
    (folder / "some.pkl").write_bytes(pickle.dumps([{
        "frame_dir": "a", "label": 0, "img_shape": (480, 640),
        "keypoint": np.full((1, 3, 17, 2), 9, np.float32)}]))


def openpose(folder):
    people = [{"pose_keypoints_2d": [9.0] * 75}]
    (folder / f"{folder.name}_000_keypoints.json").write_text(json.dumps({"people": people}))


def coco(folder):
    (folder / "one.json").write_text(json.dumps([{"image_id": 1, "keypoints": POSE}]))


def yolo(folder):
    (folder / f"{folder.name}_1.txt").write_text("0 0.5 0.5 0.1 0.1" + " 0.5 0.5 0.9" * 17)


def arrays(folder):
    np.savez(folder / "one.npz", keypoints=np.array([POSE])[..., :2])


def table(folder):
    (folder / "one.csv").write_text("clip,frame,person,joint,x,y\n" + "".join(
        f"{folder.name},0,0,{joint},{x},{y}\n" for joint, (x, y, _) in enumerate(POSE)))


def mediapipe(folder):
    np.save(folder / "one.npy", np.full((3, 33, 4), 0.5))


def wide(folder):
    (folder / "one.csv").write_text("frame," + ",".join(f"x{i},y{i}" for i in range(17)) + "\n"
                                    + ",".join(["0", *["99"] * 34]) + "\n")


def videopose3d(folder):
    np.savez(folder / "one.npz", positions_2d={"S1": {"Walking": [np.full((3, 17, 2), 99.0)]}})


def ctrgcn(folder):
    x, y = np.full((1, 300, 150), -1.0, np.float32), np.eye(60)[:1]
    np.savez(folder / "one.npz", x_train=x, y_train=y, x_test=x, y_test=y)


def nw_ucla(folder):
    (folder / "one.json").write_text(json.dumps(
        {"file_name": "one", "skeletons": [[[-1.0, i, 2.0] for i in range(20)]], "label": 1}))


def kinetics_skeleton(folder):
    (folder / "one.json").write_text(json.dumps({"label": "yoga", "label_index": 1, "data": [
        {"frame_index": 1, "skeleton": [{"pose": [0.5] * 36, "score": [0.5] * 18}]}]}))


def video(folder):
    walking(folder / "one.mp4", 5)


SIZED = ("--frame_size", "480", "640")
INPUTS = {ntu: ("ntu",), archive: ("ntu",), pyskl: ("pyskl",), penn_action: ("penn_action",),
          openpose: ("openpose", *SIZED), coco: ("coco", *SIZED), yolo: ("yolo", *SIZED),
          arrays: ("arrays", *SIZED), table: ("arrays", *SIZED, "--layout", "coco17"),
          mediapipe: ("mediapipe", *SIZED), wide: ("tables", *SIZED),
          videopose3d: ("videopose3d", *SIZED), ctrgcn: ("ctrgcn",), nw_ucla: ("nw_ucla",),
          kinetics_skeleton: ("kinetics_skeleton", *SIZED),
          video: ("video", "--estimator", "videos.Rectangles", "--workers", "1")}
ONE_FILE = {pyskl: "some.pkl", videopose3d: "one.npz", ctrgcn: "one.npz"}


def test_no_source_is_left_out():
    assert {source for source, *_ in INPUTS.values()} == set(SOURCES)


def command(make, root, out):
    source, *options = INPUTS[make]
    given = root / ONE_FILE.get(make, "")
    return [source, str(given), *options, "--out", str(out)]


@pytest.mark.parametrize("make", INPUTS)
def test_a_changed_input_is_another_job_and_a_moved_one_is_not(make, tmp_path, capsys):
    root, out = tmp_path / "here" / "mine", tmp_path / "out.h5"
    root.mkdir(parents=True)
    make(root)
    file, = root.iterdir()
    assert main(command(make, root, out)) == 0
    content = out.read_bytes()
    capsys.readouterr()
    for elsewhere in ("moved", "copied"):
        (tmp_path / elsewhere).mkdir()
        copy = shutil.copytree if elsewhere == "copied" else shutil.move
        root = copy(root, tmp_path / elsewhere / "mine")
        assert main(command(make, root, out)) == 0
        assert "nothing to do" in " ".join(capsys.readouterr().out.split())
    file = root / file.name
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 10**6))
    assert main(command(make, root, out)) == 2
    assert "--overwrite" in capsys.readouterr().err
    with file.open("ab") as grown:
        grown.write(b"\n")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert main(command(make, root, out)) == 2
    assert out.read_bytes() == content


@pytest.mark.parametrize("make", [make for make in INPUTS if make not in {*ONE_FILE, penn_action}])
def test_linked_folders_are_followed_and_loops_are_not(make, tmp_path):
    root, store = tmp_path / "mine", tmp_path / "store"
    for folder in (root, store):
        folder.mkdir()
    make(store)
    (root / "store").symlink_to(store)
    (store / "loop").symlink_to(root)
    (root / "itself").symlink_to(root)
    (root / "nowhere").symlink_to(tmp_path / "none")
    assert main(command(make, root, tmp_path / "out.h5")) == 0
    file = KeypointFile(tmp_path / "out.h5")
    assert len(file) == 1
    assert file.num_lost == 0


def test_each_folder_is_walked_once_on_its_way(tmp_path):
    for name in ("a/deep", "b"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "deep" / "file").write_text("")
    (tmp_path / "b" / "again").symlink_to(tmp_path / "a")  # no loop: it is there twice
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    found = {folder.relative_to(tmp_path).as_posix(): names for folder, names in walk(tmp_path)}
    assert list(found) == [".", "a", "a/deep", "b", "b/again", "b/again/deep"]
    assert found["a/deep"] == found["b/again/deep"] == ["file"]


def test_the_case_of_linked_folders(shared, tmp_path):
    """Links of the case, which its copy holds as text, are made anew."""
    case = shared / "cases" / "linked_folders"
    shutil.copytree(case, tmp_path / "case", copy_function=shutil.copyfile)
    more = tmp_path / "case" / "clips" / "more"
    if more.is_file():
        more.unlink()
        more.symlink_to("../store")
    out = tmp_path / "out.h5"
    assert main(["coco", str(tmp_path / "case" / "clips"), *SIZED, "--out", str(out)]) == 0
    assert KeypointFile(out).ids == ["near", "more/far"]
