"""Damaged files, by the command line: a sentence, no traceback, and nothing read wrongly."""

import copy
import io
import json
import pickle
import warnings
import zipfile

import h5py
import numpy as np
import pytest
from commandline import preprocess_or_check as main
from fuzz_inputs import formats
from scipy.io import savemat

from ptl_skel.storage import KeypointFile

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
    assert "has an unknown format; it contains" in refuse("keypoints", "one.npy")


def test_a_table_with_a_line_end_inside_a_line(refuse, tmp_path):
    text = FORMATS["DeepLabCut"].content
    (tmp_path / "one.csv").write_bytes(text.replace(",DLC", ",DL\rC", 1).encode())
    assert "has an unknown format; it contains" in refuse("keypoints", "one.csv")
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


def test_an_archive_of_a_version_that_is_not_known(refuse, tmp_path):
    given = FORMATS["NPZ"]
    raw = bytearray(given.dump(given.content))
    raw[raw.index(b"PK\1\2") + 6] = 155  # needed to extract, in the list of members
    (tmp_path / "one.npz").write_bytes(raw)
    assert "has an unknown format; it contains" in refuse("keypoints", "one.npz")
    assert "cannot be read as an NPZ file" in refuse("arrays", "one.npz")


def test_an_array_of_damaged_texts(refuse, tmp_path):
    np.save(tmp_path / "one.npy", np.array([["a"] * 258] * 3))
    data = bytearray((tmp_path / "one.npy").read_bytes())
    data[-1] = 255
    (tmp_path / "one.npy").write_bytes(data)
    assert "one.npy holds damaged strings" in refuse("mediapipe", "one.npy", *SIZED)


@pytest.mark.parametrize("flaw", ["a type", "another shape", "unreadable"])
def test_scores_of_sleap_that_are_not_those_of_its_joints(refuse, tmp_path, monkeypatch, flaw):
    """They would count as 1."""
    monkeypatch.chdir(tmp_path)
    content = FORMATS["SLEAP"].content
    with h5py.File("one.h5", "w") as file:
        file["tracks"], file["node_names"] = content["tracks"], content["node_names"]
        file["point_scores"] = (np.dtype("f8") if flaw == "a type" else  # a named type
                                np.ones((3, 17, 2)) if flaw == "another shape" else
                                h5py.SoftLink("/nothing"))
    message = {"a type": "is missing or too large", "unreadable": "cannot be read as an HDF5 file",
               "another shape": "`point_scores` have the shape"}[flaw]
    assert message in refuse("tables", "one.h5", *SIZED)


@pytest.mark.parametrize("form", ["kinetics_skeleton", "mediapipe", "tables"])
def test_numbers_beyond_all_numbers_are_missing(tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    if form == "kinetics_skeleton":
        content = copy.deepcopy(FORMATS["Kinetics-Skeleton"].content)
        content["data"][0]["skeleton"][0]["pose"][0] = 1e308
        (tmp_path / "one.json").write_text(json.dumps(content))
        name = "one.json"
    elif form == "mediapipe":
        frames = np.full((3, 258), 0.5)
        frames[0, 0] = 1e308
        np.save("one.npy", frames)
        name = "one.npy"
    else:
        tracks = FORMATS["SLEAP"].content["tracks"].astype(np.float64)
        tracks[0, 0, 0, 0] = 1e308
        with h5py.File("one.h5", "w") as file:
            file["tracks"], file["node_names"] = tracks, FORMATS["SLEAP"].content["node_names"]
        name = "one.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main([form, name, *SIZED, "--workers", "0", "--out", "out.h5"]) == 0
    _, scores = KeypointFile("out.h5").frames(0)
    assert (scores == 0).sum() == 1


def test_an_absurd_size_of_the_frame(refuse, tmp_path):
    size = np.array([1e300, 640, 3])
    savemat(tmp_path / "0001.mat", {**FORMATS["Penn Action"].content, "dimensions": size},
            do_compression=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "the frame size" in refuse("penn_action", ".", "--workers", "0")


@pytest.mark.parametrize("change", ["version of the array", "version of its type",
                                    "order of bytes"])
def test_a_pickle_whose_array_is_described_wrongly(refuse, tmp_path, change):
    keypoints = np.full((1, 3, 17, 2), 100, np.float32)
    rebuild, arguments, (version, shape, dtype, order, data) = keypoints.__reduce__()
    make, code, state = dtype.__reduce__()

    class Rebuilt:
        def __init__(self, *parts):
            self.parts = parts

        def __reduce__(self):
            return self.parts

    if change == "version of the array":
        version = 44
    elif change == "version of its type":
        state = (57, *state[1:])
    else:
        state = (state[0], "?", *state[2:])
    wrong = Rebuilt(rebuild, arguments, (version, shape, Rebuilt(make, code, state), order, data))
    (tmp_path / "one.pkl").write_bytes(pickle.dumps([
        {"frame_dir": "a", "label": 0, "img_shape": (480, 640), "keypoint": wrong}]))
    said = refuse("pyskl", "one.pkl")
    assert ("arrays of the version 44 are not known" if change == "version of the array" else
            "the type of an array is damaged") in said
