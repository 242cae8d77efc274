"""The CSV file of labels, splits and subjects."""

import pytest

from preprocessing.core.files import read_class_names
from preprocessing.core.labels import Row, name_classes, read_labels


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels.csv"


def read(path, text):
    path.write_text(text, newline="")
    return read_labels(path)


def named(texts, class_names=None):
    rows = {f"clip{i}": Row(text) for i, text in enumerate(texts)}
    labels = name_classes(rows, class_names, "labels.csv")
    return labels.class_names, [labels.label(clip) for clip in rows]


def test_all_columns(path):
    rows = read(path, "clip,label,split,subject\na,sit,train,3\nb,stand,val,\nc,sit,test,0\nd,,,\n")
    assert rows == {"a": Row("sit", "train", 3), "b": Row("stand", "val", -1),
                    "c": Row("sit", "test", 0), "d": Row("", "", -1)}
    labels = name_classes(rows, None, "")
    assert [labels.label(clip) for clip in "abcdx"] == [0, 1, 0, -1, -1]
    assert [labels.subject(clip) for clip in "abcdx"] == [3, -1, 0, -1, -1]
    assert labels.splits("cabdx") == {"own": {"train": ["a"], "val": ["b"], "test": ["c"]}}


def test_as_other_programs_write_it(path):
    rows = read(path, '\ufeffsubject, label ,clip\r\n4,"sit, slowly",a\r\n\r\n5, stand , b \r\n')
    assert rows == {"a": Row("sit, slowly", "", 4), "b": Row("stand", "", 5)}
    assert name_classes(rows, None, "").splits("ab") == {}


@pytest.mark.parametrize(("texts", "class_names", "expected"), [
    (["stand", "sit", ""], None, (("sit", "stand"), [1, 0, -1])),
    (["2", "0"], None, (("0", "1", "2"), [2, 0])),
    (["10", "9"], None, (tuple(map(str, range(11))), [10, 9])),
    (["1", "sit"], None, (("1", "sit"), [0, 1])),  # one of them is not a number: all are names
    (["stand", "sit"], ["stand", "sit", "lie"], (("stand", "sit", "lie"), [0, 1])),
    (["2", "sit"], ["stand", "sit", "lie"], (("stand", "sit", "lie"), [2, 1])),
    ([""], None, ((), [-1])),
    ([], ["sit"], (("sit",), [])),
])
def test_classes(texts, class_names, expected):
    assert named(texts, class_names) == expected


@pytest.mark.parametrize(("texts", "class_names", "message"), [
    (["jump"], ["sit"], "gives 'clip0' the label 'jump', which is neither"),
    (["sit", "1"], ["sit"], "gives 'clip1' the label '1', which is neither"),
    (["-1"], ["sit"], "the label '-1'"),
    (["999999"], None, "the label 999999, which looks wrong"),
    (["1"], ["2", "1"], "may be the name of a class or its index"),
    (["0", "1"], ["1", "2", "3"], "may be the name of a class or its index"),
    (["1", "3"], ["eat", "sit", "stand"], "seem to count from 1; subtract 1"),
])
def test_labels_that_are_not_a_class(texts, class_names, message):
    with pytest.raises(ValueError, match=f"labels.csv .*{message}"):
        named(texts, class_names)


@pytest.mark.parametrize(("text", "message"), [
    ("", "but has: nothing"),
    ("clip,name\na,b\n", "but has: clip, name"),
    ("clip,label,splits\na,b,train\n", "but has: clip, label, splits"),
    ("clip,label\n", "names no clip"),
    ("clip,label\n,b\n", "line 2 names no clip"),
    ("clip,label\na,b\na,b\n", "line 3 names the clip 'a' again"),
    ("clip,label\na,b,c\n", "line 2 has 3 values for 2 columns: a,b,c"),
    ("clip,label,split\na,b,training\n", "line 2 has the split 'training', .* train, val, test"),
    ("clip,label,subject\na,b,anna\n", "line 2 has the subject 'anna', but it must be a number"),
    ("clip,label,subject\na,b,-1\n", "line 2 has the subject '-1'"),
    ("clip,label,subject\na,b,99999999999\n", "line 2 has the subject '99999999999'"),
    ('clip,label\n"a,b\n', "not a CSV file: unexpected end"),
])
def test_flawed_files_are_refused(path, text, message):
    with pytest.raises(ValueError, match=f"--labels {path}.*{message}"):
        read(path, text)


def test_other_files_are_refused(path):
    with pytest.raises(FileNotFoundError, match=r"--labels .* the columns clip, label, split"):
        read_labels(path)
    path.write_bytes(b"clip,label\n\xff,\xfe\n")
    with pytest.raises(ValueError, match="not a CSV file in UTF-8; save it as UTF-8, which Excel"):
        read_labels(path)


def test_names_of_classes(path):
    path.write_text("\ufeffsit down\nstand \n")
    assert read_class_names(path) == ("sit down", "stand")
    for wrong in ("", "a\n\nb\n", "a\na\n"):
        path.write_text(wrong)
        with pytest.raises(ValueError, match="one name per line"):
            read_class_names(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_class_names(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="file of class names"):
        read_class_names(path)
