"""The check of meaning: what it rejects, what it repairs, and that it accuses no real data."""

import numpy as np
import pytest

from preprocessing.core.plausibility import check_axes, check_clip, check_scores
from preprocessing.core.source import Unusable
from preprocessing.datasets.penn_action import PennActionSource
from preprocessing.datasets.pyskl import PysklSource
from ptl_skel.storage import Clip

RANDOM = np.random.default_rng(0)


def clip(keypoints, size=(480, 640), scores=None):
    keypoints = np.asarray(keypoints, np.float32)
    return Clip("a", keypoints, np.ones(keypoints.shape[:3]) if scores is None else scores, size)


def body(frames=20, x=320):
    """Joints around (x, 240) in pixels."""
    return RANDOM.normal((x, 240), 40, (1, frames, 17, 2))


def metres(z=0):
    """Joints around (0, 0, z)."""
    return RANDOM.normal((0, 0, z), 0.4, (1, 20, 17, 3))


def test_an_ordinary_clip_passes_unchanged():
    for keypoints in (body(), metres(), metres(z=3)):
        given = clip(keypoints, (480, 640) if keypoints.shape[-1] == 2 else (1, 1))
        checked = check_clip(given)
        np.testing.assert_array_equal(checked.keypoints, given.keypoints)
        np.testing.assert_array_equal(checked.scores, given.scores)
        assert not checked.repairs


@pytest.mark.parametrize("value", [2147480064, -1e9, 3e38, 7000])
def test_an_absurd_coordinate_is_a_missing_joint(value):
    keypoints = body()
    keypoints[0, 3, 5, 1] = value
    checked = check_clip(clip(keypoints))
    assert np.argwhere(checked.scores == 0).tolist() == [[0, 3, 5]]
    assert (checked.keypoints[0, 3, 5] == 0).all()
    assert checked.repairs == "joints more than 10 frame sizes away count as missing: 1"


def test_an_absurd_coordinate_in_metres_is_a_missing_joint():
    for z in (0, 3):
        keypoints = metres(z)
        keypoints[0, 3, 5, 2] = -2147480064
        checked = check_clip(clip(keypoints, (1, 1)))
        assert np.argwhere(checked.scores == 0).tolist() == [[0, 3, 5]]
        assert checked.repairs.endswith("as usual count as missing: 1")


def test_millimetres_are_doubtful():
    assert not check_clip(clip(metres(z=3), (1, 1))).repairs
    assert "are they millimetres" in check_clip(clip(1000 * metres(z=3), (1, 1))).repairs


@pytest.mark.parametrize("change", [
    lambda xy: xy / (640, 480), lambda xy: xy / (320, 240) - 1,  # 0..1, -1..1
    lambda xy: np.where(RANDOM.uniform(size=xy.shape) < 0.02, 50, xy / (640, 480)),  # and outliers
])
def test_relative_coordinates_are_rejected(change):
    with pytest.raises(Unusable, match="relative, not in pixels"):
        check_clip(clip(change(body())))


def test_zeros_are_rejected_and_do_not_count_as_relative():
    with pytest.raises(Unusable, match="all coordinates are 0"):
        check_clip(clip(np.zeros((1, 5, 17, 2))))
    keypoints = np.zeros((1, 5, 17, 2))
    keypoints[:, :, 0] = 300
    checked = check_clip(clip(keypoints))
    assert checked.repairs == "joints at the same number in all axes, as 0, count as missing: 80"
    np.testing.assert_array_equal(checked.scores[0, :, 1:], 0)


def test_exchanged_sides_are_rejected():
    keypoints = body(x=520)  # on the right of a frame that is wider than high
    assert not check_clip(clip(keypoints)).repairs
    with pytest.raises(Unusable, match="height and width are exchanged"):
        check_clip(clip(keypoints, (640, 480)))


def test_axes():
    check_axes(2, 1)
    check_axes(9, 3)
    with pytest.raises(Unusable, match="20 persons in 2 frames"):
        check_axes(20, 2)


def test_a_clip_that_is_mostly_empty_is_doubtful():
    scores = np.zeros((1, 200, 17))
    scores[0, ::50] = 1
    assert check_clip(clip(body(200), scores=scores)).repairs == (
        "doubtful: only 4 of 200 frames show somebody")


def test_scores():
    assert not check_scores(np.array([0.0, 0.4, 1.9, 0.9]))
    assert check_scores(np.array([60.0, 80, 0])).startswith("doubtful: most scores are above 1")
    with pytest.raises(Unusable, match="without a score, name the layout"):
        check_scores(np.array([240.0, 300]))


@pytest.mark.parametrize(("name", "layout", "repaired"), [
    ("sbu/sbu_interaction", "sbu15", 0), ("nw_ucla/nw_ucla_2d", "kinect20", 0),
    ("nw_ucla/nw_ucla_3d", "kinect20", 0), ("msr_action3d/msr_action3d", "msr20", 20)])
def test_no_real_clip_is_accused(shared, name, layout, repaired):
    source = PysklSource(shared / "data" / f"{name}.pkl", layout=layout)
    checked = [check_clip(source.read(key)[0]) for key in list(source.keys())]
    notes = [clip.repairs for clip in checked]
    assert max(np.abs(clip.keypoints).max() for clip in checked) < 10_000
    assert sum(map(bool, notes)) == repaired
    assert not any("doubtful" in note for note in notes)


def test_no_clip_of_penn_action_is_accused(shared):
    source = PennActionSource(shared / "data" / "penn_action")
    for key in source.keys()[::5]:
        assert not check_clip(source.read(key)[0]).repairs
