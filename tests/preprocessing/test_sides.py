"""Height and width exchanged in a whole data set, of which some clips happen to fit."""

import pickle

import numpy as np
import pytest
from commandline import preprocess_or_check as main

from ptl_skel.storage import KeypointFile

RANDOM = np.random.default_rng(0)
SMALL = ((100, 400), (100, 400))  # fits in both frames
LANDSCAPE, PORTRAIT = ((200, 620), (20, 460)), ((20, 460), (200, 620))


@pytest.fixture
def preprocess(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(clips, *options):
        (tmp_path / "clips").mkdir(exist_ok=True)
        for i, (x, y) in enumerate(clips):
            np.savez(tmp_path / f"clips/{i:03d}.npz", keypoints=np.stack(
                [RANDOM.uniform(*x, (8, 17)), RANDOM.uniform(*y, (8, 17))], -1))
        code = main(["arrays", "clips", "--out", "out.h5", "--workers", "0", *options])
        return code, " ".join(capsys.readouterr().err.split())

    return run


@pytest.mark.parametrize("clips", [[*[SMALL] * 28, *[LANDSCAPE] * 2], [LANDSCAPE] * 3])
def test_exchanged_sides_are_refused_as_a_whole(preprocess, tmp_path, clips):
    wide = clips.count(LANDSCAPE)
    code, said = preprocess(clips, "--frame_size", "640", "480")
    assert code == 2
    assert f"{wide} of {len(clips)} clips do not fit" in said
    assert "--frame_size is HEIGHT WIDTH" in said
    assert not (tmp_path / "out.h5").exists()
    code, _ = preprocess([], "--frame_size", "480", "640")  # the same --out
    assert code == 0
    assert len(KeypointFile(tmp_path / "out.h5")) == len(clips)


def test_videos_of_both_orientations_are_refused(preprocess):
    code, said = preprocess([*[LANDSCAPE] * 5, *[PORTRAIT] * 3], "--frame_size", "480", "640")
    assert code == 2
    assert "Read videos of the other orientation separately" in said


def test_a_few_turned_videos_are_skipped(preprocess, tmp_path):
    code, said = preprocess([*[LANDSCAPE] * 38, PORTRAIT, SMALL], "--frame_size", "480", "640")
    assert code == 0
    assert "1 of 40 inputs (2.5%) are unusable" in said
    assert len(KeypointFile(tmp_path / "out.h5")) == 39


@pytest.mark.parametrize(("name", "layout", "refused"), [
    ("nw_ucla/nw_ucla_2d", "kinect20", True), ("msr_action3d/msr_action3d", "msr20", False)])
def test_real_data_with_exchanged_sides(shared, tmp_path, capsys, name, layout, refused):
    with (shared / "data" / f"{name}.pkl").open("rb") as file:
        content = pickle.load(file)
    for clip in content["annotations"]:
        clip["img_shape"] = clip["img_shape"][::-1]
    with (tmp_path / "turned.pkl").open("wb") as file:
        pickle.dump(content, file)
    code = main(["pyskl", str(tmp_path / "turned.pkl"), "--layout", layout,
                 "--out", str(tmp_path / "out.h5")])
    # All joints of MSR Action3D lie in both frames.
    assert code == (2 if refused else 0)
    assert ("70 of 1,484 clips do not fit" in " ".join(capsys.readouterr().err.split())) == refused
