"""MoveNet on real videos."""

import sys
from collections import Counter

import numpy as np
import onnx
import pytest
from videos import paint

from ptl_skel.errors import MissingFileError, UserError
from ptl_skel.pose import PersonTracker, find_poses, make_estimator
from ptl_skel.pose.movenet import MoveNet, OpenVinoMoveNet
from ptl_skel.pose.video import Video

BODY = [5, 6, 11, 12]  # shoulders and hips


@pytest.fixture(scope="module")
def movenet(shared):
    return MoveNet(shared / "models" / "movenet_multipose_f16.onnx")


def follow(movenet, path, every=1):
    """For some frames: number of a person -> keypoints, of those who are followed."""
    tracker, frames = PersonTracker(), []
    with Video(path) as video:
        for frame in video:
            if frame.number % every == 0:
                poses = find_poses(movenet, frame)
                ids = tracker.update(poses.keypoints, poses.scores, poses.confidence)
                frames.append({int(i): poses.keypoints[row] for row, i in enumerate(ids)
                               if i >= 0})
    return frames


def test_two_persons_who_hug(movenet, shared):
    frames = follow(movenet, shared / "data" / "video" / "demo_skeleton.mp4")
    assert Counter(i for frame in frames for i in frame) == {0: 70, 1: 70}
    places = np.array([[frame[i][BODY, 0].mean() for i in (0, 1)] for frame in frames[2:]])
    assert (places[:, 0] - places[:, 1] > 80).all()  # who stands on the right stays there
    assert np.abs(np.diff(places, axis=0)).max() < 40
    heights = np.array([np.ptp(frame[i][:, 1]) for frame in frames[2:] for i in (0, 1)])
    assert ((heights > 350) & (heights < 700)).all()  # px, of 1080


def test_nobody_is_invented(movenet, shared):
    """Only legs at the edge are to be seen."""
    frames = follow(movenet, shared / "data" / "video" / "test.mp4", every=2)
    assert np.mean([bool(frame) for frame in frames]) <= 0.01


def from_left(poses):
    """Keypoints and boxes of the two surest persons, from left to right."""
    rows = np.argsort(-poses.confidence)[:2]
    rows = rows[np.argsort(poses.keypoints[rows, 0, 0])]
    return poses.keypoints[rows], poses.boxes[rows]


def test_places_do_not_depend_on_the_size_of_the_image(movenet, shared):
    with Video(shared / "data" / "video" / "demo_skeleton.mp4") as video:
        frame = next(iter(video))
    scale = 1920 / 256
    whole, small = (from_left(movenet(frame.to_image(side))) for side in (None, 256))
    np.testing.assert_allclose(whole[0], small[0] * scale, atol=20)  # px, of 1920
    np.testing.assert_allclose(whole[1], small[1] * scale, atol=20)
    found = find_poses(movenet, frame)
    keypoints, boxes = from_left(found)
    np.testing.assert_allclose(keypoints, small[0] * scale, atol=0.01)
    for joints, box in zip(keypoints, boxes, strict=True):
        assert (joints.min(0) > box[:2] - 60).all()
        assert (joints.max(0) < box[2:] + 60).all()
    assert ((found.scores == 0) | (found.scores >= 0.2)).all()


def test_openvino_finds_the_same_persons(movenet, shared):
    """Also where it computes in bfloat16, as it does if the CPU can."""
    pytest.importorskip("openvino", reason="openvino is not installed (pip install openvino)")
    other = OpenVinoMoveNet(shared / "models" / "movenet_multipose_f16.onnx")
    with Video(shared / "data" / "video" / "demo_skeleton.mp4") as video:
        images = [frame.to_image(256) for frame in video if frame.number % 12 == 0]
    for image in [*images, images[0][:, :100]]:  # the last one has another shape
        expected, found = movenet(image), other(image)
        sure = expected.confidence > 0.3
        assert sure.any() or image.shape[1] == 100
        for keypoints, scores in zip(expected.keypoints[sure], expected.scores[sure], strict=True):
            seen = scores > 0.5
            height = np.ptp(keypoints[seen][:, 1])
            distance = np.linalg.norm(found.keypoints - keypoints, axis=-1)[:, seen].mean(1)
            assert distance.min() < 0.02 * height


def test_without_openvino(monkeypatch, shared):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UserError, match="--estimator movenet-openvino needs OpenVINO: pip"):
        make_estimator("movenet-openvino", shared / "models" / "movenet_multipose_f16.onnx")


@pytest.mark.parametrize("size", [(1, 1), (33, 7), (96, 160), (300, 40)])
def test_images_of_any_size_and_without_persons(movenet, size):
    poses = movenet(paint(0, 0, size))
    assert poses.keypoints.shape[1:] == (17, 2)
    assert (poses.confidence < 0.3).all()


def test_a_model_that_is_not_there_or_another_one(tmp_path, monkeypatch, shared):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MissingFileError, match="`ptl-skel pose fetch movenet` downloads it once"):
        MoveNet()
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(UserError, match=r"text\.onnx is not an ONNX model"):
        MoveNet(tmp_path / "text.onnx")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "relu",
        [value("x", onnx.TensorProto.FLOAT, [1, 3])], [value("y", onnx.TensorProto.FLOAT, [1, 3])])
    onnx.save(onnx.helper.make_model(graph, ir_version=9, opset_imports=[
        onnx.helper.make_opsetid("", 18)]), tmp_path / "relu.onnx")
    with pytest.raises(UserError, match=r"relu\.onnx is an ONNX model, but not MoveNet"):
        MoveNet(tmp_path / "relu.onnx")
    with pytest.raises(UserError, match="`side` must be a multiple of 32, got 250"):
        MoveNet(shared / "models" / "movenet_multipose_f16.onnx", side=250)
