from html.parser import HTMLParser

import h5py
import numpy as np
import pytest
from commandline import preprocess_or_check as main

from preprocessing.inspect.check import Findings, check_file, examine
from preprocessing.inspect.page import write_page
from ptl_skel.skeletons import LAYOUTS
from ptl_skel.storage import Clip, ClipWriter, Header, KeypointFile, KeypointFileError


def make_clip(name="a", frames=3, *, coordinates=2, moves=10.0, **known):
    """One person whose joints all stand at 10, 10, and the first of whom moves."""
    keypoints = np.full((1, frames, 13, coordinates), 10, np.float32)
    keypoints[0, :, 0, 0] += np.linspace(0, moves, frames)
    return Clip(name, keypoints, np.ones((1, frames, 13), np.float16), (50, 100), **known)


def write(path, *clips, coordinates=2, splits=None, classes=("wave", "walk")):
    header = Header("toys", LAYOUTS["penn13"], classes, "test", num_coordinates=coordinates)
    with ClipWriter(path, header) as writer:
        for clip in clips:
            writer.add(clip.id, [clip])
        writer.finish(splits or {})
    return path


def test_missing_joints_and_those_out_of_frame_are_counted():
    clip = make_clip(frames=2)
    clip.scores[0, 0, :3] = 0
    clip.keypoints[0, 0, 2] = -50  # missing: does not count as out of frame
    clip.keypoints[0, 0, 3:8] = [[-0.5, 0], [0, 49.5], [0, 0], [99, 49], [99.5, 0]]
    findings = Findings()
    findings.add(clip)
    assert (findings.joints, findings.missing, findings.outside) == (26, 3, 3)


@pytest.mark.parametrize(("moves", "coordinates", "still"), [
    (0, 2, True), (1, 2, True), (2, 2, False), (0.0005, 3, True), (0.005, 3, False)])
def test_clips_without_motion(moves, coordinates, still):
    findings = Findings()
    findings.add(make_clip(moves=moves, coordinates=coordinates))
    assert findings.still == ["a"] * still
    assert not findings.single


def test_what_moves_while_it_is_missing_does_not_move():
    clip = make_clip(moves=0)
    clip.keypoints[0, 1, 5] = 40
    clip.scores[0, 1, 5] = 0
    clip.scores[0, :, 6] = 0
    findings = Findings()
    findings.add(clip)
    assert findings.still == ["a"]


def test_a_clip_of_one_frame_is_reported():
    findings = Findings()
    findings.add(make_clip(frames=1))
    assert (findings.single, findings.still) == (["a"], [])


def test_a_clip_at_the_origin_is_reported():
    clip = make_clip(frames=4)
    clip.keypoints[:] = 0
    findings = Findings()
    findings.add(clip)
    assert (findings.zero, findings.still) == (["a"], [])
    clip.scores[0, 0, 0] = 0
    clip.keypoints[0, 0, 0] = 5  # missing: says nothing
    findings.add(clip)
    assert findings.zero == ["a", "a"]


def test_missing_joints_are_counted_by_joint_and_by_clip():
    findings = Findings()
    for clip in (make_clip("a", 4), make_clip("b", 2)):
        clip.scores[0, 1, 3:5] = 0
        findings.add(clip)
    assert findings.missing_of_joint.tolist() == [0, 0, 0, 2, 2] + [0] * 8
    assert findings.missing_shares == [2 / 52, 2 / 26]


def test_the_page_is_one_file_that_asks_for_no_other(tmp_path, capsys):
    path = write(tmp_path / "<toys>.h5", make_clip("a&b", 1, label=0), make_clip("b", 5, label=1),
                 make_clip("c", 9, moves=0), splits={"own": {"test": ["b"], "train": ["a&b"]}})
    page = tmp_path / "deeper" / "page.html"
    assert main(["check", str(path), "--html", str(page)]) == 0
    assert str(page) in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    parsed = Strict(text)
    assert parsed.open == []
    assert text.startswith("<!DOCTYPE html>")
    assert not parsed.fetched
    assert text.count("* plotly.js v") == 1  # the licence in its head
    assert text.count("Plotly.newPlot(") == 6
    for fact in ("&lt;toys&gt;.h5", "train 1, test 1", "Clips of one frame: 1", "a&amp;b",
                 "Clips without motion: 1", "Clips at the origin: 0", "missing joints"):
        assert fact in text
    assert list(page.parent.iterdir()) == [page]


def test_class_names_do_no_harm_on_the_page(tmp_path):
    evil = "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>"
    path = write(tmp_path / "toys.h5", make_clip("<script>a", 1, label=0), make_clip(label=1),
                 classes=evil)
    write_page(tmp_path / "page.html", *check_file(path))
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert Strict(text).open == []
    assert "alert(1)" in text
    assert not any(name in text for name in (*evil, "<script>a"))


class Strict(HTMLParser):
    """Notes what is open, and attributes that make a browser fetch something."""

    def __init__(self, text):
        super().__init__()
        self.open, self.fetched = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.fetched += [value for name, value in attrs if name in {"src", "href", "srcset"}]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_page_that_cannot_be_written(tmp_path, capsys):
    path = write(tmp_path / "toys.h5", make_clip())
    assert main(["check", str(path), "--html", str(path / "page.html")]) == 2
    assert "page.html cannot be written: File exists" in " ".join(capsys.readouterr().err.split())


def test_a_page_without_splits_or_classes(tmp_path):
    path = write(tmp_path / "toys.h5", make_clip(coordinates=3), coordinates=3)
    write_page(tmp_path / "page.html", *check_file(path))
    assert "Clips per class, all" in (tmp_path / "page.html").read_text()


def test_what_is_printed(tmp_path, capsys):
    path = write(tmp_path / "toys.h5", make_clip("a", 1, label=0), make_clip("b", 5, label=1),
                 make_clip("c", 9, moves=0), splits={"own": {"test": ["b"], "train": ["a"]}})
    check_file(path)
    lines = [" ".join(line.replace("│", " ").split())
             for line in capsys.readouterr().out.splitlines()]
    for line in ("data set toys, from test", "joints 13 of layout penn13, 2D, float32", "clips 3",
                 "frames 15; 1 to 9 a clip, median 5", "persons 1 a clip",
                 "split own train 1, test 1", "missing joints 0.00%", "joints out of frame 0.00%",
                 "clips of one frame 1: a", "clips without motion 1: c", "wave 1 1/0", "walk 1 0/1",
                 "(unknown) 1 0/0"):
        assert line in lines


def test_clips_of_one_length(tmp_path, capsys):
    check_file(write(tmp_path / "toys.h5", make_clip("a", 5), make_clip("b", 5)))
    assert "10; 5 a clip " in capsys.readouterr().out


def test_texts_are_not_markup(tmp_path, capsys):
    path = write(tmp_path / "[red]toys.h5", make_clip("[b]", 1, label=0), classes=("[up]", ":cat:"))
    check_file(path)
    printed = "".join(capsys.readouterr().out.split())
    for text in ("[red]toys.h5", "[b]", "[up]", ":cat:"):
        assert text in printed


def test_3d_has_no_frame_to_leave(tmp_path, capsys):
    check_file(write(tmp_path / "toys.h5", make_clip(coordinates=3), coordinates=3))
    assert "out of frame" not in capsys.readouterr().out


def edit(path, name, index, value):
    with h5py.File(path, "r+") as file:
        file[name][index] = value


@pytest.mark.parametrize(("name", "value", "message"), [
    ("frames/keypoints", np.nan, "not finite"), ("frames/keypoints", np.inf, "not finite"),
    ("frames/scores", np.nan, "outside 0 to 1"), ("frames/scores", 1.5, "outside 0 to 1"),
    ("frames/scores", -1, "outside 0 to 1")])
def test_bad_numbers_are_refused(tmp_path, name, value, message):
    path = write(tmp_path / "toys.h5", make_clip("a"), make_clip("b"))
    edit(path, name, 4, value)
    with pytest.raises(KeypointFileError, match=f"{message}.* in clip 'b'"):
        examine(KeypointFile(path))


def test_a_clip_in_two_parts_is_refused(tmp_path):
    path = write(tmp_path / "toys.h5", make_clip("a"), make_clip("b"),
                 splits={"own": {"train": ["a"], "test": ["b"]}})
    edit(path, "splits/own/test", 0, 0)
    with pytest.raises(KeypointFileError, match="'a' twice in the split own"):
        examine(KeypointFile(path))
