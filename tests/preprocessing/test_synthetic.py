from __future__ import annotations

import numpy as np
import pytest
from skeleton_files import read_slowly

from preprocessing.datasets.ntu.source import NtuSource
from preprocessing.datasets.ntu.text import PIXELS, XYZ
from preprocessing.synthetic import dataset as synthetic
from preprocessing.synthetic.actions import ACTIONS, Style
from preprocessing.synthetic.body import Build, move_body
from preprocessing.synthetic.dataset import perform, write_dataset
from preprocessing.synthetic.sensor import Camera
from ptl_skel.errors import UserError
from ptl_skel.skeletons import LAYOUTS

JOINTS, LIMBS = LAYOUTS["ntu25"].joints, LAYOUTS["ntu25"].limbs
NUMBER = {action.name: i for i, action in enumerate(ACTIONS)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "synthetic"
    assert write_dataset(path, subjects=3, replications=2) == 14 * 3 * 3 * 2
    return path


@pytest.fixture(scope="module")
def files(folder):
    return {path.stem: read_slowly(path.read_bytes()) for path in sorted(folder.glob("*.skeleton"))}


@pytest.fixture(scope="module")
def clips(folder):
    source = NtuSource(folder)
    return [source.read(key)[0] for key in list(source.keys())]


def joint(body, name):
    return body[:, JOINTS.index(name)]


# The body.


def test_a_body_stands():
    body = move_body({}, 2, Build())
    assert body[..., 1].min() == pytest.approx(0)
    assert joint(body, "head")[0] == pytest.approx([0, 1.67, 0.02], abs=0.05)
    assert joint(body, "left_wrist")[0, 0] > 0.15 > -0.15 > joint(body, "right_wrist")[0, 0]
    mirrored = body[:, LAYOUTS["ntu25"].mirrored_joints] * (-1, 1, 1)
    np.testing.assert_allclose(mirrored, body, atol=1e-12)


@pytest.mark.parametrize(("motion", "name", "origin", "direction"), [
    ({"left_arm_ahead": np.pi / 2}, "left_wrist", "left_shoulder", (0, 0, 1)),
    ({"right_arm_out": np.pi / 2}, "right_wrist", "right_shoulder", (-1, 0, 0)),
    ({"left_arm_out": np.pi / 2}, "left_wrist", "left_shoulder", (1, 0, 0)),
    ({"left_elbow": np.pi / 2}, "left_wrist", "left_elbow", (0, 0, 1)),
    ({"left_arm_turn": np.pi / 2, "left_elbow": np.pi / 2}, "left_wrist", "left_elbow", (1, 0, 0)),
    ({"right_leg_ahead": np.pi / 2}, "right_knee", "right_hip", (0, 0, 1)),
    ({"left_knee": np.pi / 2}, "left_ankle", "left_knee", (0, 0, -1)),
    ({"lean": np.pi / 2}, "head", "spine_base", (0, 0, 1)),
    ({"lean": 1.0}, "left_knee", "left_hip", (0, -1, 0)),
])
def test_angles_turn_limbs_the_right_way(motion, name, origin, direction):
    body = move_body(motion, 1, Build())
    limb = (joint(body, name) - joint(body, origin))[0]
    np.testing.assert_allclose(limb / np.linalg.norm(limb), direction, atol=0.1)


def test_a_body_has_no_other_angles():
    with pytest.raises(ValueError, match="`motion` has unknown names: left_ear"):
        move_body({"left_ear": 1.0}, 1, Build())


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_bones_keep_their_length(action):
    bodies = perform(action, np.random.default_rng(0), Build(0.9), Build(1.1))
    for body in bodies:
        lengths = np.linalg.norm([body[:, a] - body[:, b] for a, b in LIMBS], axis=-1)
        np.testing.assert_allclose(lengths, lengths[:, :1].repeat(len(body), 1), rtol=1e-9)
        assert 30 <= len(body) <= 62


# The actions.


def motion_values(motions):
    return [{name: np.broadcast_to(value, 40) for name, value in motion.items()}
            for motion in motions]


@pytest.mark.parametrize(("one", "other"), [
    ("circle arms forward", "circle arms backward"), ("sit down", "stand up"),
    ("pick up", "put down"), ("approach each other", "back away from each other")])
def test_pairs_are_each_others_reversal(one, other):
    style = Style(tempo=1.1, vigour=0.9, phase=0.3, side="left")
    forward, backward = (motion_values(ACTIONS[NUMBER[name]].motions(40, style))
                         for name in (one, other))
    moves = False
    for person, reversed_person in zip(forward, backward, strict=True):
        for name, values in person.items():
            np.testing.assert_allclose(values, reversed_person[name][::-1])
            moves |= not np.allclose(values, reversed_person[name])
    assert moves


def test_waves_differ_in_rhythm_only():
    slow, fast = (motion_values(ACTIONS[NUMBER[name]].motions(40, Style()))[0]
                  for name in ("wave slowly", "wave fast"))
    for name in set(slow) - {"right_elbow"}:
        np.testing.assert_array_equal(slow[name], fast[name])
    elbows = np.stack((slow["right_elbow"], fast["right_elbow"]))
    np.testing.assert_allclose(elbows.max(1) - elbows.min(1), 1.6, atol=0.1)
    turns = (np.diff(np.sign(np.diff(elbows, axis=1)), axis=1) != 0).sum(1)
    assert turns[1] >= 2 * turns[0]


def test_hands_meet_when_shaken():
    bodies = perform(ACTIONS[NUMBER["shake hands"]], np.random.default_rng(0), Build(), Build())
    apart = np.linalg.norm(joint(bodies[0], "right_hand") - joint(bodies[1], "right_hand"), axis=1)
    assert apart.min() < 0.25
    assert apart[0] > 0.4


# The camera.


@pytest.mark.parametrize(("angle", "place", "expected"), [
    (0, (0, 1, 0), (0, 0, 3)), (0, (1, 2, 1), (1, 1, 2)), (np.pi / 2, (1, 1, 0), (0, 0, 2)),
    (np.pi / 2, (0, 1, 1), (-1, 0, 3)), (np.pi / 4, (0, 1, 1), (-(0.5**0.5), 0, 3 - 0.5**0.5))])
def test_a_camera_sees_from_its_place(angle, place, expected):
    camera = Camera(angle, distance=3, height=1)
    np.testing.assert_allclose(camera.view(np.array(place, float)), expected, atol=1e-12)


def test_pixels_are_projections(files):
    joints = np.array([body.joints for frame in files["S002C002P001R001A001"] for body in frame])
    joints = joints[(joints[..., 11] > 0) & np.isfinite(joints).all(-1)]
    x, y, z = joints[:, XYZ].T
    np.testing.assert_allclose(joints[:, PIXELS],
                               np.stack((960 + 1081.4 * x / z, 540 - 1081.4 * y / z), 1), rtol=1e-5)


# The data set.


def test_the_official_protocols_divide_it(folder, clips):
    splits = NtuSource(folder).splits([clip.id for clip in clips])
    assert {name: [len(ids) for ids in parts.values()] for name, parts in splits.items()} == {
        "xsub": [168, 84], "xview": [168, 84]}
    assert [clip.label for clip in clips].count(13) == 18
    names = (folder / "class_names.txt").read_text(encoding="utf-8").splitlines()
    assert names == [action.name for action in ACTIONS]


def test_performers_are_official_ones():
    assert synthetic._performers(12) == [1, 2, 3, 4, 5, 6, 8, 9, 7, 13, 14, 10]
    assert len(set(synthetic._performers(30))) == 30


def test_everybody_is_found_again(clips):
    """By the rule for bodies: two persons in actions of two, one in those of one."""
    two = {NUMBER[name] for name in ("shake hands", "push", "approach each other",
                                     "back away from each other")}
    right = [len(clip.keypoints) == 1 + (clip.label in two) for clip in clips]
    assert np.mean(right) > 0.97
    frames = np.array([clip.keypoints.shape[1] for clip in clips])
    assert 15 <= frames.min() <= frames.max() <= 62
    assert 36 < np.median(frames) < 48


def test_most_joints_are_tracked_and_inside_the_picture(clips):
    scores = np.concatenate([clip.scores.ravel() for clip in clips])
    assert 0.005 < (scores == 0).mean() < 0.05
    assert 0.02 < (scores == 0.5).mean() < 0.2
    pixels = np.concatenate([clip.keypoints[clip.scores > 0] for clip in clips])
    inside = (pixels >= 0).all(1) & (pixels <= (1920, 1080)).all(1)
    assert inside.mean() > 0.98


def test_the_files_have_the_flaws_of_the_real_ones(files):
    def share(is_so):
        return np.mean([is_so(frames) for frames in files.values()])

    def count_ids(frames):
        return len({body.id for frame in frames for body in frame})

    assert 0.05 < share(lambda frames: any(not frame for frame in frames)) < 0.3
    assert 0.3 < share(lambda frames: count_ids(frames) > max(map(len, frames))
                       or any(np.ptp(body.joints[:, 0]) > 0.8 * np.ptp(body.joints[:, 1])
                              for frame in frames for body in frame)) < 0.9
    assert share(lambda frames: any(np.isnan(body.joints).any()
                                    for frame in frames for body in frame)) > 0.1
    lengths = [len([body for frame in frames for body in frame if body.id == body_id])
               for frames in files.values()
               for body_id in {body.id for frame in frames for body in frame}]
    assert min(lengths) <= 11
    first_ids = [frame[0].id for frames in files.values() for frame in frames if frame]
    assert any(float(body_id) == float(body_id + 1) for body_id in first_ids)


def test_the_seed_decides(folder, tmp_path):
    write_dataset(tmp_path / "again", subjects=3, replications=1)
    write_dataset(tmp_path / "other", subjects=3, replications=1, seed=1)
    again = sorted((tmp_path / "again").iterdir())
    assert len(again) == 14 * 3 * 3 + 1
    assert all(path.read_bytes() == (folder / path.name).read_bytes() for path in again)
    assert not any(path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()
                   for path in again if path.suffix == ".skeleton")


@pytest.mark.parametrize(("options", "reason"), [
    ({"subjects": 2}, "`subjects` must be 3 to 30, got 2"),
    ({"subjects": 31}, "`subjects` must be 3 to 30, got 31"),
    ({"replications": 0}, "`replications` must be 1 to 999, got 0"),
    ({"seed": -1}, "`seed` must be >= 0, got -1")])
def test_wrong_numbers_are_refused(tmp_path, options, reason):
    with pytest.raises(ValueError, match=reason):
        write_dataset(tmp_path / "new", **options)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine").write_text("", encoding="utf-8")
    for taken in (tmp_path, tmp_path / "mine"):
        with pytest.raises(UserError, match="give another folder, or remove it first"):
            write_dataset(taken)


def test_an_interrupted_data_set_does_not_appear(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "write_skeletons", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_dataset(tmp_path / "new", subjects=3, replications=1)
    assert not (tmp_path / "new").exists()
    write_dataset(tmp_path / "new", subjects=3, replications=1)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
