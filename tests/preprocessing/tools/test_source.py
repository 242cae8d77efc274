"""Keypoints of pose tools: what is the same whichever tool they come from, and the commands."""

import os
import pickle
import sys
import unicodedata

import numpy as np
import pytest
from commandline import preprocess_or_check

from preprocessing.core import runner
from preprocessing.core.source import Unusable
from preprocessing.tools.arrays import ArraysSource
from preprocessing.tools.coco import CocoSource
from ptl_skel.storage import KeypointFile

SIZE = 480, 640
LABELS = "clip,label,split,subject\na,sit,train,1\nb,stand,train,2\nc,stand,test,3\n"


@pytest.fixture
def folder(tmp_path):
    """Three clips as NPZ, of 17 joints."""
    random = np.random.default_rng(0)
    (tmp_path / "mine").mkdir()
    for name in "abc":
        np.savez(tmp_path / "mine" / f"{name}.npz", keypoints=random.uniform(9, 99, (5, 17, 2)))
    return tmp_path / "mine"


def labels(folder, text=LABELS):
    path = folder.parent / "labels.csv"
    path.write_text(text)
    return path


def run(*arguments):
    return preprocess_or_check([str(argument) for argument in arguments])


def refused(capsys, *arguments):
    """The sentence with which a command fails."""
    assert run(*arguments) == 2
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert complaint.startswith("ptl-skel: ")
    return complaint


def test_a_keypoint_file(folder, tmp_path):
    out = tmp_path / "out.h5"
    assert run("arrays", folder, "--labels", labels(folder), "--frame_size", 480, 640,
               "--out", out, "--workers", 0) == 0
    file = KeypointFile(out)
    assert file.ids == ["a", "b", "c"]
    assert file.header.class_names == ("sit", "stand")
    assert (file.header.dataset, file.header.layout.name) == ("mine", "coco17")
    assert (file.label.tolist(), file.subject.tolist()) == ([0, 1, 1], [1, 2, 3])
    assert {part: clips.tolist() for part, clips in file.splits["own"].items()} == {
        "train": [0, 1], "test": [2]}
    assert (file.height[0], file.width[0]) == SIZE


def test_without_labels(folder, tmp_path):
    source = ArraysSource(folder, frame_size=SIZE)
    runner.run(source, tmp_path / "out.h5", workers=0)
    file = KeypointFile(tmp_path / "out.h5")
    assert (file.label == -1).all()
    assert (file.header.class_names, file.splits) == ((), {})


def test_names_of_classes(folder, tmp_path):
    classes = tmp_path / "classes.txt"
    classes.write_text("stand\nsit\nlie\n")
    source = ArraysSource(folder, frame_size=SIZE, labels=labels(folder),
                           classes=classes)
    assert source.header.class_names == ("stand", "sit", "lie")
    assert [source.read(clip)[0].label for clip in "abc"] == [1, 0, 0]


def test_names_with_letters_that_macos_decomposes(folder, tmp_path):
    decomposed = unicodedata.normalize("NFD", "müde")
    (folder / "a.npz").rename(folder / f"{decomposed}.npz")
    (tmp_path / "classes.txt").write_text(f"stand\n{decomposed}\n")
    path = labels(folder, LABELS.replace("a,sit", "müde,müde")
                  .replace("b,stand", f"b,{decomposed}"))
    source = ArraysSource(folder, frame_size=SIZE, labels=path, classes=tmp_path / "classes.txt")
    assert source.header.class_names == ("stand", "müde")
    assert {clip: source.read(clip)[0].label for clip in source.keys()} == {  # noqa: SIM118
        "b": 1, "c": 0, decomposed: 1}


def test_clips_with_only_a_label_or_only_keypoints(folder):
    """A label without keypoints is reported, keypoints without a label are kept without one."""
    path = labels(folder, LABELS.replace("\nb,", "\nnone,"))
    source = ArraysSource(folder, frame_size=SIZE, labels=path)
    assert source.keys() == ["a", "b", "c", "none"]
    assert source.read("b")[0].label == -1
    with pytest.raises(ValueError, match="it has a label, but no keypoints"):
        source.read("none")
    assert source.splits(["a", "b", "c"]) == {"own": {"train": ["a"], "test": ["c"]}}


def test_flawed_clips_are_skipped_and_reported(folder, tmp_path):
    (folder / "b.npz").write_bytes(b"flawed")
    out = tmp_path / "out.h5"
    assert run("arrays", folder, "--labels", labels(folder), "--frame_size", 480, 640,
               "--out", out, "--workers", 2) == 0
    assert KeypointFile(out).ids == ["a", "c"]
    assert "b,it cannot be read as an NPZ file" in out.with_suffix(".skipped.csv").read_text()


def test_the_job_changes_with_what_decides_the_content(folder, tmp_path):
    def is_done(*options):
        command = ("arrays", folder, "--frame_size", 480, 640, "--out", out, "--workers", 0)
        code = run(*command, *options)
        if code:
            assert run(*command, *options, "--overwrite") == 0
        return code == 0

    def changed(*options):
        """Whether these are another job than before, and the same as themselves."""
        return not is_done(*options) and is_done(*options)

    out = tmp_path / "out.h5"
    assert is_done()
    assert changed("--max_persons", 1)
    assert changed("--frame_size", 240, 320)
    assert changed("--labels", labels(folder))
    assert changed("--labels", labels(folder, LABELS.replace("train", "val")))
    assert changed("--layout", "coco17", "--classes", labels(folder, "sit\nstand\n"))
    assert changed()
    os.utime(folder / "b.npz", ns=(1, 1))
    assert changed()


def test_a_finished_file_is_made_again_only_for_other_input(folder, tmp_path, capsys):
    out = tmp_path / "out.h5"
    command = ("arrays", folder, "--frame_size", 480, 640, "--out", out, "--workers", 0)
    assert run(*command) == 0
    content = out.read_bytes()
    assert run(*command) == 0
    os.utime(folder / "b.npz", ns=(1, 1))
    assert "--overwrite" in refused(capsys, *command)
    assert out.read_bytes() == content


def test_sources_can_be_pickled_to_workers(folder):
    source = pickle.loads(pickle.dumps(ArraysSource(folder, frame_size=SIZE)))
    assert source.read("a")[0].keypoints.shape == (1, 5, 17, 2)


def test_mistakes_are_explained(folder, tmp_path, capsys):
    out, size = ("--out", tmp_path / "out.h5"), ("--frame_size", 480, 640)
    gone = tmp_path / "gone"
    for tool in ("openpose", "coco", "yolo", "arrays"):
        assert str(gone) in refused(capsys, tool, gone, *out, *size)
        assert "--labels" in refused(capsys, "arrays", folder, *out, *size, "--labels", gone)
    assert "--frame_size HEIGHT WIDTH" in refused(capsys, "arrays", folder, *out)
    assert "--frame_size HEIGHT WIDTH" in refused(capsys, "yolo", folder, *out)
    assert "lie in 1 to 100000, got 0 640" in refused(
        capsys, "arrays", folder, *out, "--frame_size", 0, 640)
    assert "--max_persons must be >= 1" in refused(
        capsys, "arrays", folder, *out, *size, "--max_persons", 0)
    assert "17 joints, but --layout body25 has 25" in refused(
        capsys, "arrays", folder, *out, *size, "--layout", "body25")
    assert "`layout` must be one of" in refused(
        capsys, "arrays", folder, *out, *size, "--layout", "body")
    other = labels(folder, "clip,label\na.mp4,sit\n")
    assert "names none of the clips in" in refused(
        capsys, "arrays", folder, *out, *size, "--labels", other)
    assert "it names 'a.mp4', the input has 'a'" in refused(
        capsys, "arrays", folder, *out, *size, "--labels", other)
    assert not list(tmp_path.glob("out*"))


def test_nothing_usable(folder, tmp_path, capsys):
    for path in folder.iterdir():
        path.write_bytes(b"")
    assert "no clip that can be used; the first, a: it cannot be read as an NPZ file" in refused(
        capsys, "arrays", folder, "--out", tmp_path / "out.h5", "--frame_size", 480, 640)


@pytest.mark.skipif(sys.platform == "win32", reason="has no pipes in folders")
@pytest.mark.parametrize("ending", [".npz", ".json"])
def test_a_pipe_is_not_waited_for(folder, ending):
    os.mkfifo(folder / f"0{ending}")
    (folder / "one.json").write_text(
        '[{"image_id": 1, "keypoints": [[9, 9]]}]'.replace("[9, 9]", ", ".join(["[9, 9]"] * 17)))
    source = {".npz": ArraysSource, ".json": CocoSource}[ending](folder, frame_size=SIZE)
    with pytest.raises(Unusable, match="is not a regular file"):
        source.read("0")
