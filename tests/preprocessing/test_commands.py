"""The commands as users give them, in separate processes where that matters."""

import errno
import inspect
import io
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from commandline import preprocess_or_check as main
from scipy.io import savemat

from preprocessing.commands import SOURCES, resolve
from preprocessing.datasets.pyskl import PysklSource
from ptl_skel.storage import KeypointFile

SLOW = """
import sys, time
from preprocessing import commands
from preprocessing.datasets.penn_action import PennActionSource
from ptl_skel.cli.verbs import main

class SlowSource(PennActionSource):
    def read(self, key):
        while key == "0055" and (self.root.parent / "wait").exists():
            time.sleep(0.01)
        return super().read(key)

commands.SOURCES["slow"] = commands.Row("slow:SlowSource", "label files, slowly", "the folder")
if __name__ == "__main__":
    main()
"""
"""A command with a row more in the table of sources."""


@pytest.fixture
def annotated(tmp_path: Path) -> Path:
    """A pickle of two clips and a split."""
    annotations = [{"frame_dir": name, "label": label, "img_shape": (99, 99), "total_frames": 2,
                    "keypoint": np.full((1, 2, 17, 2), 9, np.float32)}
                   for label, name in enumerate("ab")]
    path = tmp_path / "some.pkl"
    path.write_bytes(pickle.dumps({"split": {"x_train": ["a"], "x_val": ["b"]},
                                   "annotations": annotations}))
    return path


def label_file() -> bytes:
    """A label file of Penn Action."""
    raw = io.BytesIO()
    savemat(raw, {"action": "squat", "train": 1, "dimensions": [120, 160, 99],
                  "visibility": np.ones((99, 13)), "x": np.full((99, 13), 30.0),
                  "y": np.full((99, 13), 40.0)}, do_compression=True)
    return raw.getvalue()


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """A hundred label files, some of them flawed."""
    folder = tmp_path / "labels"
    folder.mkdir()
    raw = label_file()
    for number in range(100):
        (folder / f"{number:04d}.mat").write_bytes(raw if number % 30 else b"flawed")
    return folder


def children(pid: int) -> list[int]:
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listing.read_text().split()] if listing.exists() else []


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize(("number", "to_group", "workers", "done"), [
    (signal.SIGINT, True, 2, 48),  # Ctrl-C in a terminal goes to the workers as well
    (signal.SIGINT, False, 0, 55),
    (signal.SIGKILL, False, 2, 48),
])
def test_a_stopped_command_resumes_when_given_again(tmp_path, labels, number, to_group, workers,
                                                    done):
    whole = tmp_path / "whole.h5"
    assert main(["penn_action", str(labels), "--out", str(whole), "--workers", "0"]) == 0
    out = tmp_path / "out.h5"
    (tmp_path / "slow.py").write_text(SLOW)
    command = (sys.executable, str(tmp_path / "slow.py"), "preprocess", "slow", str(labels),
               "--out", str(out), "--workers", str(workers))
    (tmp_path / "wait").write_text("")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          start_new_session=True) as process:
        journal = tmp_path / "out.h5.partial" / "journal"
        while not (journal.exists() and journal.read_bytes().count(b"\n") == done):
            assert process.poll() is None
            time.sleep(0.01)
        others = children(process.pid)
        os.killpg(process.pid, number) if to_group else process.send_signal(number)
        process.wait(timeout=20)
        if number == signal.SIGKILL:  # the worker reads to the end and finds no reader
            (tmp_path / "wait").unlink()
        complaints = process.stderr.read()
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    sentence = "\nInterrupted; the same command resumes from here.\n"
    assert complaints.endswith(sentence if number == signal.SIGINT else "")
    assert "Traceback" not in complaints
    deadline = time.monotonic() + 10
    while any(map(is_alive, others)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not out.exists()
    (tmp_path / "wait").unlink(missing_ok=True)
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert out.read_bytes() == whole.read_bytes()
    assert (tmp_path / "out.skipped.csv").read_bytes() == (
        tmp_path / "whole.skipped.csv").read_bytes()
    assert not (tmp_path / "out.h5.partial").exists()


def test_pyskl_and_check(annotated, tmp_path, capsys):
    out = tmp_path / "folder" / "out.h5"
    names = tmp_path / "names.txt"
    names.write_text("wave\nwalk\n")
    assert main(["pyskl", str(annotated), "--out", str(out), "--classes", str(names),
                 "--layout", "coco17"]) == 0
    assert main(["check", str(out)]) == 0
    assert "walk" in capsys.readouterr().out
    assert KeypointFile(out).split("x", "test").tolist() == [1]


def test_synthetic_skeletons_become_a_keypoint_file(tmp_path, capsys):
    folder, out = str(tmp_path / "made"), str(tmp_path / "out.h5")
    assert main(["synthetic", folder, "--subjects", "3", "--replications", "1"]) == 0
    assert main(["ntu", folder, "--out", out, "--workers", "0", "--dimensions", "3"]) == 0
    assert main(["check", out]) == 0
    assert main(["synthetic", folder]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_the_help_of_synthetic_has_the_ranges(capsys):
    with pytest.raises(SystemExit):
        main(["synthetic", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "performers, 3 to 30; default: 12" in said
    assert "1 to 999; default: 2" in said
    assert "`subjects` must be 3 to 30" in refused(capsys, "synthetic", "x", "--subjects", "31")
    assert "must be 1 to 999" in refused(capsys, "synthetic", "x", "--replications", "1000")


def refused(capsys, *arguments):
    """The sentence with which a command fails."""
    assert main([str(argument) for argument in arguments]) == 2
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert complaint.startswith("ptl-skel: ")
    return complaint


def test_an_existing_output_is_kept(annotated, tmp_path, capsys):
    out = tmp_path / "out.h5"
    out.write_text("precious")
    assert "--overwrite" in refused(capsys, "pyskl", annotated, "--out", out)
    assert out.read_text() == "precious"
    assert main(["pyskl", str(annotated), "--out", str(out), "--overwrite"]) == 0
    assert len(KeypointFile(out)) == 2


def test_missing_input_is_named(tmp_path, capsys):
    gone, out = tmp_path / "gone", tmp_path / "out.h5"
    for command in ("pyskl", "penn_action", "ntu"):
        assert str(gone) in refused(capsys, command, gone, "--out", out)
    assert str(gone) in refused(capsys, "check", gone)
    assert not list(tmp_path.iterdir())


def test_nothing_usable(annotated, tmp_path, capsys):
    content = pickle.loads(annotated.read_bytes())
    for annotation in content["annotations"]:
        annotation["keypoint"][:] = np.nan
    annotated.write_bytes(pickle.dumps(content))
    complaint = refused(capsys, "pyskl", annotated, "--out", tmp_path / "out.h5")
    assert "no usable clip was found: no joint is visible" in complaint
    assert list(tmp_path.iterdir()) == [annotated]


def test_a_split_that_names_an_unknown_clip(annotated, tmp_path, capsys):
    content = pickle.loads(annotated.read_bytes())
    content["split"]["x_train"].append("z")
    annotated.write_bytes(pickle.dumps(content))
    out = tmp_path / "out.h5"
    assert main(["pyskl", str(annotated), "--out", str(out)]) == 0
    assert "x/train: 1, the first is 'z'" in capsys.readouterr().out
    assert KeypointFile(out).ids == ["a", "b"]
    assert KeypointFile(out).split("x", "train").tolist() == [0]


@pytest.mark.parametrize(("name", "clips", "message"), [
    ("x_test", ["a"], "has the clip 'a' twice in the split x"),
    ("x_train", ["a", "a"], "has the clip 'a' twice in the split x"),
    ("x/y_train", ["a"], "a split 'x/y_train', but"),
    ("._train", ["a"], "a split '._train', but"),
    ("x_train", 7, "`split` that is not a dictionary of lists"),
])
def test_a_wrong_split_is_refused_before_anything_is_read(annotated, tmp_path, capsys, name, clips,
                                                          message):
    content = pickle.loads(annotated.read_bytes())
    content["split"][name] = clips
    annotated.write_bytes(pickle.dumps(content))
    assert message in refused(capsys, "pyskl", annotated, "--out", tmp_path / "out.h5")
    assert list(tmp_path.iterdir()) == [annotated]


def test_a_full_disk(annotated, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = tmp_path / "out.h5"
    with monkeypatch.context() as patch:
        patch.setattr(h5py.Dataset, "__setitem__", full)
        complaint = refused(capsys, "pyskl", annotated, "--out", out)
    assert f"{out} cannot be written: No space left on device; what is finished" in complaint
    assert sorted(tmp_path.iterdir()) == [tmp_path / "out.h5.partial", annotated]
    assert main(["pyskl", str(annotated), "--out", str(out)]) == 0
    assert sorted(tmp_path.iterdir()) == [out, annotated]


def test_an_output_that_cannot_be_written(annotated, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    complaint = refused(capsys, "pyskl", annotated, "--out", tmp_path / "file" / "out.h5")
    assert str(tmp_path / "file") in complaint


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x04cos\nsystem\n(S'false'\ntR."])
def test_what_is_no_pickle(tmp_path, capsys, content):
    path = tmp_path / "some.pkl"
    path.write_bytes(content)
    complaint = refused(capsys, "pyskl", path, "--out", tmp_path / "out.h5")
    assert f"{path} cannot be loaded as a pickle" in complaint


@pytest.mark.parametrize("content", [b"", b"no HDF5"])
def test_check_refuses_what_is_no_keypoint_file(tmp_path, capsys, content):
    path = tmp_path / "some.h5"
    path.write_bytes(content)
    assert f"{path} is damaged or not a keypoint file" in refused(capsys, "check", path)


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "required: SOURCE"), (["videos"], "invalid choice: 'videos'"),
    (["penn_action", "x"], "required: --out"),
    (["penn_action", "x", "--out", "y", "--workers", "-1"], "must be a number >= 0, got '-1'"),
    (["ntu", "x", "--out", "y", "--dimensions", "4"], "--dimensions: invalid choice"),
    (["check", "x", "--fix"], "unrecognized arguments: --fix"),
    (["pyskl", "x", "--out", "y", "--max_loss", "many"], "a number from 0 to 100, got 'many'")])
def test_a_mistyped_command_is_explained(arguments, message, capsys):
    complaint = refused(capsys, *arguments)
    assert message in complaint
    assert "--help` lists the options" in complaint


def test_a_bug_keeps_its_traceback_and_names_the_input(annotated, tmp_path, monkeypatch):
    def bug(*_):
        raise ValueError("a bug in the reader")

    command = ["pyskl", str(annotated), "--out", str(tmp_path / "out.h5")]
    with monkeypatch.context() as patch:
        patch.setattr(PysklSource, "_frame_size", bug)
        with pytest.raises(ValueError, match="a bug") as raised:
            main(command)
    assert raised.value.__notes__ == ["The input was 'a'."]
    assert main(command) == 0


@pytest.mark.parametrize("arguments", [
    ["preprocess", "--help"], ["check", "--help"], ["preprocess", "coco", "--help"]])
def test_help_imports_nothing_slow(arguments):
    code = ("import sys\nfrom ptl_skel.cli.verbs import main\n"
            f"try:\n    main({arguments})\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
            "assert not {'numpy', 'h5py', 'scipy', 'plotly'} & set(sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "usage: ptl-skel" in done.stdout


def test_every_source_of_the_table_has_its_options():
    for row in SOURCES.values():
        source = resolve(row.source)
        known = inspect.signature(source).parameters
        assert set(row.options) <= set(known)
        assert not {name for name, parameter in known.items()
                    if parameter.kind is parameter.KEYWORD_ONLY} - set(row.options)


def test_nothing_of_the_user_is_overwritten(annotated, tmp_path, capsys):
    """Neither the input by the keypoint file, nor the keypoint file by its page."""
    before = annotated.read_bytes()
    assert main(["pyskl", str(annotated), "--out", str(annotated), "--overwrite"]) == 2
    assert "is a file of the input" in capsys.readouterr().err
    assert annotated.read_bytes() == before
    out = tmp_path / "some.h5"
    assert main(["pyskl", str(annotated), "--out", str(out)]) == 0
    written = out.read_bytes()
    assert main(["check", str(out), "--html", str(out)]) == 2
    assert "must end in .html" in capsys.readouterr().err
    assert out.read_bytes() == written
    folder = tmp_path / "page.html"
    folder.mkdir()
    assert main(["check", str(out), "--html", str(folder)]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "some.h5", "some.pkl"]
