"""Arrays and tables of your own."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.core.source import Unusable
from preprocessing.tools.arrays import ArraysSource, read_label, read_npz
from ptl_skel.errors import UserError
from ptl_skel.skeletons import LAYOUTS

SIZE = 480, 640
KNOWN = {"frame_size": SIZE, "layout": "coco17"}
RANDOM = np.random.default_rng(0)
POSES = RANDOM.uniform(10, 400, (2, 5, 17, 2)).astype(np.float32)
SCORES = RANDOM.uniform(0.1, 1, (2, 5, 17)).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jump.npz"


def save(path, **arrays):
    np.savez(path, **{"keypoints": POSES, "height": 480, "width": 640, **arrays})


def source(path, *, options=None, **arrays):
    save(path, **arrays)
    return ArraysSource(path, **(options or {}))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4", np.int16])
def test_a_clip(path, compressed, dtype):
    write = np.savez_compressed if compressed else np.savez
    write(path, keypoints=np.asfortranarray(POSES.astype(dtype)), scores=SCORES, height=480,
          width=np.array([640]))
    reader = ArraysSource(path)
    clip, = reader.read("jump")
    assert (clip.id, clip.frame_size, reader.header.layout.name) == ("jump", SIZE, "coco17")
    np.testing.assert_array_equal(clip.keypoints, POSES.astype(dtype).astype(np.float32))
    np.testing.assert_array_equal(clip.scores, SCORES)


def test_one_person(path):
    clip, = source(path, keypoints=POSES[0], scores=SCORES[0]).read("jump")
    np.testing.assert_array_equal(clip.keypoints, POSES[:1])


def test_without_scores(path):
    keypoints = POSES.copy()
    keypoints[0, 1, 3], keypoints[1, 2, 4] = 0, np.nan
    clip, = source(path, keypoints=keypoints).read("jump")
    assert np.argwhere(clip.scores == 0).tolist() == [[0, 1, 3], [1, 2, 4]]


def test_persons_who_are_never_there_are_left_out(path):
    keypoints = np.zeros((4, 5, 17, 2))
    keypoints[[1, 3]] = POSES
    clip, = source(path, keypoints=keypoints).read("jump")
    np.testing.assert_array_equal(clip.keypoints, POSES)


def test_the_strongest_persons_are_kept(path):
    clip, = source(path, scores=SCORES, options={"max_persons": 1}).read("jump")
    np.testing.assert_array_equal(clip.keypoints, POSES[[SCORES.sum((1, 2)).argmax()]])


def test_metres(path):
    keypoints = RANDOM.normal(0, 1, (2, 5, 25, 3))
    keypoints[:, :, 0] = 0  # the root of the body
    scores = np.ones(keypoints.shape[:-1])
    with pytest.raises(ValueError, match="25 joints, which is the number of no layout"):
        source(path, keypoints=keypoints)
    reader = source(path, keypoints=keypoints, scores=scores, options={"layout": "ntu25"})
    clip, = reader.read("jump")
    assert (clip.frame_size, reader.header.num_coordinates) == ((1, 1), 3)
    assert clip.scores.all()


@pytest.mark.parametrize(("labels", "names", "indices"), [
    (["walk", "jump"], ("jump", "walk"), [1, 0]),
    ([2, 0], ("0", "1", "2"), [2, 0]),
    ([np.bytes_(b"walk"), "jump"], ("jump", "walk"), [1, 0]),
    (["walk", None], ("walk",), [0, -1]),
    ([[1, 2], 1.5], (), [-1, -1]),
])
def test_labels_in_the_files(tmp_path, labels, names, indices):
    for name, label in zip("ab", labels, strict=True):
        known = {} if label is None else {"label": label}
        np.savez(tmp_path / f"{name}.npz", keypoints=POSES, **known)
    reader = ArraysSource(tmp_path, frame_size=SIZE)
    assert reader.header.class_names == names
    assert [reader.read(name)[0].label for name in "ab"] == indices


def test_labels_of_their_own_come_first(path, tmp_path):
    (tmp_path / "labels.txt").write_text("clip,label\njump,sit\n")
    reader = source(path, label="walk", options={"labels": tmp_path / "labels.txt"})
    assert reader.header.class_names == ("sit",)


@pytest.mark.parametrize(("arrays", "message"), [
    ({"keypoints": np.zeros((5, 2))}, "shape"),
    ({"keypoints": np.zeros((5, 17, 4))}, "shape"),
    ({"keypoints": np.zeros((1, 1, 5, 17, 2))}, "shape"),
    ({"keypoints": np.zeros((0, 5, 17, 2))}, "no joint is visible"),
    ({"keypoints": np.full((5, 17, 2), "a")}, "`keypoints` are not numbers"),
    ({"keypoints": np.zeros((5, 17, 2), complex)}, "`keypoints` are not numbers"),
    ({"keypoints": np.array([None])}, "cannot be read as an NPZ file"),
    ({"scores": SCORES[0]}, "`scores` have the shape"),
    ({"scores": np.full(SCORES.shape, "a")}, "`scores` are not numbers"),
    ({"height": np.array([1, 2])}, "`height` and `width` must be one integer each"),
    ({"height": 4.5}, "`height` and `width` must be one integer each"),
    ({"height": 0}, "the size of its frames"),
])
def test_flawed_arrays_are_refused(tmp_path, arrays, message):
    save(tmp_path / "fine.npz")
    save(tmp_path / "jump.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        ArraysSource(tmp_path, frame_size=SIZE).read("jump")


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return path


def array_of(shape, data=b""):
    """The bytes of a .npy file that claims a shape."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue() + data


@pytest.mark.parametrize("members", [
    {"scores": array_of((1,), b"abcd")},
    {"keypoints": b""},
    {"keypoints": array_of((10**9, 10**3, 17, 2))},  # no memory is taken for what is not there
    {"keypoints": array_of((-1, 17, 2))},
    {"keypoints": array_of((1, 17, 2), bytes(4 * 34 + 1))},
    {"keypoints": array_of((1, 17, 2))[:40]},
])
def test_archives_that_do_not_hold_what_they_claim(tmp_path, members):
    path = archive(tmp_path / "jump.npz", **members)
    with pytest.raises(Unusable, match=r"cannot be read as an NPZ file|no array `keypoints`"):
        read_npz(path)


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("preprocessing.tools.arrays.MAX_BYTES", 10**6)
    path = archive(tmp_path / "jump.npz", keypoints=array_of((10**6, 17, 2)) + bytes(2 * 10**6))
    with pytest.raises(ValueError, match="2,000,128 bytes, more than the 1,000,000"):
        read_npz(path)


SAVED = io.BytesIO()
np.savez_compressed(SAVED, keypoints=POSES, scores=SCORES, label="jump", height=480, width=640)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, len(SAVED.getvalue()) - 1), st.integers(0, 255)),
                min_size=1, max_size=4), st.integers(0, len(SAVED.getvalue())))
def test_damage_never_crashes(tmp_path_factory, changes, length):
    data = bytearray(SAVED.getvalue())
    for position, value in changes:
        data[position] = value
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(data if length % 2 else data[:length])
    read_label(path)
    try:
        poses = read_npz(path)
    except Unusable:
        return
    assert poses.keypoints.shape[:2] == poses.scores.shape


def table(path, *rows, header="clip,frame,person,joint,x,y,score"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def rows(clip="jump", frames=range(3), person=0, shift=0, joints=17):
    return [(clip, frame, person, joint, 100.5 + shift + frame, 200.25 + joint, 0.5)
            for frame in frames for joint in range(joints)]


@pytest.fixture
def csv(tmp_path):
    return tmp_path / "keypoints.csv"


def read_table(path, clip="jump", **options):
    return ArraysSource(path, **{"frame_size": SIZE, "layout": "coco17", **options}
                        ).read(clip)[0]


def test_a_table(csv):
    reader = ArraysSource(table(csv, *rows("walk", [7, 9, 15]), *rows(),
                                           *rows(person=1, shift=300)), **KNOWN)
    assert reader.keys() == ["walk", "jump"]
    assert (reader.header.layout.name, reader.header.dataset) == ("coco17", "keypoints")
    clip, = reader.read("jump")
    assert clip.keypoints[:, :, 3].tolist() == [
        [[100.5 + shift + frame, 203.25] for frame in range(3)] for shift in (0, 300)]
    assert (clip.scores == 0.5).all()
    assert reader.read("walk")[0].scores[0, :, 0].tolist() == [0.5, 0.5, 0, 0, 0.5]


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(34)))
def test_lines_of_a_clip_come_in_any_order(tmp_path_factory, order):
    lines = rows(frames=range(2))
    path = tmp_path_factory.getbasetemp() / "any.csv"
    clip = read_table(table(path, *(lines[i] for i in order)))
    assert clip.keypoints[0, :, 16].tolist() == [[100.5, 216.25], [101.5, 216.25]]


def test_columns_come_in_any_order_and_names_with_commas(csv):
    lines = [(y, x, joint, f'"{clip}, ""high"""', person, frame)
             for clip, frame, person, joint, x, y, _ in rows()]
    csv.write_bytes(b"\xef\xbb\xbf" + table(csv, *lines, header=" y,x,joint,clip,person,frame"
                                            ).read_bytes().replace(b"\n", b"\r\n"))
    clip = read_table(csv, 'jump, "high"')
    assert clip.keypoints[0, 1, 16].tolist() == [101.5, 216.25]
    assert (clip.scores == 1).all()


def test_joints_that_were_not_found(csv):
    lines = [list(row) for row in rows(frames=[0])]
    lines[1][4] = lines[2][6] = lines[3][6] = ""
    lines[3][6], lines[4][4:6] = 0, (0, 0)
    clip = read_table(table(csv, *lines[:5], *lines[6:]))
    assert np.flatnonzero(clip.scores[0, 0] == 0).tolist() == [1, 2, 3, 4, 5]


def test_joints_by_name_or_as_floats(csv):
    names = LAYOUTS["coco17"].joints
    for joints in (names, [f" {joint}.0" for joint in range(17)]):
        lines = [(*row[:3], joints[row[3]], *row[4:]) for row in rows(frames=range(2))]
        assert read_table(table(csv, *lines)).keypoints[0, 0, :, 1].tolist() == [
            200.25 + joint for joint in range(17)]


def test_the_layout_is_asked_for(csv):
    with pytest.raises(UserError, match="name it with --layout"):
        ArraysSource(table(csv, *rows(joints=13)), frame_size=SIZE)
    assert read_table(csv).keypoints.shape == (1, 3, 17, 2)


def test_several_files(tmp_path):
    table(tmp_path / "a.csv", *rows("jump"))
    table(tmp_path / "b.csv", *rows("walk"), *rows("run"))
    assert ArraysSource(tmp_path, **KNOWN).keys() == ["jump", "walk", "run"]


def test_scattered_lines_are_refused(csv):
    reader = ArraysSource(table(csv, *rows(), *rows("walk"), *rows()), **KNOWN)
    assert reader.keys() == ["walk", "jump"]
    with pytest.raises(ValueError, match="are not consecutive"):
        reader.read("jump")


@pytest.mark.parametrize(("row", "message"), [
    (("jump", 0, 0, 0), "a line that does not have 7 values"),
    (("jump", 0, 0, "nostril", 1, 2, 1), "a line is not a list of numbers"),
    (("jump", 0, 0, 0.5, 1, 2, 1), "must be integers from 0"),
    (("jump", -1, 0, 0, 1, 2, 1), "must be integers from 0"),
    (("jump", 0, "", 0, 1, 2, 1), "must be integers from 0"),
    (("jump", 10**20, 0, 0, 1, 2, 1), "must be integers from 0"),
    (("jump", 0, 0, 10**6, 1, 2, 1), "a joint 1000000, but there are 17"),
    (("jump", 0, 0, 3, 1, 2, 1), "a joint of the same person twice"),
    (("jump", 10**6, 0, 3, 1, 2, 1), "more than the 100,000"),
])
def test_flawed_lines_are_refused(csv, row, message):
    reader = ArraysSource(table(csv, *rows("fine"), *rows(frames=range(2)), row),
                          **KNOWN)
    with pytest.raises(ValueError, match=message):
        reader.read("jump")
    assert reader.read("fine")


@pytest.mark.parametrize(("content", "message"), [
    (b"", "but has: nothing"),
    (b"a,b\n1,2\n", "must have the columns clip, frame, .* but has: a, b"),
    (b"clip,frame,person,joint,x,y\n", "contains no clip"),
    (b"clip,frame,person,joint,x,y\n1,2\n", "2 values for 6 columns in its first line"),
    (b"clip,frame,person,joint,x,y\n\xff,2,3,4,5,6\n", "not a CSV file in UTF-8"),
    (b'clip,frame,person,joint,x,y\n"a,2,3,4,5,6\n', "not a CSV file in UTF-8"),
    (b"clip,frame,person,joint,x,y\na,0,0,1,5,6\n", "the joints from 1; they must count from 0"),
    (b"clip,frame,person,joint,x,y\na,0,0,0,1,2\n" + b"a" * 200_000, "not a CSV file in UTF-8"),
])
def test_what_is_no_table(csv, content, message):
    csv.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        ArraysSource(csv, **KNOWN)


def test_arrays_beside_tables(path, csv):
    source(path)
    table(csv, *rows())
    with pytest.raises(ValueError, match=r"both \.npz and \.csv files, .*; keep one"):
        ArraysSource(path.parent, frame_size=SIZE)
