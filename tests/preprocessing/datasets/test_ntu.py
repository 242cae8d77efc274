from __future__ import annotations

import pickle
import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skeleton_files import Body, body, file_text, read_slowly

from preprocessing.datasets.ntu.facts import (
    CLASS_NAMES,
    MISSING_SAMPLES,
    TRAIN_SUBJECTS_60,
    TRAIN_SUBJECTS_120,
)
from preprocessing.datasets.ntu.protocols import parse_name
from preprocessing.datasets.ntu.source import NtuSource
from preprocessing.datasets.ntu.text import PIXELS, XYZ, read_recording
from ptl_skel.storage import valid_clip

NAME = "S001C002P003R001A004"


def assert_same(recording, frames):
    bodies = [one for seen in frames for one in seen]
    assert recording.num_frames == len(frames)
    assert recording.frame.tolist() == [t for t, seen in enumerate(frames) for _ in seen]
    assert recording.body.tolist() == [one.id for one in bodies]
    joints = np.array([one.joints for one in bodies]).reshape(-1, 25, 12)
    np.testing.assert_array_equal(recording.values(XYZ), joints[..., XYZ])
    np.testing.assert_array_equal(recording.values(PIXELS), joints[..., PIXELS])
    np.testing.assert_array_equal(recording.states, joints[..., 11])


@st.composite
def recordings(draw):
    """Frames of any number of bodies with any values, also not finite ones."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    frames = []
    for ids in draw(st.lists(st.lists(st.sampled_from([2**56 + i for i in range(5)]), max_size=3,
                                      unique=True), min_size=1, max_size=8)):
        bodies = []
        for body_id in ids:
            joints = rng.normal(0, 10.0 ** rng.integers(-9, 9, (25, 12)))
            if draw(st.booleans()):
                joints = np.round(joints, draw(st.integers(0, 7)))
            joints[rng.uniform(size=joints.shape) < 0.02] = rng.choice((np.nan, np.inf, -np.inf, 0))
            joints[:, 11] = rng.integers(0, 3, 25)
            bodies.append(Body(body_id, joints))
        frames.append(bodies)
    return frames


@settings(max_examples=60, deadline=None)
@given(recordings(), st.sampled_from(("\n", "\r\n", " \r\n", "\n\n", "\r\n ", "\n \n\t")),
       st.sampled_from((" ", "\t", "  ")), st.sampled_from((b"", b"\n", b"\r\n \r\n\n")))
def test_round_trip(frames, newline, space, tail):
    content = file_text(frames, newline, space) + tail
    assert_same(read_recording(content), frames)
    assert_same(read_recording(content.rstrip()), frames)


def two_frames():
    return [[body(7)], [body(7), body(8)]]


@pytest.mark.parametrize(("content", "reason"), [
    (b"", "empty"),
    (b" \r\n\n", "empty"),
    (b"\x00\x01\x02" * 50, "not text"),
    (b"\xff\xd8 1 2 3", "not text"),
    (file_text([[body()]]).replace(b" 0 ", b" \x01 0 "), "not text"),
    (b"hello", "line 1 should be the number of frames"),
    (b"-3\n", "line 1 should be the number of frames"),
    (b"2.5\n", "line 1 should be the number of frames"),
    (b"0\n", "no frames"),
    (b"1000000000\n1\n", "absurd"),
    (b"100000000\n0\n", "ends after 1 of 100000000 frames"),
    (b"1\n1000000000\n", "absurd"),
    (b"1\n100000000\n", "claims 100000000 bodies"),
    (b"1\n-1\n", "line 2 should be the number of bodies"),
    (b"9" * 5000, "absurd"),
    (file_text([[body()]]).replace(b"\r\n25\r\n", b"\r\n26\r\n"), "line 4 should be the number of"),
    (file_text([[Body(1, np.zeros((26, 12)))]]), "line 4 should be the number of joints, 25"),
    (file_text([[Body(1, np.zeros((24, 12)))]]), "ends in frame 1 of 1"),
    (file_text([[Body(1, np.zeros((25, 11)))]]), "line 5 should be a joint with 12 values"),
    (file_text([[Body(1, np.zeros((25, 13)))]]), "line 5 should be a joint with 12 values"),
    (file_text([[body()]]).replace(b" 0 1 1", b" 0 1"), "line 3 should be a body with 10 values"),
    (file_text([[body()]]).replace(b"\r\n1 0", b"\r\nx 0"), "line 3 should begin with the ID"),
    (file_text([[body(10**30)]]), "line 3 should begin with the ID"),
    (file_text([[body()]]).replace(b"1\r\n1\r\n", b"1\r\n12\r\n"), "claims 12 bodies"),
    (file_text([[body()]]).replace(b" -0.12 ", b" wide "), "'wide' is not a number"),
    (re.sub(rb"1 0 1 1[^\r]*\r\n", b"", file_text([[body()]] * 2)), "line 3 should be a body"),
    (file_text(two_frames()) + b"0\r\n", "continues after its 2 frames, in line 85"),
    (file_text([[body(state=3)]]), "'3' is not a tracking state"),
    (file_text([[body(state=1.5)]]), "'1.5' is not a tracking state"),
])
def test_flawed_content_is_refused_with_the_reason(content, reason):
    with pytest.raises(ValueError, match=re.escape(reason)):
        read_recording(content)


def test_no_number():
    content = file_text([[body()]]).replace(b"\r\n-0.25 ", b"\r\nnothing ")
    with pytest.raises(ValueError, match="'nothing' is not a number"):
        read_recording(content).values(XYZ)


def test_truncated_anywhere_is_refused():
    content = file_text(two_frames()).rstrip()
    for end in range(0, len(content), 7):
        with pytest.raises(ValueError, match=r"^the file|^line \d+ should|not a tracking state$"):
            read_recording(content[:end])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(b"0123456789.-+eENa \t\r\n")
                          | st.integers(0, 255), st.sampled_from(("change", "insert", "delete"))),
                min_size=1, max_size=4))
def test_changed_bytes_are_refused_or_read_as_they_stand(changes):
    content = bytearray(file_text(two_frames()))
    for position, byte, how in changes:
        position %= len(content)
        content[position : position + (how != "insert")] = b"" if how == "delete" else bytes([byte])
    lines = [line for line in bytes(content).split(b"\n") if line.strip()]
    try:
        recording = read_recording(bytes(content))
        recording.values((*XYZ, *PIXELS))
    except ValueError:
        return
    assert_same(recording, read_slowly(b"\n".join(lines), columns=(*XYZ, *PIXELS, 11)))


def test_blank_lines_are_counted():
    content = file_text(two_frames())
    blank = content.replace(b"\r\n25", b"\r\n\r\n \r\n25")  # two before each of three
    for text, expected in ((content, 0), (blank, 6), (b"\n\n" + content, 2)):
        assert read_recording(text).num_blank_lines == expected
        assert read_recording(text.rstrip()).num_blank_lines == expected
        assert read_recording(text.replace(b"\r\n", b"\n  ")).num_blank_lines == expected


@pytest.mark.parametrize("bodies", [9, 10, 11])
@pytest.mark.parametrize("lead", [b"", b"0"])
def test_counts_of_any_length(bodies, lead):
    frames = [[], [body(i) for i in range(bodies)], [body(4)]]
    content = file_text(frames)
    assert content.startswith(b"3\r\n0\r\n%d\r\n" % bodies)
    assert_same(read_recording(lead + content.replace(b"\r\n0\r\n", b"\r\n%b0\r\n" % lead, 1)),
                frames)


@pytest.mark.parametrize("content", [b"999999999\n" + b"0\n" * 10, b"1\n999999999\n1 2 3\n"])
def test_absurd_counts_take_no_memory(content):
    tracemalloc.start()
    with pytest.raises(ValueError, match="the file ends"):
        read_recording(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_a_long_file_is_read():
    frame = file_text([[body()]]).removeprefix(b"1\r\n")
    recording = read_recording(b"10001\r\n" + frame * 10_001)
    assert (recording.num_frames, len(recording.frame)) == (10_001, 10_001)


# The folder as a source.


def write(root, files):
    for name, frames in files.items():
        path = root / f"{name}.skeleton"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(frames if isinstance(frames, bytes) else file_text(frames))
    return root


def read_one(tmp_path, frames, **options):
    clip, = NtuSource(write(tmp_path, {NAME: frames}), **options).read(f"{NAME}.skeleton")
    return clip


def test_a_clip_in_pixels(tmp_path):
    clip = read_one(tmp_path, [[body(at=(0.1 * t, 0, 3))] for t in range(4)])
    assert (clip.id, clip.label, clip.subject, clip.camera) == (NAME, 3, 3, 2)
    assert (clip.setup, clip.replication, clip.frame_size) == (1, 1, (1080, 1920))
    expected = [body(at=(0.1 * t, 0, 3)).joints[:, 5:7] for t in range(4)]
    np.testing.assert_array_equal(clip.keypoints[0], np.float32(expected))
    assert (clip.scores == 1).all()


def test_a_clip_in_metres(tmp_path):
    clip = read_one(tmp_path, [[body(at=(0.1 * t, 0, 3))] for t in range(4)], dimensions=3)
    expected = [body(at=(0.1 * t, 0, 3)).joints[:, :3] for t in range(4)]
    np.testing.assert_array_equal(clip.keypoints[0], np.float32(expected))


def test_the_tracking_state_is_the_score(tmp_path):
    clip = read_one(tmp_path, [[body(state=np.arange(25) % 3)]])
    np.testing.assert_array_equal(clip.scores[0, 0], np.arange(25) % 3 / 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_a_joint_without_a_pixel_has_score_0(tmp_path, value):
    one = body()
    one.joints[3, 5] = value
    source = NtuSource(write(tmp_path, {NAME: [[one]]}))
    clip = valid_clip(source.read(f"{NAME}.skeleton")[0], source.header)
    assert np.flatnonzero(clip.scores[0, 0] == 0).tolist() == [3]
    in_metres = NtuSource(tmp_path, dimensions=3)
    assert in_metres.read(f"{NAME}.skeleton")[0].scores.all()


def test_frames_without_bodies(tmp_path):
    seen = [[body(at=(t / 10, 0, 3))] for t in range(9)]
    frames = [[], [], *seen[:4], [], [], *seen[4:], []]
    clip = read_one(tmp_path, frames)
    assert clip.keypoints.shape == (1, 11, 25, 2)
    assert clip.scores[0].any(-1).tolist() == [True] * 4 + [False] * 2 + [True] * 5


def test_all_bodies_or_those_that_count(tmp_path):
    frames = [[body(3), body(1, at=(1, 0, 3))] if t < 5 else [body(3)] for t in range(20)]
    assert read_one(tmp_path, frames).keypoints.shape == (1, 20, 25, 2)
    clip = read_one(tmp_path, frames, bodies="all")
    assert clip.keypoints.shape == (2, 20, 25, 2)
    assert clip.scores.any(-1).sum(1).tolist() == [20, 5]


def test_a_folder_with_flaws(tmp_path):
    good = [[body()]] * 3
    missing = sorted(MISSING_SAMPLES)[0]
    root = write(tmp_path, {
        NAME: good, f"deeper/still/{NAME}": good, missing: good, "S001C001P001R001A061": good,
        "S001C001P001R001A121": good, "S001C001P001R001A000": good, "notes": good,
        "._S001C001P001R001A002": b"\x00\x05\x16", "S001C001P001R001A003": b"",
        "S001C001P001R001A005": [[], []], "S001C001P001R001A006": [[body(), body()]]})
    source = NtuSource(root)
    keys = {key.removesuffix(".skeleton") for key in list(source.keys()) if "." in key}
    reasons = {
            f"deeper/still/{NAME}": f"the same sample as {NAME}.skeleton", missing: "official list",
            "S001C001P001R001A121": "no such sample: NTU RGB+D has 32 setups and 120",
            "notes": "not named like",
            "S001C001P001R001A000": "not named like", "._S001C001P001R001A002": "macOS",
            "S001C001P001R001A003": "empty", "S001C001P001R001A005": "no body is seen",
            "S001C001P001R001A006": "twice in a frame"}
    for key, reason in reasons.items():
        with pytest.raises(ValueError, match=re.escape(reason)):
            source.read(f"{key}.skeleton")
    for key in keys - set(reasons):
        assert len(source.read(f"{key}.skeleton")) == 1
    assert keys - set(reasons) == {NAME, "S001C001P001R001A061"}


def test_what_is_not_a_file(tmp_path):
    write(tmp_path, {NAME: [[body()]]})
    source = NtuSource(tmp_path)
    (tmp_path / f"{NAME}.skeleton").unlink()
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        source.read(f"{NAME}.skeleton")
    (tmp_path / f"{NAME}.skeleton").mkdir()
    with pytest.raises(ValueError, match="not a regular file"):
        source.read(f"{NAME}.skeleton")


def test_order_and_nesting_do_not_matter(tmp_path):
    names = [f"S001C00{c}P00{p}R001A001" for c in (1, 2) for p in (1, 3)]
    write(tmp_path, {f"{i % 2}/{name}": [[body()]] for i, name in enumerate(names)})
    keys = [key for key in list(NtuSource(tmp_path).keys()) if key.endswith(".skeleton")]
    assert [key[2:].removesuffix(".skeleton") for key in keys] == names


def test_protocols_of_60(tmp_path):
    names = [f"S001C00{c}P00{p}R001A001" for c in (1, 2, 3) for p in (1, 3)]
    source = NtuSource(write(tmp_path, {name: [[body()]] for name in names}))
    assert source.header.dataset == "NTU RGB+D 60"
    assert source.header.class_names == CLASS_NAMES[:60]
    assert source.splits(names) == {
        "xsub": {"train": [n for n in names if "P001" in n],
                 "test": [n for n in names if "P003" in n]},
        "xview": {"train": [n for n in names if "C001" not in n],
                  "test": [n for n in names if "C001" in n]}}


@pytest.mark.parametrize("new", ["S018C001P045R001A001", "S002C001P045R001A061"])
def test_protocols_of_120(tmp_path, new):
    names = ["S001C001P001R001A001", new]
    source = NtuSource(write(tmp_path, {name: [[body()]] for name in names}))
    assert source.header.dataset == "NTU RGB+D 120"
    assert len(source.header.class_names) == 120
    assert source.splits(names) == {"xsub": {"train": names, "test": []},
                                    "xset": {"train": [new], "test": names[:1]}}


def test_class_names_of_your_own(tmp_path):
    missing = sorted(MISSING_SAMPLES)[0]
    names = "walk\nrun\n" + "\n".join(f"jump {i}" for i in range(60)) + "\n\n"
    write(tmp_path / "mine", {missing: [[body()]]})
    (tmp_path / "mine" / "class_names.txt").write_text(names, encoding="utf-8")
    source = NtuSource(tmp_path / "mine")
    assert source.header.dataset == "mine"
    assert source.header.class_names[:3] == ("walk", "run", "jump 0")
    assert len(source.read(f"{missing}.skeleton")) == 1
    (tmp_path / "other.txt").write_text("sit", encoding="utf-8")
    source = NtuSource(tmp_path / "mine", classes=tmp_path / "other.txt")
    assert source.header.class_names == ("sit",)
    with pytest.raises(ValueError, match="only 1 class"):
        source.read(f"{missing}.skeleton")


def test_a_source_travels_light(tmp_path):
    names = [f"S001C001P001R{r:03}A001" for r in range(1, 500)]
    source = NtuSource(write(tmp_path, {name: [[body()]] for name in names}))
    travelled = pickle.dumps(source)
    assert len(travelled) < 5000
    key = source.keys()[0]
    np.testing.assert_array_equal(pickle.loads(travelled).read(key)[0].keypoints,
                                  source.read(key)[0].keypoints)


def test_wrong_use_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist; give a folder of"):
        NtuSource(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"holds no \.skeleton file"):
        NtuSource(tmp_path)
    write(tmp_path, {NAME: [[body()]]})
    with pytest.raises(ValueError, match="`dimensions` must be one of 2, 3, got 4"):
        NtuSource(tmp_path, dimensions=4)
    with pytest.raises(ValueError, match="`bodies` must be one of pyskl, all, got 'most'"):
        NtuSource(tmp_path, bodies="most")
    with pytest.raises(FileNotFoundError, match="file of class names"):
        NtuSource(tmp_path, classes=tmp_path / "classes.txt")
    for content in (b" \n", b"\xff\xfe"):
        (tmp_path / "classes.txt").write_bytes(content)
        with pytest.raises(ValueError, match="class name"):
            NtuSource(tmp_path, classes=tmp_path / "classes.txt")


# The facts.


def test_missing_samples_are_counted_right():
    assert len(MISSING_SAMPLES) == 535
    assert sum(parse_name(name).setup <= 17 for name in MISSING_SAMPLES) == 302


def test_subjects_are_counted_right():
    assert (len(TRAIN_SUBJECTS_60), len(TRAIN_SUBJECTS_120)) == (20, 53)
    assert max(TRAIN_SUBJECTS_60) <= 40
    assert max(TRAIN_SUBJECTS_120) <= 106


def test_class_names_are_counted_right():
    assert len(set(CLASS_NAMES)) == 120
    assert (CLASS_NAMES[0], CLASS_NAMES[57], CLASS_NAMES[59]) == (
        "drink water", "handshaking", "walking apart from each other")


def test_facts_are_the_published_ones(shared):
    def lines(name):
        return (shared / "data" / "ntu" / name).read_text(encoding="utf-8").splitlines()

    official = [{line.strip() for line in lines(f"missing_skeletons_{edition}.txt")
                 if re.match(r"S\d{3}C", line)} for edition in (60, 120)]
    assert official[1] == MISSING_SAMPLES
    assert official[0] == {name for name in MISSING_SAMPLES if parse_name(name).setup <= 17}
    plain = [name.replace("\u2019", "'").replace("quite", "quiet")
             for name in lines("class_names_120.txt") if name.strip()]
    assert tuple(plain) == CLASS_NAMES


def test_the_slow_reader_agrees_on_synthetic_files(tmp_path):
    from preprocessing.synthetic.dataset import write_dataset

    write_dataset(tmp_path / "synthetic", subjects=3, replications=1)
    for path in sorted((tmp_path / "synthetic").glob("*A00[1-9].skeleton"))[::4]:
        content = path.read_bytes()
        assert_same(read_recording(content), read_slowly(content))
