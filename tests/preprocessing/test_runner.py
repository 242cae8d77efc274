import dataclasses
import errno
import os
from pathlib import Path

import numpy as np
import pytest

from preprocessing.core import runner
from preprocessing.core.source import LeftOut, Unusable
from ptl_skel.errors import UserError
from ptl_skel.skeletons import LAYOUTS
from ptl_skel.storage import Clip, Header, KeypointFile


class Numbers:
    """A source of ``count`` inputs; what the file `trouble` holds happens at input 20."""

    header = Header("numbers", LAYOUTS["penn13"], ("even", "odd"), "test")

    def __init__(self, folder: Path, count: int = 50):
        self.folder, self.count = folder, count

    files = ()
    options = {"of": "numbers"}  # noqa: RUF012

    def keys(self):
        return [f"{number:03d}" for number in reversed(range(self.count))]

    def read(self, key):
        number = int(key)
        with (self.folder / f"read by {os.getpid()}").open("a") as log:
            log.write(f"{key}\n")
        if key == "020":
            self._trouble()
        if number % 7 == 3:
            raise Unusable("seven and three")
        if number % 7 == 5:
            return []
        frames = 1 + number * 5 % 23
        keypoints = np.full((1, frames, 13, 2), number or 0.5, np.float32)
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
            case "value":
                raise ValueError("a bug in the reader")
            case "network":
                raise UserError("the network fails")

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
    ("bug", ZeroDivisionError, None), ("value", ValueError, "a bug"),
    ("network", UserError, "the network fails")])
def test_a_run_that_stopped_resumes(tmp_path, expected, trouble, error, message):
    (tmp_path / "trouble").write_text(trouble)
    with pytest.raises(error, match=message) as raised:
        runner.run(Numbers(tmp_path), tmp_path / "out.h5", workers=0)
    if error is not KeyboardInterrupt:
        assert raised.value.__notes__ == ["The input was '020'."]
    assert not (tmp_path / "out.h5").exists()
    assert read_keys(tmp_path)[0] == "020"
    run_again(tmp_path, expected, workers=0)
    assert sorted(read_keys(tmp_path)) == sorted([*Numbers(tmp_path).keys(), "020"])


@pytest.mark.parametrize(("trouble", "error", "message"), [
    ("die", UserError, "a worker process ended while it read 033 to 018"),
    ("unreadable", RuntimeError, "Permission denied: '020'"),
    ("value", RuntimeError, r"(?s)in _trouble.*ValueError: a bug.*The input was '020'"),
    ("network", UserError, "the network fails")])
def test_a_run_whose_worker_stopped_resumes(tmp_path, expected, trouble, error, message):
    (tmp_path / "trouble").write_text(trouble)
    with pytest.raises(error, match=message):
        runner.run(Numbers(tmp_path), tmp_path / "out.h5", workers=2)
    run_again(tmp_path, expected, workers=2)


def test_other_inputs_are_another_job(tmp_path):
    (tmp_path / "trouble").write_text("interrupt")
    with pytest.raises(KeyboardInterrupt):
        runner.run(Numbers(tmp_path), tmp_path / "out.h5", workers=0)
    with pytest.raises(UserError, match="unfinished work of another job"):
        runner.run(Numbers(tmp_path, count=51), tmp_path / "out.h5", workers=0)


def test_a_finished_file_is_kept_without_overwrite(tmp_path, expected, capsys):
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
    with pytest.raises(UserError, match=r"out\.h5 exists"):
        runner.run(Numbers(tmp_path, count=51), tmp_path / "out.h5", workers=0)
    run_again(tmp_path, expected, workers=0, overwrite=True)
    assert len(read_keys(tmp_path)) == 2 * len(read)


def test_a_damaged_file_of_the_same_job_is_not_taken_for_finished(tmp_path, expected):
    (tmp_path / "out.h5").write_bytes(expected.read_bytes()[:-1000])
    with pytest.raises(UserError, match="--overwrite"):
        runner.run(Numbers(tmp_path), tmp_path / "out.h5", workers=0)


def test_what_is_left_out_is_no_loss(tmp_path, monkeypatch):
    whole = Numbers.read

    def read(self, key):
        if key < "010":
            raise LeftOut("as planned") if key == "007" else Unusable("not so")
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
    with pytest.raises(UserError, match="no usable clip was found: seven and three"):
        runner.run(Numbers(tmp_path), tmp_path / "out.h5", workers=0)
    assert not list(tmp_path.glob("out*"))


def test_the_summary_counts(tmp_path):
    facts = runner.run(Numbers(tmp_path), tmp_path / "out.h5", workers=0)
    assert facts["skipped"].splitlines() == ["14", "7: it holds no clip", "7: seven and three"]
    assert (facts["repaired"], facts["flawed"]) == ("0", "14 of 50")
    assert set(facts) == {"skipped", "repaired", "flawed", "time"}
    assert not runner.run(Numbers(tmp_path), tmp_path / "out.h5", workers=0)


def test_reasons_that_differ_in_numbers_count_as_one_with_an_example(tmp_path, monkeypatch):
    def read(self, key):
        raise Unusable(f"frame {int(key)} has 3 joints")

    whole = Numbers.read
    monkeypatch.setattr(Numbers, "read", lambda self, key: (
        read if int(key) % 2 else whole)(self, key))
    facts = runner.run(Numbers(tmp_path), tmp_path / "out.h5", workers=0)
    assert facts["skipped"].splitlines()[1] == "25: e.g. frame 49 has 3 joints"


def test_unknown_clips_in_a_split_are_reported_and_lose_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(Numbers, "splits", lambda self, ids: {
        "own": {"train": ["049", "none", "047", "nobody"], "test": ["048"]}})
    facts = runner.run(Numbers(tmp_path), tmp_path / "out.h5", workers=0)
    assert facts["unknown clips in splits, ignored"] == "own/train: 2, the first is 'none'"
    file = KeypointFile(tmp_path / "out.h5")
    assert [file.ids[clip] for clip in file.split("own", "train")] == ["049"]  # 047 was skipped


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_at_the_end_loses_nothing(tmp_path, expected, monkeypatch, workers):
    with monkeypatch.context() as patch:
        patch.setattr(Numbers, "splits", lambda self, ids: {"a/b": {"train": ids}})
        with pytest.raises(UserError, match="cannot be the name"):
            runner.run(Numbers(tmp_path), tmp_path / "out.h5", workers=workers)
    read = read_keys(tmp_path)
    run_again(tmp_path, expected, workers=workers)
    assert read_keys(tmp_path) == read
