"""Exported networks without torch: the runtime, its window on a stream, and the example."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import CLASSES

from ptl_skel.cli.deployable import feed_of, predict
from ptl_skel.cli.lightning import load_trained
from ptl_skel.data.dataset import ClipDataset
from ptl_skel.data.sampling import sample_test
from ptl_skel.deploy.runtime import Recognizer, sample_frames
from ptl_skel.deploy.runtime_window import MOST_FRAMES, Window
from ptl_skel.storage import KeypointFile

ROOT = Path(__file__).parents[2]
FRAME = (240, 320)


@pytest.fixture(scope="module")
def recognizer(exported):
    return Recognizer(exported)


@pytest.fixture
def clip(tiny_file):
    """Keypoints (2, T, V, 2) and scores (2, T, V) of two persons."""
    keypoints, scores = KeypointFile(tiny_file).frames(21)
    return keypoints.astype(np.float32), scores.astype(np.float32)


def person(clip, frame, number=0):
    return clip[0][number, frame], clip[1][number, frame]


@given(st.integers(1, 500), st.integers(1, 64), st.integers(1, 12))
def test_frames_are_sampled_as_at_the_test(num_frames, clip_len, num_clips):
    expected = sample_test(num_frames, clip_len, num_clips).ravel()
    np.testing.assert_array_equal(sample_frames(num_frames, clip_len, num_clips), expected)


def test_a_clip_gets_the_probabilities_of_the_test(recognizer, checkpoint, tiny_file):
    model, data = load_trained(["--ckpt_path", str(checkpoint)])
    assert recognizer.class_names == list(CLASSES)
    assert recognizer.joint_names == list(data.layout.joints)
    for number in (0, 21):
        batch = ClipDataset(data.file, np.array([number]), data.clip_len)[0]
        keypoints, scores = data.file.frames(number)
        made = recognizer(keypoints, scores, FRAME)
        np.testing.assert_allclose(made, predict(model, data, batch)[0], atol=1e-5)
    one = recognizer(keypoints[0], scores[0], FRAME)
    np.testing.assert_array_equal(one, recognizer(keypoints[:1], scores[:1], FRAME))
    feed = feed_of(batch, data)
    np.testing.assert_allclose(recognizer.run(**feed)[0], made, atol=1e-6)


def test_joints_that_are_nan_are_missing(recognizer, clip):
    keypoints, scores = (each.copy() for each in clip)
    scores[:, :, 3] = 0
    expected = recognizer(keypoints, scores, FRAME)
    keypoints[:, :, 3] = np.nan
    np.testing.assert_array_equal(recognizer(keypoints, scores, FRAME), expected)
    scores[:, :, 3] = 1
    np.testing.assert_array_equal(recognizer(keypoints, scores, FRAME), expected)
    nothing = recognizer(np.full_like(keypoints, np.nan), scores, FRAME)
    assert np.isfinite(nothing).all()


@pytest.mark.parametrize("far", [1e9, -1e9, 1e300, 4000])
def test_a_joint_far_away_is_missing(recognizer, clip, far):
    keypoints, scores = clip[0].astype(np.float64), clip[1].copy()
    scores[0, ::3, 3] = 0
    expected = recognizer(keypoints, scores, FRAME)
    scores[0, ::3, 3] = 1
    keypoints[0, ::3, 3, 0] = far
    np.testing.assert_array_equal(recognizer(keypoints, scores, FRAME), expected)


@pytest.mark.parametrize(("keypoints", "scores", "said"), [
    ((2, 9, 17, 2), (2, 9, 17), r"takes 13 joints \(layout penn13\) of 2 coordinates, got"),
    ((2, 9, 13, 3), (2, 9, 13), "takes 13 joints"),
    ((2, 9, 13, 2), (2, 9, 12), r"expected scores of the shape \(2, 9, 13\)"),
    ((2, 0, 13, 2), (2, 0, 13), "no frames"),
    ((0, 9, 13, 2), (0, 9, 13), "expected keypoints"),
    ((13, 2), (13,), r"of a clip are \(persons, frames, joints, coordinates\)")])
def test_shapes_that_do_not_fit(recognizer, keypoints, scores, said):
    with pytest.raises(ValueError, match=said):
        recognizer(np.ones(keypoints), np.ones(scores), FRAME)


@pytest.mark.parametrize("size", [(0, 320), (np.nan, 320), (240,), (-1, 2)])
def test_frame_sizes_that_are_none(recognizer, clip, size):
    with pytest.raises(ValueError, match="is a positive height and width"):
        recognizer(*clip, size)


def test_files_that_cannot_be_used(exported, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.onnx does not exist"):
        Recognizer(tmp_path / "gone.onnx")
    path = tmp_path / "other.onnx"
    path.write_text("no network")
    with pytest.raises(ValueError, match="is not an ONNX file"):
        Recognizer(path)
    model = onnx.load(exported)
    metadata = json.loads(model.metadata_props[0].value)
    model.metadata_props[0].value = json.dumps({**metadata, "format": 99, "ptl_skel": "9.0"})
    onnx.save(model, path)
    with pytest.raises(ValueError, match=r"written by version 9\.0 of ptl_skel"):
        Recognizer(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(ValueError, match="was not written by `ptl-skel export`"):
        Recognizer(path)


def test_a_window_that_holds_a_clip_sees_that_clip(recognizer, clip):
    """Each person on their own, and both together."""
    alone, both = Window(recognizer, seconds=100), Window(recognizer, seconds=100, together=True)
    frames = clip[0].shape[1]
    for frame in range(frames):
        people = {name: person(clip, frame, name) for name in (0, 1)}
        alone.add(frame / 30, people, FRAME)
        both.add(frame / 30, people, FRAME)
    found = alone.recognize()
    assert set(found) == {0, 1}
    for name, probabilities in found.items():
        expected = recognizer(clip[0][name], clip[1][name], FRAME)
        np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    np.testing.assert_allclose(both.recognize()[None], recognizer(*clip, FRAME), atol=1e-6)


def test_a_window_holds_the_last_seconds(recognizer, clip):
    window = Window(recognizer, seconds=1)
    frames = clip[0].shape[1]
    assert frames > 40
    for frame in range(frames):
        window.add(frame / 20, {"a": person(clip, frame)}, FRAME)
    last = slice(frames - 20, frames)
    expected = recognizer(clip[0][:1, last], clip[1][:1, last], FRAME)
    np.testing.assert_allclose(window.recognize()["a"], expected, atol=1e-6)


def test_a_person_is_seen_from_their_first_frame_on_and_may_be_missing(recognizer, clip):
    window = Window(recognizer, seconds=100, patience=0.5)
    for frame in range(30):
        people = {"a": person(clip, frame)}
        if frame >= 10 and frame % 3:
            people["b"] = person(clip, frame, 1)
        window.add(frame / 20, people, FRAME)
    keypoints, scores = (each[1:2, 10:30].copy() for each in clip)
    scores[:, [frame - 10 for frame in range(10, 30) if frame % 3 == 0]] = 0
    expected = recognizer(keypoints, scores, FRAME)
    np.testing.assert_allclose(window.recognize()["b"], expected, atol=1e-6)


def test_people_who_vanish_are_forgotten(recognizer, clip):
    window = Window(recognizer, seconds=4, patience=1)
    for frame in range(10):
        window.add(frame / 10, {frame % 2: person(clip, frame)}, FRAME)
    assert window.tracks == [0, 1]
    for frame in range(10, 19):
        window.add(frame / 10, {}, FRAME)
    window.add(1.85, {}, FRAME)
    assert window.tracks == [1]
    window.add(2, {}, FRAME)
    assert window.tracks == []
    assert window.recognize() == {}
    window.add(3600, {5: person(clip, 0)}, FRAME)  # nothing for an hour
    assert set(window.recognize()) == {5}
    assert len(window._frames) == 1


def test_memory_is_bounded(recognizer, clip):
    """Also where frames come faster than any camera, and every person is a new one."""
    window = Window(recognizer, seconds=1e9, patience=0.01)
    for frame in range(MOST_FRAMES + 500):
        window.add(frame / 1000, {frame: person(clip, frame % 40)}, FRAME)
    assert len(window._seen) <= 11
    times = [time for time, _ in window._frames]
    assert MOST_FRAMES / 2 < len(times) < MOST_FRAMES
    assert times[0] == 0  # no second of the window is lost
    assert max(np.diff(times)) < 0.0031
    assert (MOST_FRAMES + 499) / 1000 - times[-1] < 0.0031


def test_another_frame_size_starts_anew(recognizer, clip):
    window = Window(recognizer)
    for frame in range(5):
        window.add(frame / 10, {0: person(clip, frame), 1: person(clip, frame, 1)}, FRAME)
    window.add(0.5, {0: person(clip, 5)}, (480, 640))
    assert window.tracks == [0]
    expected = recognizer(clip[0][:1, 5:6], clip[1][:1, 5:6], (480, 640))
    np.testing.assert_allclose(window.recognize()[0], expected, atol=1e-6)


def test_frames_that_do_not_fit(recognizer, clip):
    window = Window(recognizer)
    window.add(1.0, {0: person(clip, 0)}, FRAME)
    for time in (1.0, 0.5, np.nan):
        with pytest.raises(ValueError, match="in order of time"):
            window.add(time, {}, FRAME)
    with pytest.raises(ValueError, match="takes 13 joints"):
        window.add(1.1, {0: (np.ones((17, 2)), np.ones(17))}, FRAME)
    with pytest.raises(ValueError, match=r"of a person in a frame are \(joints, coordinates\)"):
        window.add(1.1, {0: (clip[0][0], clip[1][0])}, FRAME)
    assert len(window._frames) == 1
    for seconds in (0, "4", np.nan):
        with pytest.raises(ValueError, match="`seconds` must be a positive number"):
            Window(recognizer, seconds=seconds)
    window.add(1e300, {0: person(clip, 0)}, FRAME)  # where seconds are smaller than rounding
    assert set(window.recognize()) == {0}


def test_the_example(exported, clip, tmp_path, monkeypatch, capsys):
    np.savez(tmp_path / "clip.npz", keypoints=clip[0], scores=clip[1], frame_size=FRAME)
    example = str(ROOT / "examples/edge.py")
    monkeypatch.setattr(sys, "argv", [example, str(exported), str(tmp_path / "clip.npz")])
    runpy.run_path(example, run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    probabilities = Recognizer(exported)(*clip, FRAME)
    best = int(probabilities.argmax())
    assert lines[0] == f"{probabilities[best]:.3f} {CLASSES[best]}"
    assert len(lines) == 3 + clip[0].shape[1] // 15


def test_a_copy_runs_where_there_is_nothing_else(exported, clip, tmp_path):
    """The modules beside the example, in a process that cannot import torch, nor this package."""
    for file in ("ptl_skel/deploy/runtime.py", "ptl_skel/deploy/runtime_window.py",
                 "examples/edge.py"):
        shutil.copy(ROOT / file, tmp_path)
    np.savez(tmp_path / "clip.npz", keypoints=clip[0], scores=clip[1], frame_size=FRAME)
    blocked = "torch", "lightning", "h5py", "ptl_skel", "onnx", "scipy"
    code = (f"import sys; sys.modules.update(dict.fromkeys({blocked})); "
            "sys.argv = ['edge.py', *sys.argv[1:]]; sys.path.insert(0, '.'); "
            "import runpy; runpy.run_path('edge.py', run_name='__main__')")
    done = subprocess.run([sys.executable, "-c", code, str(exported), "clip.npz"], cwd=tmp_path,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3 + clip[0].shape[1] // 15
