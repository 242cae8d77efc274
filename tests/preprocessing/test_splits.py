"""Labels and splits for inputs that come without them, by the command line."""

import csv
import pickle

import numpy as np
import pytest
from commandline import preprocess_or_check as main

from preprocessing.commands import split
from ptl_skel.__main__ import main as ptl_skel
from ptl_skel.errors import UserError
from ptl_skel.storage import KeypointFile


def dump(path, names, **more):
    annotations = [{"frame_dir": name, "label": number % 3, "img_shape": (480, 640),
                    "total_frames": 4, "keypoint": np.full((1, 4, 17, 2), 99, np.float32)}
                   for number, name in enumerate(names)]
    path.write_bytes(pickle.dumps({"annotations": annotations, **more} if more else annotations))
    return str(path)


@pytest.fixture
def file(tmp_path):
    """Thirty clips of three classes and six subjects, without a split."""
    names = [f"clip{i:02d}" for i in range(30)]
    labels = tmp_path / "subjects.csv"
    labels.write_text("clip,subject\n" + "".join(f"{name},{i % 6}\n"
                                                 for i, name in enumerate(names)))
    out = tmp_path / "mine.h5"
    assert main(["pyskl", dump(tmp_path / "all.pkl", names), "--labels", str(labels),
                 "--out", str(out)]) == 0
    return out


def test_a_pickle_for_each_part(tmp_path):
    parts = {part: dump(tmp_path / f"{part}.pkl", [f"{part}{i}" for i in range(3)])
             for part in ("train", "val", "test")}
    for given, expected in ((("train", "val"), {"train": "train", "test": "val"}),
                            (("train", "val", "test"), {part: part for part in parts})):
        out = tmp_path / "out.h5"
        assert main(["pyskl", *(word for part in given for word in (f"--{part}", parts[part])),
                     "--out", str(out), "--overwrite"]) == 0
        file = KeypointFile(out)
        assert {part: [file.ids[i] for i in positions]
                for part, positions in file.splits["default"].items()} == {
            part: [f"{source}{i}" for i in range(3)] for part, source in expected.items()}


def test_pickles_of_the_case(shared, tmp_path):
    case, out = shared / "cases" / "pickle_messages", tmp_path / "out.h5"
    assert main(["pyskl", "--train", str(case / "train.pkl"), "--val", str(case / "val.pkl"),
                 "--out", str(out)]) == 0
    assert set(KeypointFile(out).splits["default"]) == {"train", "test"}


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "give a .pkl file, or one for each part"),
    (["--train", "a.pkl", "--val", "a.pkl"], "a.pkl and a.pkl has 2 annotations of the clip 'a'"),
    (["--train", "a.pkl", "--val", "split.pkl"], "--val split.pkl has a split of its own"),
    (["split.pkl", "--val", "a.pkl"], "split.pkl has a split of its own"),
    (["--train", "none.pkl"], "none.pkl does not exist"),
    (["a.pkl", "--labels", "other.csv"], "names none of the clips: it names 'z', .* has 'a'"),
    (["a.pkl", "--labels", "bad.csv"], "must have the column clip, and label, split or"),
])
def test_parts_and_labels_that_do_not_fit(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    dump(tmp_path / "a.pkl", "a")
    dump(tmp_path / "split.pkl", "b", split={"train": ["b"]})
    (tmp_path / "other.csv").write_text("clip,label\nz,walk\n")
    (tmp_path / "bad.csv").write_text("clip\na\n")
    assert main(["pyskl", *arguments, "--out", "out.h5"]) == 2
    complaint = capsys.readouterr().err
    assert all(part.strip() in complaint for part in message.split(".*"))


def test_labels_for_any_source(tmp_path):
    labels, out = tmp_path / "labels.csv", tmp_path / "out.h5"
    labels.write_text("clip,label,split,subject\na,walk,train,7\nb,run,test,\nc,,,\nd,run,test,1\n")
    path = dump(tmp_path / "some.pkl", "abc", split={"x_train": ["a"], "x_test": ["b", "c"]})
    assert main(["pyskl", path, "--labels", str(labels), "--out", str(out)]) == 0
    file = KeypointFile(out)
    assert file.header.class_names == ("run", "walk")
    assert file.label.tolist() == [1, 0, -1]
    assert file.subject.tolist() == [7, -1, -1]
    assert {name: {part: p.tolist() for part, p in parts.items()}
            for name, parts in file.splits.items()} == {
        "x": {"train": [0], "test": [1, 2]}, "own": {"train": [0], "test": [1]}}


def test_only_a_split_is_added_to_labels_of_the_source(tmp_path):
    labels, out = tmp_path / "labels.csv", tmp_path / "out.h5"
    labels.write_text("clip,split\na,train\nb,test\n")
    assert main(["pyskl", dump(tmp_path / "some.pkl", "abc"), "--labels", str(labels),
                 "--out", str(out)]) == 0
    file = KeypointFile(out)
    assert file.label.tolist() == [0, 1, 2]
    assert set(file.splits) == {"own"}


def test_what_is_missing_for_training_is_reported(tmp_path, capsys):
    out = str(tmp_path / "out.h5")
    assert main(["pyskl", dump(tmp_path / "some.pkl", "abc"), "--out", out]) == 0
    assert "ptl-skel split" in capsys.readouterr().out
    assert main(["check", out]) == 0
    assert "ptl-skel split" in capsys.readouterr().out


def test_a_split_by_subject(file, capsys):
    ptl_skel(["split", str(file), "--by", "subject", "--fractions", "0.5", "0.2", "0.3"])
    assert "train 15, val 5, test 10" in capsys.readouterr().out
    read = KeypointFile(file)
    parts = read.splits["random0"]
    assert sorted(np.concatenate(list(parts.values()))) == list(range(30))
    subjects = [set(read.subject[positions]) for positions in parts.values()]
    assert sum(map(len, subjects)) == 6
    assert read.how_split["random0"] == "random, by subject, fractions 0.5 0.2 0.3, seed 0"
    assert main(["check", str(file)]) == 0
    assert "split random0" in capsys.readouterr().out


def test_a_file_with_an_added_split_is_not_overwritten(file, capsys):
    ptl_skel(["split", str(file), "--by", "subject"])
    again = ["pyskl", str(file.parent / "all.pkl"), "--labels", str(file.parent / "subjects.csv"),
             "--out", str(file), "--overwrite"]
    before = file.read_bytes()
    assert main(again) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "random0 (random, by subject, fractions 0.8 0.2, seed 0)" in said
    assert "give another --out, or remove the file" in said
    assert file.read_bytes() == before
    file.unlink()
    assert main(again) == main(again) == 0  # what came with the input is made again


def test_a_split_by_class_and_seed(file):
    before = KeypointFile(file)
    for seed in (0, 1, 2):
        assert split([str(file), "--by", "class", "--seed", str(seed)]) is None
    assert split([str(file), "--by", "class", "--seed", "0", "--name", "again"]) is None
    read = KeypointFile(file)
    for parts in read.splits.values():
        assert np.bincount(read.label[parts["train"]]).tolist() == [8, 8, 8]
    test = {name: tuple(parts["test"]) for name, parts in read.splits.items()}
    assert test["again"] == test["random0"]
    assert len(set(test.values())) == 3
    np.testing.assert_array_equal(read.rows(0, 120)[0], before.rows(0, 120)[0])
    assert [path.name for path in file.parent.glob("*.tmp")] == []


@pytest.mark.parametrize(("arguments", "message"), [
    (["--by", "subject", "--fractions", "0.8", "0.1"], "add up to 1, got 0.8 0.1"),
    (["--by", "subject", "--fractions", "1"], "two numbers above 0"),
    (["--by", "subject", "--fractions", "nan", "0.5"], "add up to 1, got nan 0.5"),
    (["--by", "subject", "--fractions", "1.2", "-0.2"], "two numbers above 0"),
    (["--by", "subject", "--fractions", "0.98", "0.01", "0.01"], "val and test would be empty"),
    (["--by", "subject", "--name", "a/b"], "'a/b' cannot be the name of a split"),
    (["--by", "person"], "--by"),
])
def test_a_split_that_cannot_be(file, arguments, message):
    content = file.read_bytes()
    with pytest.raises(UserError, match=message):
        split([str(file), *arguments])
    assert file.read_bytes() == content


def test_a_split_of_what_is_not_known(file, tmp_path):
    unknown = tmp_path / "unknown.h5"
    assert main(["pyskl", str(tmp_path / "all.pkl"), "--out", str(unknown)]) == 0
    with pytest.raises(UserError, match=r"no subject of a clip .* column subject with --labels"):
        split([str(unknown), "--by", "subject"])
    split([str(file), "--by", "class"])
    with pytest.raises(UserError, match="already has a split random0"):
        split([str(file), "--by", "class"])


def test_clips_without_a_label_are_in_no_part(tmp_path, capsys):
    labels, out = tmp_path / "labels.csv", tmp_path / "out.h5"
    with labels.open("w", newline="") as lines:
        csv.writer(lines).writerows([("clip", "label"), *((name, "walk") for name in "abcdefgh")])
    assert main(["pyskl", dump(tmp_path / "some.pkl", "abcdefghi"), "--labels", str(labels),
                 "--out", str(out)]) == 0
    capsys.readouterr()
    split([str(out), "--by", "class"])
    assert "1 clips without a class are in no part" in capsys.readouterr().out


def test_subjects_in_the_names_of_clips(tmp_path):
    out = tmp_path / "out.h5"
    path = dump(tmp_path / "some.pkl", ["a01_s07_e02", "a02_s12_e00"])
    assert main(["pyskl", path, "--subjects", r"_s(\d+)_", "--out", str(out)]) == 0
    assert KeypointFile(out).subject.tolist() == [7, 12]
    # The same input without the pattern is another file.
    assert main(["pyskl", path, "--out", str(out)]) == 2


@pytest.mark.parametrize(("name", "pattern", "message"), [
    ("a01_s07", r"_p(\d+)", r"--subjects '_p(\d+)' finds nothing in the name 'a01_s07'"),
    ("a01_anna", r"_(\w+)", "finds 'anna', which is not a number, in the name"),
    ("a01_s07", r"_s\d+", "needs one group in parentheses"),
    ("a01_s07", r"_s(\d+", "is not a regular expression"),
    ("S001C001P003R001A013", r"P(\d+)", "the subject of 'S001C001P003R001A013' is 3 in the input"),
])
def test_patterns_of_subjects_that_do_not_fit(tmp_path, capsys, name, pattern, message):
    out = tmp_path / "out.h5"
    assert main(["pyskl", dump(tmp_path / "some.pkl", [name]), "--subjects", pattern,
                 "--out", str(out)]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["some.pkl"]  # no unfinished work
