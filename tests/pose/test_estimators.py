"""Estimators by name and by class path, and what they return."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from videos import SIZE, Rectangles, TwoJoints, joints_at, walking

from ptl_skel.errors import UserError
from ptl_skel.pose import find_poses, make_estimator
from ptl_skel.pose.base import Poses
from ptl_skel.pose.rtmlib import RtmPose
from ptl_skel.pose.video import Video

IMAGE = np.zeros((60, 80, 3), np.uint8)
IMAGE[..., 0] = 200  # red, so that the order of the colours shows


@pytest.fixture
def frame(tmp_path):
    with Video(walking(tmp_path / "a.mp4", 3, 2)) as video:
        return list(video)[2]


def test_a_class_of_your_own(frame):
    estimator = make_estimator("videos.Rectangles")
    poses = find_poses(estimator, frame)
    assert frame.size == SIZE
    assert poses.keypoints.dtype == np.float32
    np.testing.assert_allclose(poses.keypoints, joints_at(2, 2), atol=2)
    assert make_estimator("videos.Rectangles", "some.onnx").preferred_side == 80


@pytest.mark.parametrize(("name", "message"), [
    ("rectangles", "must be movenet, movenet-openvino, rtmlib or the class path of your own"),
    ("no_such_module.Estimator", "there is no module no_such_module; install it, or add"),
    ("videos.no_such.Estimator", "there is no module videos.no_such"),
    ("videos.Circles", "the module videos has no Circles"),
    ("videos.NoLayout", "it has no layout; see ptl_skel.pose.base.PoseEstimator"),
])
def test_estimators_that_cannot_be_made(name, message):
    with pytest.raises(UserError, match=message):
        make_estimator(name)


def test_a_model_for_a_class_that_takes_none():
    with pytest.raises(UserError, match="NoLayout takes no model: leave --pose_model out"):
        make_estimator("videos.NoLayout", "some.onnx")


def test_a_mistake_in_a_module_of_your_own_is_not_disguised(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_library") as found:
        make_estimator("mine.Estimator")
    assert not isinstance(found.value, UserError)


def test_what_an_estimator_returns_is_checked(frame):
    with pytest.raises(UserError, match=r"TwoJoints returned `keypoints` of the shape \(1, 2, 2\), "
                       r"expected \(1, 17, 2\)"):
        find_poses(TwoJoints(), frame)

    class Wild(Rectangles):
        def __call__(self, image):
            poses = super().__call__(image)
            poses.keypoints[0, 3] = np.nan
            return replace(poses, scores=poses.scores * 3, confidence=np.array([np.nan, 7]))

    poses = find_poses(Wild(), frame)
    assert np.isfinite(poses.keypoints).all()
    assert poses.scores[0, 3] == 0
    assert poses.scores.max() == 1
    assert poses.confidence.tolist() == [0, 1]
    assert len(find_poses(lambda_estimator(Poses.nobody(17)), frame)) == 0


def lambda_estimator(poses):
    class Always(Rectangles):
        def __call__(self, image):
            return poses
    return Always()


class Body:
    """What rtmlib 0.0.16 offers, with results that its models give."""

    persons = 1

    def __init__(self, det=None, pose=None, mode="balanced", backend="onnxruntime", device="cpu"):
        self.one_stage = pose is not None and "rtmo" in pose
        self.made_with = mode, backend, device

    def det_model(self, image):
        assert image[0, 0].tolist() == [0, 0, 200]  # BGR
        return np.tile([[10.0, 5.0, 40.0, 55.0]], (self.persons, 1)) if self.persons else []

    def pose_model(self, image, bboxes=()):
        assert image.flags.c_contiguous
        if self.one_stage and not self.persons:
            return np.zeros((1, 17, 2)), np.zeros((1, 17))
        persons = self.persons if self.one_stage else max(1, len(bboxes))
        scores = np.full((persons, 17), 1.3)
        scores[:, 0] = -0.1
        return np.full((persons, 17, 2), 20.0), scores


@pytest.mark.parametrize("model", ["rtmpose", "rtmo"])
@pytest.mark.parametrize("persons", [0, 1, 3])
def test_rtmlib(monkeypatch, model, persons):
    monkeypatch.setitem(sys.modules, "rtmlib", SimpleNamespace(Body=Body))
    monkeypatch.setattr(Body, "persons", persons)
    poses = make_estimator("rtmlib", model)(IMAGE)
    assert len(poses) == persons
    assert poses.keypoints.shape == (persons, 17, 2)
    assert poses.boxes.shape == (persons, 4)
    assert ((poses.scores >= 0) & (poses.scores <= 1)).all()
    if persons:
        assert poses.confidence[0] == pytest.approx(16 / 17)
        assert poses.boxes[0].tolist() == ([10, 5, 40, 55] if model == "rtmpose" else [20] * 4)


def test_rtmlib_that_is_not_there_or_misused(monkeypatch):
    monkeypatch.setitem(sys.modules, "rtmlib", None)
    with pytest.raises(UserError, match="pip install rtmlib"):
        make_estimator("rtmlib")
    monkeypatch.setitem(sys.modules, "rtmlib", SimpleNamespace(Body=Body))
    with pytest.raises(UserError, match="must be rtmpose or rtmo, got some"):
        make_estimator("rtmlib", "some")
    with pytest.raises(UserError, match="`mode` must be"):
        RtmPose(mode="fast")
