import dataclasses
import errno
import os
from pathlib import Path

import numpy as np
import pytest

from preprocessing.core import runner
from preprocessing.core.source import LeftOut
from ptl_skel.skeletons import LAYOUTS
from ptl_skel.storage import Clip, Header, KeypointFile


class Numbers:
    """A source of ``count`` inputs; what the file `trouble` holds happens at input 20."""

    header = Header("numbers", LAYOUTS["penn13"], ("even", "odd"), "test")

    def __init__(self, folder: Path, count: int = 50):
        self.folder, self.count = folder, count

    @property
    def job(self):
        return {"of": "numbers"}

    def keys(self):
        return [f"{number:03d}" for number in reversed(range(self.count))]

    def read(self, key):
        number = int(key)
        with (self.folder / f"read by {os.getpid()}").open("a") as log:
            log.write(f"{key}\n")
        if key == "020":
            self._trouble()
        if number % 7 == 3:
            raise ValueError("seven and three")
        if number % 7 == 5:
            return []
        frames = 1 + number * 5 % 23
        keypoints = np.full((1, frames, 13, 2), number, np.float32)
        names = [key, f"{key} again"] if number == 8 else [key]
        return [Clip(name, keypoints, np.ones((1, frames, 13)), (9, 9), number % 2)
                for name in names]

    def _trouble(self):
        trouble = self.folder / "trouble"
        match trouble.read_text() if trouble.exists() else "none":
            case "die":
                os._exit(1)
            case "unreadable":
                raise PermissionError(errno.EACCES, "Permission denied", "020")
            case "interrupt":
                raise KeyboardInterrupt
            case "bug":
                raise ZeroDivisionError

    def splits(self, ids):
        return {"own": {"train": [i for i in ids if i < "030"], "test": [i for i in ids
                                                                         if i >= "030"]}}


def read_keys(folder):
    return sorted(key for log in folder.glob("read by *") for key in log.read_text().split())


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The file that one process writes without interruption."""
    folder = tmp_path_factory.mktemp("expected")
    runner.run(Numbers(folder), folder / "out.h5", workers=0)
    return folder / "out.h5"


def run_again(folder, expected, **options):
    """Runs without trouble, on a source that is the same job; the result is the expected one."""
    (folder / "trouble").unlink(missing_ok=True)
    runner.run(Numbers(folder), folder / "out.h5", **options)
    assert (folder / "out.h5").read_bytes() == expected.read_bytes()
    assert ((folder / "out.skipped.csv").read_bytes()
            == expected.with_suffix(".skipped.csv").read_bytes())


def test_clips_are_in_the_order_of_the_keys(expected):
    file = KeypointFile(expected)
    assert file.ids[:3] == ["049", "048", "046"]
    assert file.ids[-2:] == ["001", "000"]
    assert file.ids.index("008 again") == file.ids.index("008") + 1
    assert [int(name[:3]) for name in file.ids] == [
        int(file.clip(position).keypoints.max()) for position in range(len(file))]
    report = expected.with_suffix(".skipped.csv").read_text().splitlines()
    assert report[:3] == ["input,reason", "047,it holds no clip", "045,seven and three"]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_number_of_workers_changes_nothing(tmp_path, expected, workers):
    run_again(tmp_path, expected, workers=workers)
    assert read_keys(tmp_path) == sorted(Numbers(tmp_path).keys())


@pytest.mark.parametrize(("trouble", "error", "message"), [
    ("interrupt", KeyboardInterrupt, None), ("unreadable", PermissionError, "020"),
    ("bug", ZeroDivisionError, None)])
def test_a_run_that_stopped_goes_on(tmp_path, expected, trouble, error, message):
    (tmp_path / "trouble").write_text(trouble)
    with pytest.raises(error, match=message):
        runner.run(Numbers(tmp_path), tmp_path / "out.h5", workers=0)
    assert not (tmp_path / "out.h5").exists()
    assert read_keys(tmp_path)[0] == "020"
    run_again(tmp_path, expected, workers=0)
    assert sorted(read_keys(tmp_path)) == sorted([*Numbers(tmp_path).keys(), "020"])


@pytest.mark.parametrize(("trouble", "error", "message"), [
    ("die", ChildProcessError, "a worker process ended while it read 033 to 018"),
    ("unreadable", PermissionError, "020")])
def test_a_run_whose_worker_stopped_goes_on(tmp_path, expected, trouble, error, message):
    (tmp_path / "trouble").write_text(trouble)
    with pytest.raises(error, match=message):
        runner.run(Numbers(tmp_path), tmp_path / "out.h5", workers=2)
    run_again(tmp_path, expected, workers=2)


def test_other_inputs_are_another_job(tmp_path):
    (tmp_path / "trouble").write_text("interrupt")
    with pytest.raises(KeyboardInterrupt):
        runner.run(Numbers(tmp_path), tmp_path / "out.h5", workers=0)
    with pytest.raises(FileExistsError, match="unfinished work of another job"):
        runner.run(Numbers(tmp_path, count=51), tmp_path / "out.h5", workers=0)


def test_a_finished_file_is_kept_unless_told(tmp_path, expected, capsys):
    run_again(tmp_path, expected, workers=0)
    read = read_keys(tmp_path)
    changed = (tmp_path / "out.h5").stat().st_mtime_ns
    (tmp_path / "out.h5.partial").mkdir()  # as when it was killed while it tidied up
    (tmp_path / "out.h5.partial" / "keypoints").write_bytes(b"left")
    run_again(tmp_path, expected, workers=0)
    assert "nothing to do; --overwrite makes it again" in " ".join(capsys.readouterr().out.split())
    assert read_keys(tmp_path) == read
    assert (tmp_path / "out.h5").stat().st_mtime_ns == changed
    assert not (tmp_path / "out.h5.partial").exists()
    with pytest.raises(FileExistsError, match=r"out\.h5 exists"):
        runner.run(Numbers(tmp_path, count=51), tmp_path / "out.h5", workers=0)
    run_again(tmp_path, expected, workers=0, overwrite=True)
    assert len(read_keys(tmp_path)) == 2 * len(read)


def test_a_damaged_file_of_the_same_job_is_not_taken_for_finished(tmp_path, expected):
    (tmp_path / "out.h5").write_bytes(expected.read_bytes()[:-1000])
    with pytest.raises(FileExistsError, match="--overwrite"):
        runner.run(Numbers(tmp_path), tmp_path / "out.h5", workers=0)


def test_a_loss_is_a_warning_or_an_error(expected, capsys):
    runner.check_loss(expected, 28)
    assert not capsys.readouterr().err
    runner.check_loss(expected, 27.9)
    complaint = f"14 of 50 inputs (28.0%) are flawed, more than --max_loss 27.9 %; {expected}"
    assert complaint.removesuffix(".h5") in capsys.readouterr().err
    with pytest.raises(ValueError, match="14 of 50 inputs"):
        runner.check_loss(expected, 1, strict=True)


def test_what_is_left_out_is_no_loss(tmp_path, monkeypatch):
    whole = Numbers.read

    def read(self, key):
        if key < "010":
            raise LeftOut("as planned") if key == "007" else ValueError("not so")
        return whole(self, key)

    monkeypatch.setattr(Numbers, "read", read)
    runner.run(Numbers(tmp_path), tmp_path / "out.h5", workers=0)
    file = KeypointFile(tmp_path / "out.h5")
    assert (file.num_inputs, file.num_lost) == (49, 9 + 12)
    report = (tmp_path / "out.skipped.csv").read_text()
    assert "007,as planned" in report
    assert "006,not so" in report


def test_repairs_are_listed(tmp_path, monkeypatch):
    whole = Numbers.read
    monkeypatch.setattr(Numbers, "read", lambda self, key: [
        dataclasses.replace(clip, repairs="mended" if key == "001" else "")
        for clip in whole(self, key)])
    runner.run(Numbers(tmp_path), tmp_path / "out.h5", workers=0)
    assert (tmp_path / "out.repaired.csv").read_text().splitlines() == ["input,reason",
                                                                        "001,mended"]


def test_nothing_usable_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(Numbers, "keys", lambda self: ["003", "010"])
    with pytest.raises(ValueError, match="no usable clip was found: seven and three"):
        runner.run(Numbers(tmp_path), tmp_path / "out.h5", workers=0)
    assert not list(tmp_path.glob("out*"))


def test_the_summary_counts(tmp_path, capsys):
    runner.run(Numbers(tmp_path), tmp_path / "out.h5", workers=0)
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "clips 37" in printed
    assert "split own train 23, test 14" in printed
    assert "skipped 14 7: it holds no clip 7: seven and three" in printed
    assert str(tmp_path / "out.skipped.csv") in printed
