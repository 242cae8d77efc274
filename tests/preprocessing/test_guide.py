"""The guide to data, done as it says, on inputs in the forms in which the tools write them."""

import json
import pickle
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from skeleton_files import body, file_text
from test_formats import (
    COCO,
    KINECT,
    deeplabcut,
    holistic,
    save_videopose3d,
    sleap,
    walk,
    write_csv,
)

from preprocessing.commands import SOURCES
from ptl_skel.__main__ import main
from ptl_skel.skeletons import LAYOUTS
from ptl_skel.storage import KeypointFile

GUIDE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
FORMATS = re.findall(r"^\| .+ \| `(ptl-skel preprocess .+)` \|$", GUIDE, re.MULTILINE)
POSES = walk()


def flat(frame, joints=17):
    return np.concatenate([POSES[0, frame, :joints], np.full((joints, 1), 0.5)], 1).ravel().tolist()


def dump(name, content):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def annotations(names):
    return [{"frame_dir": name, "label": i % 2, "img_shape": (480, 640),
             "total_frames": 12, "keypoint": POSES.astype(np.float16),
             "keypoint_score": np.full(POSES.shape[:3], 0.5, np.float16)}
            for i, name in enumerate(names)]


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """An input of every format, under the names in the guide."""
    monkeypatch.chdir(tmp_path)
    frames = range(12)
    results = [{"image_id": i, "category_id": 1, "score": 0.9, "keypoints": flat(i)}
               for i in frames]
    dump("coco_results.json", results)
    dump("coco_annotations.json", {
        "images": [{"id": i, "file_name": f"{i:06d}.jpg", "height": 480, "width": 640}
                   for i in frames],
        "annotations": [{"id": i, "image_id": i, "category_id": 1, "keypoints": flat(i)}
                        for i in frames],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO)}]})
    for name, poses in (("mmpose.json", POSES), ("mmpose_3d.json", walk(dimensions=3))):
        dump(name, {"meta_info": {"dataset_name": "x"} if name == "mmpose.json" else {},
                    "instance_info": [{"frame_id": i + 1, "instances": [{
                        "keypoints": poses[0, i].tolist(), "keypoint_scores": [0.5] * 17,
                        "bbox": [[0, 0, 9, 9]], "bbox_score": 1.0}]} for i in frames]})
    dump("alphapose-results.json", [{"image_id": f"{i}.jpg", "category_id": 1, "score": 2.5,
                                     "keypoints": flat(i), "box": [0, 0, 9, 9], "idx": 1}
                                    for i in frames])
    dump("ultralytics.json", [[{
        "name": "person", "class": 0, "confidence": 0.9, "track_id": 1,
        "box": {"x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0},
        "keypoints": {"x": flat(i)[::3], "y": flat(i)[1::3], "visible": flat(i)[2::3]}}]
        for i in frames])
    for i in frames:
        for video in "ab":
            dump(f"frames/{video}/{i:06d}.json", [results[i]])
            dump(f"results/{video}/{i:06d}.json", [results[i]])
        dump(f"openpose/jump_{i:012d}_keypoints.json", {"version": 1.3, "people": [{
            "person_id": [-1], "pose_keypoints_2d": [200.0, 200 + i, 0.5] * 25}]})
    _write_text_and_arrays(frames)
    _write_data_sets()


def _write_text_and_arrays(frames):
    for folder in ("labels", "MP_Data/wave/0", "arrays"):
        Path(folder).mkdir(parents=True)
    pose, face, hands = holistic(walk(joints=75))
    for i in frames:
        shares = (POSES[0, i] / (640, 480)).ravel().round(4)
        values = " ".join(f"{x} {y} 0.5" for x, y in shares.reshape(-1, 2))
        Path(f"labels/jump_{i + 1}.txt").write_text(f"0 0.3 0.3 0.9 0.9 {values}\n")
        np.save(f"MP_Data/wave/0/{i}.npy", np.concatenate([pose[i], face[i], hands[i]]))
    write_csv(Path("landmarks.csv"), [f"{axis}{i}" for i in range(1, 34) for axis in "xyzv"],
              pose.tolist())
    deeplabcut(POSES).to_csv("deeplabcut.csv")
    sleap(Path("sleap.h5"), walk(persons=2))
    write_csv(Path("kinect.csv"), ["Timestamp", *(f"{joint}{axis}" for joint in KINECT
                                                  for axis in "XYZ")],
              [[i * 33, *walk(25, dimensions=3)[0, 0].ravel()] for i in frames])
    write_csv(Path("joints.csv"), ["clip", "frame", "person", "joint", "x", "y", "score"],
              [["jump", i, 0, joint, *POSES[0, i, joint], 0.5] for i in frames
               for joint in range(17)])
    np.savez("arrays/jump.npz", keypoints=POSES)
    save_videopose3d("data_2d_custom_mine.npz", "positions_2d",
                     {"a.mp4": {"custom": [POSES[0].astype(np.float32)]}},
                     {"layout_name": "coco", "num_joints": 17, "video_metadata": {
                         "a.mp4": {"w": 640, "h": 480}}})


def _write_data_sets():
    Path("mine.pkl").write_bytes(pickle.dumps({
        "split": {"xsub_train": ["a"], "xsub_val": ["b"]}, "annotations": annotations("ab")}))
    Path("train.pkl").write_bytes(pickle.dumps(annotations("ab")))
    Path("val.pkl").write_bytes(pickle.dumps(annotations("cd")))
    x = np.zeros((2, 300, 150), np.float32)
    x[:, :12, :75] = walk(25, dimensions=3)[0].reshape(12, 75)
    np.savez("NTU60_CS.npz", x_train=x, y_train=np.eye(60)[:2], x_test=x, y_test=np.eye(60)[:2])
    for folder in ("nturgb+d_skeletons", "labels_mat"):
        Path(folder).mkdir()
    Path("nturgb+d_skeletons/S001C001P001R001A001.skeleton").write_bytes(
        file_text([[body(at=(t / 10, 0, 3))] for t in range(12)]))
    for name in ("a01_s01_e00_v01", "a02_s02_e00_v03"):
        dump(f"all_sqe/{name}.json", {"file_name": name, "label": int(name[1:3]),
                                      "skeletons": walk(20, dimensions=3)[0].tolist()})
    dump("kinetics_train/abc.json", {"label": "yoga", "label_index": 3, "data": [
        {"frame_index": i + 1, "skeleton": [{"pose": [0.5, 0.4 + i / 100] * 18,
                                             "score": [0.5] * 18}]} for i in range(12)]})
    savemat("labels_mat/0001.mat", {
        "action": "squat", "train": 1, "dimensions": [480, 640, 12],
        "visibility": np.ones((12, 13)), "x": POSES[0, :, :13, 0], "y": POSES[0, :, :13, 1]},
        do_compression=True)


@pytest.mark.parametrize("command", FORMATS)
def test_every_format_of_the_guide_is_read(inputs, command):
    main(shlex.split(command)[1:])
    file = KeypointFile("out.h5")
    assert file.num_frames.max() == 12
    assert file.num_lost == 0


@pytest.mark.parametrize("command", FORMATS)
def test_every_format_of_the_guide_is_recognised(inputs, capsys, command):
    source, *arguments = shlex.split(command)[2:]
    if arguments[0] == "--train":
        pytest.skip("several files")
    main(["preprocess", "keypoints", *arguments])
    assert f"is read as {source}:" in capsys.readouterr().out


def test_the_guide_leaves_out_no_source_and_no_layout():
    assert {shlex.split(command)[2] for command in FORMATS} == set(SOURCES) - {"video"}
    assert "[Videos](video.md)" in GUIDE
    section = GUIDE.split("## Joints")[1].split("## Labels")[0]
    assert set(re.findall(r"`(\w+\d\d+)`", section)) == set(LAYOUTS)


def test_the_commands_of_the_guide(inputs):
    for block in re.findall(r"^```bash\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("ptl-skel split"):  # labels, as the guide says
                Path("labels.csv").write_text("clip,label\na,walk\nb,walk\n")
                main(shlex.split("preprocess keypoints results/ --frame_size 480 640 --labels "
                                 "labels.csv --out mine.h5 --overwrite"))
            main(shlex.split(line)[1:])
    assert set(KeypointFile("mine.h5").splits) == {"random1"}
    assert Path("layout.png").exists()
    assert Path("mine.html").exists()
