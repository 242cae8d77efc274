"""OpenPose's JSON, as --write_json writes it."""

import json
from pathlib import Path

import numpy as np
import pytest

from preprocessing.core.plausibility import check_clip
from preprocessing.core.source import LeftOut, Unusable
from preprocessing.tools.frame_files import find_frame_files
from preprocessing.tools.openpose import TAIL, OpenPoseSource

SIZE = 480, 640


def person(joints=25, *, shift=0.0, key="pose_keypoints_2d", number=-1, missing=()):
    values = []
    for joint in range(joints):
        values += [0, 0, 0] if joint in missing else [100.5 + shift + joint, 200.25, 0.875]
    return {"person_id": [number], key: values, "face_keypoints_2d": [],
            "hand_left_keypoints_2d": [], "hand_right_keypoints_2d": [],
            "pose_keypoints_3d": [], "face_keypoints_3d": [], "hand_left_keypoints_3d": [],
            "hand_right_keypoints_3d": []}


def put(folder: Path, video: str, frame: int, *people, digits=12) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{video}_{frame:0{digits}}_keypoints.json"
    path.write_text(json.dumps({"version": 1.3, "people": list(people)}))
    return path


def test_a_clip(tmp_path):
    for frame in range(3):
        put(tmp_path, "jump", frame, person(shift=frame, missing=(4, 7)))
    source = OpenPoseSource(tmp_path, frame_size=SIZE)
    assert source.keys() == ["jump"]
    assert source.header.layout.name == "body25"
    clip, = source.read("jump")
    assert (clip.id, clip.frame_size, clip.label, clip.subject) == ("jump", SIZE, -1, -1)
    assert clip.keypoints.shape == (1, 3, 25, 2)
    assert clip.keypoints[0, 2, 24].tolist() == [126.5, 200.25]
    assert clip.scores[0, 0, :5].tolist() == [0.875] * 4 + [0]
    assert clip.scores[0, :, (4, 7)].max() == 0


def test_an_old_version_with_18_joints(tmp_path):
    put(tmp_path, "walk", 0, person(18, key="pose_keypoints"))
    source = OpenPoseSource(tmp_path, frame_size=SIZE)
    assert source.header.layout.name == "openpose18"
    assert source.read("walk")[0].keypoints.shape == (1, 1, 18, 2)


def test_frames_without_persons_keep_their_place(tmp_path):
    for frame in range(6):
        put(tmp_path, "walk", frame, *[person()] * (frame in {1, 4}))
    clip, = OpenPoseSource(tmp_path, frame_size=SIZE).read("walk")
    assert clip.scores[0, :, 0].tolist() == [0.875, 0, 0, 0.875]


def test_a_person_without_any_joint_is_ignored(tmp_path):
    put(tmp_path, "walk", 0, person(missing=range(25)), person(), {"pose_keypoints_2d": []})
    clip, = OpenPoseSource(tmp_path, frame_size=SIZE).read("walk")
    assert clip.keypoints.shape[0] == 1


def test_persons_are_followed_though_their_order_changes(tmp_path):
    for frame in range(4):
        people = [person(shift=frame), person(shift=300 + frame)]
        put(tmp_path, "talk", frame, *people[:: 1 if frame % 2 else -1])
    clip, = OpenPoseSource(tmp_path, frame_size=SIZE).read("talk")
    assert np.diff(clip.keypoints[..., 0], axis=1).max() == 1


def test_numbers_of_tracking_are_used(tmp_path):
    for frame in range(4):
        put(tmp_path, "talk", frame, person(shift=300 * (frame % 2), number=5),
            person(shift=300 * (1 - frame % 2), number=2))
    clip, = OpenPoseSource(tmp_path, frame_size=SIZE).read("talk")
    assert clip.keypoints[:, :, 0, 0].tolist() == [[400.5, 100.5] * 2, [100.5, 400.5] * 2]


def clips(root):
    return {name: len(list(files)) for name, files in find_frame_files(root, TAIL).items()}


def test_clips_in_one_folder_are_named_after_the_video(tmp_path):
    for video, frames in (("jump", 3), ("jump_2", 2), ("walk", 1)):
        for frame in range(frames):
            put(tmp_path, video, frame, person())
    assert clips(tmp_path) == {"jump": 3, "jump_2": 2, "walk": 1}


def test_a_folder_per_clip(tmp_path):
    for video in ("jump", "walk"):
        put(tmp_path / video, video, 0, person())
        put(tmp_path / "more" / "rest", "rest", 0, person())
    assert clips(tmp_path) == {"jump": 1, "rest": 1, "walk": 1}


def test_folders_name_clips_whose_videos_are_named_alike(tmp_path):
    for folder in ("jump", "walk", "more/run"):
        put(tmp_path / folder, "camera", 0, person())
    for video in ("camera", "other"):
        put(tmp_path / "both", video, 0, person())
    assert clips(tmp_path) == {"both/camera": 1, "jump": 1, "more/run": 1, "other": 1, "walk": 1}


@pytest.mark.parametrize("name", ["0007_keypoints.json", "_000000000007_keypoints.json"])
def test_names_that_are_only_numbers(tmp_path, name):
    for folder in (tmp_path / "jump", tmp_path):
        put(folder, "x", 0, person()).rename(folder / name)
    assert clips(tmp_path) == {"jump": 1, tmp_path.name: 1}


def test_clips_of_the_same_name_are_refused(tmp_path):
    for folder, video in (("jump", "camera"), ("walk", "camera"), ("more", "jump")):
        put(tmp_path / folder, video, 0, person())
    with pytest.raises(ValueError, match="both hold a clip that would be named 'jump'; rename"):
        find_frame_files(tmp_path, TAIL)


def test_numbers_of_any_length(tmp_path):
    for frame in (8, 9, 10, 11):
        put(tmp_path, "jump", frame, person(shift=frame), digits=1)
    put(tmp_path, "jump", 9, person(), digits=2)
    (tmp_path / "info_keypoints.json").write_text("{}")
    (tmp_path / "readme.txt").write_text("")
    source = OpenPoseSource(tmp_path, frame_size=SIZE)
    assert source.read("jump")[0].keypoints[0, :, 0, 0].tolist() == [108.5, 109.5, 110.5, 111.5]
    assert sorted(source.keys()) == ["info_keypoints.json", "jump", "jump_09_keypoints.json"]
    with pytest.raises(LeftOut, match="does not end in the number of a frame"):
        source.read("info_keypoints.json")
    with pytest.raises(ValueError, match="not numbered like jump_09"):
        source.read("jump_09_keypoints.json")


@pytest.mark.parametrize(("content", "message"), [
    ("", "is not JSON"),
    ('{"people": [', "is not JSON"),
    ("[" * 100_000, "is not JSON"),
    ("[]", "no list `people`"),
    ('{"version": 1.3}', "no list `people`"),
    ('{"people": [7]}', "a person without pose_keypoints_2d"),
    ('{"people": [{}]}', "a person without pose_keypoints_2d"),
    ('{"people": [{"pose_keypoints_2d": [1, 2]}]}', "not a list x, y, score"),
    ('{"people": [{"pose_keypoints_2d": 5}]}', "not a list x, y, score"),
    ('{"people": [{"pose_keypoints_2d": [1, 2, "a"]}]}', "not a list of numbers"),
    ('{"people": [{"pose_keypoints_2d": [1, 2, [3]]}]}', "not a list of numbers"),
    ('{"people": [{"pose_keypoints_2d": [1, 2, 1' + "0" * 400 + "]}]}", "not a list of numbers"),
    ('{"people": [{"pose_keypoints_2d": [1, 2, 1]}]}', "persons have 25 joints, but .* has 1"),
    ('{"people": [{"person_id": [1' + "0" * 30 + '], "pose_keypoints_2d": ' + str([1] * 75)
     + "}]}", "absurdly large"),
    ('{"people": [{"person_id": -1' + "0" * 30 + ', "pose_keypoints_2d": ' + str([1] * 75)
     + "}]}", "absurdly large"),
])
def test_flawed_files_are_refused_by_name(tmp_path, content, message):
    put(tmp_path, "fine", 0, person())
    put(tmp_path, "flawed", 0, person())
    flawed = put(tmp_path, "flawed", 1)
    flawed.write_text(content)
    source = OpenPoseSource(tmp_path, frame_size=SIZE)
    with pytest.raises(ValueError, match=message):
        source.read("flawed")
    assert source.read("fine")


def test_nobody_anywhere(tmp_path):
    put(tmp_path, "empty", 0)
    with pytest.raises(ValueError, match="no clip that can be used; the first, empty: there is no"):
        OpenPoseSource(tmp_path, frame_size=SIZE)


def test_relative_coordinates_are_refused(tmp_path):
    path = put(tmp_path, "jump", 0, person())
    content = json.loads(path.read_text())
    content["people"][0]["pose_keypoints_2d"] = [0.5, -0.25, 0.9] * 25  # --keypoint_scale 4
    path.write_text(json.dumps(content))
    clip, = OpenPoseSource(tmp_path, frame_size=SIZE).read("jump")
    with pytest.raises(Unusable, match="relative, not in pixels"):
        check_clip(clip)


def test_what_is_missing_is_asked_for(tmp_path):
    with pytest.raises(ValueError, match=r"holds no file <video>_<frame>_keypoints\.json"):
        OpenPoseSource(tmp_path, frame_size=SIZE)
    put(tmp_path, "jump", 0, person(15))
    with pytest.raises(ValueError, match="--frame_size HEIGHT WIDTH"):
        OpenPoseSource(tmp_path)
    with pytest.raises(ValueError, match=r"15 joints, .* of no layout or of several; name"):
        OpenPoseSource(tmp_path, frame_size=SIZE)
    assert OpenPoseSource(tmp_path, frame_size=SIZE, layout="sbu15").read("jump")
    with pytest.raises(ValueError, match="15 joints, but --layout coco17 has 17"):
        OpenPoseSource(tmp_path, frame_size=SIZE, layout="coco17")
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        OpenPoseSource(tmp_path / "none", frame_size=SIZE)
