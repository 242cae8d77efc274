"""Damaged files, by the command line: a sentence, no traceback, and nothing read wrongly."""

import io
import zipfile

import numpy as np
import pytest
from fuzz_inputs import formats
from scipy.io import savemat

from preprocessing.__main__ import main

FORMATS = formats()
SIZED = ("--frame_size", "480", "640")


@pytest.fixture
def refuse(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        assert main([*map(str, arguments), "--out", "out.h5"]) == 2
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return " ".join(said.split())

    return run


def test_an_array_without_axes(refuse, tmp_path):
    np.save(tmp_path / "one.npy", np.float32(3))
    assert "is of no format that is known here" in refuse("keypoints", "one.npy")


def test_a_table_with_a_line_end_inside_a_line(refuse, tmp_path):
    text = FORMATS["DeepLabCut"].content
    (tmp_path / "one.csv").write_bytes(text.replace(",DLC", ",DL\rC", 1).encode())
    assert "is of no format that is known here" in refuse("keypoints", "one.csv")
    assert "line 4 of one.csv has 52 values, the first line 2" in refuse(
        "tables", "one.csv", *SIZED)


def test_a_header_of_deeplabcut_that_lacks_a_cell(refuse, tmp_path):
    text = FORMATS["DeepLabCut"].content
    (tmp_path / "one.csv").write_text(text.replace(",nose", "", 1))
    assert "the lines of its header have different numbers of values" in refuse(
        "tables", "one.csv", *SIZED)


def test_an_archive_whose_label_is_damaged(refuse, tmp_path):
    given = FORMATS["NPZ"]
    raw = given.dump(given.content)
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        label = archive.read("label.npy")
    (tmp_path / "one.npz").write_bytes(raw.replace(label, label.replace(b"j", b"p"), 1))
    assert "Bad CRC-32 for file 'label.npy'" in refuse("arrays", "one.npz")


@pytest.mark.parametrize("how", ["as it is", "changed", "cut", "uncompressed", "of another kind"])
def test_labels_of_penn_action(refuse, tmp_path, how):
    content = FORMATS["Penn Action"].content
    raw = io.BytesIO()
    savemat(raw, content, do_compression=how != "uncompressed")
    data = bytearray(raw.getvalue())
    if how == "changed":
        data[-40] ^= 1
    elif how == "of another kind":
        data[126:128] = b"??"
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "0001.mat").write_bytes(data[: -30 if how == "cut" else None])
    if how == "as it is":
        assert main(["penn_action", "labels", "--out", "out.h5"]) == 0
        return
    message = {"changed": "it is damaged", "cut": "cannot be read as a .mat file", "uncompressed":
               "it is not compressed", "of another kind": "not a .mat file of version 5"}[how]
    assert message in refuse("penn_action", "labels")
