"""YOLO-pose text, as Ultralytics' save_txt writes it."""

from pathlib import Path

import numpy as np
import pytest

from preprocessing.tools.yolo import YoloSource

SIZE = 480, 640


def line(x=0.25, *, joints=17, values=3, score=0.75, confidence=None, number=None):
    """A person as Ultralytics writes it: each number by %g."""
    pose = [(x + 0.01 * joint, 0.5, score)[:values] for joint in range(joints)]
    row = [0, x + 0.005 * joints, 0.5, 0.01 * joints, 0.4, *np.ravel(pose)]
    row += [value for value in (confidence, number) if value is not None]
    return " ".join(f"{value:g}" for value in row)


def put(folder: Path, name: str, *lines) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return folder


def read(root, clip="jump", **options):
    return YoloSource(root, **{"frame_size": SIZE, **options}).read(clip)[0]


def places(clip):
    """x of the first joint of each person in each frame, pixels."""
    return clip.keypoints[:, :, 0, 0].round(3).tolist()


def test_a_clip(tmp_path):
    for frame in (1, 2, 10):  # numbers are not padded, and frames without persons have no file
        put(tmp_path, f"jump_{frame}", line(0.25 + frame / 100))
    reader = YoloSource(tmp_path, frame_size=SIZE)
    assert reader.keys() == ["jump"]
    assert reader.header.layout.name == "coco17"
    clip = read(tmp_path)
    assert (clip.id, clip.frame_size) == ("jump", SIZE)
    np.testing.assert_allclose(places(clip), [[166.4, 172.8, *[0] * 7, 224]], rtol=1e-6)
    assert clip.keypoints[0, 0, 1].tolist() == pytest.approx([172.8, 240])
    assert clip.scores[0, :, 5].tolist() == [0.75, 0.75, *[0] * 7, 0.75]


def test_joints_at_0_0_are_missing(tmp_path):
    """Ultralytics puts there what it is not sure of, but leaves its score."""
    values = line().split()
    values[5 + 3 * 4 : 5 + 3 * 4 + 2] = "0", "0"
    put(tmp_path, "jump_1", " ".join(values))
    assert np.flatnonzero(read(tmp_path).scores[0, 0] == 0).tolist() == [4]


def test_without_visibility(tmp_path):
    put(tmp_path, "jump_1", line(values=2))
    with pytest.raises(ValueError, match=r"39 values, .* name another layout with --layout"):
        read(tmp_path)
    clip = read(tmp_path, layout="coco17")
    assert (clip.scores == 1).all()
    assert places(clip) == [[160]]


@pytest.mark.parametrize("behind", [
    [{"number": 4}, {"number": 9}],
    [{"confidence": 0.5, "number": 4}, {"confidence": 1, "number": 9}],
])
def test_numbers_of_a_tracker(tmp_path, behind):
    put(tmp_path, "jump_1", line(0.2, **behind[0]), line(0.6, **behind[1]))
    put(tmp_path, "jump_2", line(0.2, **behind[1]), line(0.6, **behind[0]))
    assert places(read(tmp_path)) == [[128, 384], [384, 128]]


@pytest.mark.parametrize("behind", [
    [{"confidence": 0.5}, {"confidence": 0.25}],
    [{}, {}],
    [{"confidence": 1}, {"confidence": 0.5}],
])
def test_without_a_tracker(tmp_path, behind):
    put(tmp_path, "jump_1", line(0.2, **behind[0]), line(0.6, **behind[1]))
    put(tmp_path, "jump_2", line(0.6, **behind[0]), line(0.2, **behind[1]))
    assert sorted(places(read(tmp_path))) == [[128, 128], [384, 384]]


@pytest.mark.parametrize("confidence", [None, 0.5, 1])
def test_a_tracker_that_lost_everybody_in_a_frame(tmp_path, confidence):
    """It then gives no number; the person is found by its place."""
    for frame in range(4):
        number = None if frame == 2 else 4
        put(tmp_path, f"jump_{frame}", line(0.2, confidence=confidence, number=number))
    assert places(read(tmp_path)) == [[128] * 4]


def test_several_clips_and_other_files(tmp_path):
    for video in ("jump", "walk"):
        for frame in (1, 2):
            put(tmp_path / "labels", f"{video}_{frame}", line())
    put(tmp_path / "labels", "classes", "person")
    reader = YoloSource(tmp_path, frame_size=SIZE)
    assert reader.keys() == ["jump", "walk", "labels/classes.txt"]
    with pytest.raises(ValueError, match="does not end in the number of a frame"):
        reader.read("labels/classes.txt")


@pytest.mark.parametrize("joints", [17, 18, 26, 33])
def test_the_number_of_joints_is_told_from_the_length(tmp_path, joints):
    put(tmp_path, "jump_1", line(0.1, joints=joints, confidence=0.5, number=1))
    assert read(tmp_path).keypoints.shape == (1, 1, joints, 2)


@pytest.mark.parametrize(("text", "message"), [
    (b"0 0.5 0.5 0.2 0.4", "5 values, which is not a box with"),
    (line().encode() + b" 1 2 3 4 5 6", "62 values"),
    (line().encode().replace(b"0.75", b"high"), "line 1 of flawed_1.txt is not a list of numbers"),
    (b"\xff\xfe\x00", "line 1 of flawed_1.txt is not a list of numbers"),
    (line(320).encode(), "not relative to the width"),
    (line().encode() + b"\n" + line(joints=18).encode(), "17 joints, but in frame 1 one has 18"),
    (b"", "no person in any frame"),
    (b"\n \n", "no person in any frame"),
])
def test_flawed_files_are_refused(tmp_path, text, message):
    put(tmp_path, "fine_1", line())
    (tmp_path / "flawed_1.txt").write_bytes(text)
    with pytest.raises(ValueError, match=message):
        read(tmp_path, "flawed")


def test_what_is_missing_is_asked_for(tmp_path):
    put(tmp_path, "jump_1", line())
    with pytest.raises(ValueError, match="--frame_size HEIGHT WIDTH"):
        YoloSource(tmp_path)
    with pytest.raises(ValueError, match=r"56 values, .* with 18 joints"):
        YoloSource(tmp_path, frame_size=SIZE, layout="openpose18")
    with pytest.raises(ValueError, match=r"holds no file <video>_<frame>\.txt"):
        YoloSource(put(tmp_path / "none", "classes"), frame_size=SIZE)
