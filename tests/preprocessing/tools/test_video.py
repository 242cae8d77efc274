"""Videos of rectangles that walk become keypoint files."""

import csv
import itertools
import re
import shlex
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from commandline import refusal
from videos import SIZE, joints_at, paint, walking, write_video

from preprocessing.commands import FRAMES
from preprocessing.inspect.frames import show_frames
from preprocessing.tools import video as module
from preprocessing.tools.video import VideoSource, find_videos
from ptl_skel.__main__ import main
from ptl_skel.errors import UserError
from ptl_skel.pose.video import Video
from ptl_skel.skeletons import LAYOUTS
from ptl_skel.storage import KeypointFile

MINE = ("--estimator", "videos.Rectangles")
GUIDE = (Path(__file__).parents[3] / "docs" / "video.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL)
            for line in block.splitlines() if line.startswith("ptl-skel ")]


@pytest.fixture
def videos(tmp_path):
    """Three videos in two folders."""
    folder = tmp_path / "videos"
    walking(folder / "jump" / "a.mp4", 30, absent=range(7))
    walking(folder / "jump" / "b.mp4", 20, 2)
    walking(folder / "walk" / "a.mp4", 25)
    return folder


def preprocess(out, *arguments, workers=1):
    main(["preprocess", "video", *map(str, arguments), *MINE, "--out", str(out),
          "--workers", str(workers)])
    return KeypointFile(out)


@pytest.mark.parametrize("workers", [1, 2])
def test_videos_in_folders_of_classes(videos, tmp_path, workers):
    file = preprocess(tmp_path / "out.h5", videos, workers=workers)
    assert file.ids == ["jump/a", "jump/b", "walk/a"]
    assert file.header.class_names == ("jump", "walk")
    assert file.label.tolist() == [0, 0, 1]
    assert file.num_persons.tolist() == [1, 2, 1]
    assert file.fps.tolist() == [25] * 3
    assert file.first_frame.tolist() == [7, 0, 0]
    assert file.num_frames.tolist() == [23, 20, 25]
    for position, persons in enumerate(file.num_persons):
        clip = file.clip(position)
        assert clip.frame_size == SIZE
        expected = np.stack([joints_at(frame + clip.first_frame, persons)
                             for frame in range(clip.keypoints.shape[1])], 1)
        np.testing.assert_allclose(clip.keypoints, expected, atol=2.5)


def test_a_split_in_folders(videos, tmp_path, capsys):
    folder = tmp_path / "parted"
    for part, clip in (("train", "jump/a"), ("train", "walk/a"), ("test", "jump/b")):
        (folder / part / clip).parent.mkdir(parents=True, exist_ok=True)
        (videos / f"{clip}.mp4").rename(folder / part / f"{clip}.mp4")
    file = preprocess(tmp_path / "out.h5", folder)
    assert file.header.class_names == ("jump", "walk")
    assert [file.ids[i] for i in file.split("own", "train")] == ["train/jump/a", "train/walk/a"]
    assert [file.ids[i] for i in file.split("own", "test")] == ["test/jump/b"]
    (folder / "jump").mkdir()
    (folder / "test" / "jump" / "b.mp4").rename(folder / "jump" / "b.mp4")  # train is a class
    assert preprocess(tmp_path / "mixed.h5", folder).splits == {}
    (folder / "test" / "a.mp4").hardlink_to(folder / "train" / "jump" / "a.mp4")
    assert "parted/jump/b.mp4 is beside the folders test and train, which make a split" in refusal(
        capsys, "preprocess", "video", folder, *MINE, "--out", tmp_path / "refused.h5")


def test_a_split_in_folders_of_other_names(videos, tmp_path):
    (videos / "jump").rename(videos / "Train")
    (videos / "walk").rename(videos / "valid")
    file = preprocess(tmp_path / "out.h5", videos)
    assert file.header.class_names == ()
    assert [file.ids[i] for i in file.split("own", "train")] == ["Train/a", "Train/b"]
    assert [file.ids[i] for i in file.split("own", "val")] == ["valid/a"]
    (tmp_path / "labels.csv").write_text("clip,label\nTrain/a,up\nTrain/b,along\nvalid/a,up\n")
    file = preprocess(tmp_path / "labelled.h5", videos, "--labels", tmp_path / "labels.csv")
    assert [file.header.class_names[i] for i in file.label] == ["up", "along", "up"]
    assert {part: len(file.split("own", part)) for part in ("train", "val")} == {
        "train": 2, "val": 1}


def test_labels_and_splits_from_a_csv_file(videos, tmp_path):
    (tmp_path / "labels.csv").write_text(
        "clip,label,split\njump/a,up,train\njump/b,up,test\nwalk/a,along,train\n")
    file = preprocess(tmp_path / "out.h5", videos, "--labels", tmp_path / "labels.csv")
    assert [file.header.class_names[i] for i in file.label] == ["up", "up", "along"]
    assert file.split("own", "train").tolist() == [0, 2]


def test_names_with_letters_that_macos_decomposes(videos, tmp_path):
    decomposed = unicodedata.normalize("NFD", "über")
    for name, folder in (("a", decomposed), ("b", "über")):
        (tmp_path / "in" / folder).mkdir(parents=True)
        (videos / "jump" / f"{name}.mp4").rename(tmp_path / "in" / folder / f"{name}.mp4")
    file = preprocess(tmp_path / "out.h5", tmp_path / "in")
    assert file.header.class_names == ("über",)
    (tmp_path / "labels.csv").write_text("clip,label,split\nüber/a.mp4,hüpfen,train\n"
                                         f"über/b,{unicodedata.normalize('NFD', 'hüpfen')},test\n")
    labelled = preprocess(tmp_path / "labelled.h5", tmp_path / "in", "--labels",
                          tmp_path / "labels.csv")
    assert labelled.header.class_names == ("hüpfen",)
    assert labelled.label.tolist() == [0, 0]
    assert {part: [labelled.ids[i] for i in labelled.split("own", part)]
            for part in ("train", "test")} == {"train": [f"{decomposed}/a"], "test": ["über/b"]}


def test_labels_that_name_the_files_of_the_clips(videos, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("clip,label,split\njump/a.mp4,up,train\nwalk/a,along,test\n")
    file = preprocess(tmp_path / "out.h5", videos, "--labels", labels)
    assert {file.ids[i]: int(label) for i, label in enumerate(file.label) if label >= 0} == {
        "jump/a": 1, "walk/a": 0}
    assert file.ids[file.split("own", "train")[0]] == "jump/a"


def test_labels_that_name_clips_without_their_folder_are_rejected(videos, tmp_path, capsys):
    (tmp_path / "labels.csv").write_text("clip,label\na,up\nb,along\n")
    said = refusal(capsys, "preprocess", "video", videos, *MINE, "--labels",
                   tmp_path / "labels.csv", "--out", tmp_path / "out.h5")
    assert "names none of the clips: it names 'a', the input has 'jump/a'" in said


def test_joints_of_another_layout(videos, tmp_path, capsys):
    file = preprocess(tmp_path / "out.h5", videos / "walk" / "a.mp4", "--layout", "penn13")
    assert file.header.layout == LAYOUTS["penn13"]
    assert file.ids == ["a"]
    np.testing.assert_allclose(file.frames(0)[0][0, 3], joints_at(3)[0, [0, *range(5, 17)]],
                               atol=2.5)
    said = refusal(capsys, "preprocess", "video", videos, *MINE, "--layout", "ntu25",
                   "--out", tmp_path / "no.h5")
    assert "the joints of layout coco17 cannot become those of ntu25" in said
    assert "penn13" in said.split("they can become")[1]


def test_what_cannot_be_used_is_listed_with_the_reason(videos, tmp_path, capsys):
    (videos / "walk" / "notes.mp4").write_text("no video")
    walking(videos / "walk" / "nobody.mp4", 9, 0)
    walking(videos / "walk" / "short.mp4", 2)
    (videos / "walk" / "readme.txt").write_text("not a video, and not taken for one")
    file = preprocess(tmp_path / "out.h5", videos)
    assert file.num_lost == 3
    with (tmp_path / "out.skipped.csv").open() as lines:
        reasons = dict(csv.reader(lines))
    assert "is not a video, or was cut off" in reasons["walk/notes"]
    assert reasons["walk/nobody"] == "nobody is seen in 3 frames or more; the video has 9"
    assert reasons["walk/short"] == "nobody is seen in 3 frames or more; the video has 2"
    assert "3 of 6 inputs (50.0%) are unusable" in " ".join(capsys.readouterr().err.split())


def test_a_truncated_video_is_reported(tmp_path):
    whole = walking(tmp_path / "in" / "whole.mkv", 60)
    content = whole.read_bytes()
    (tmp_path / "in" / "cut.mkv").write_bytes(content[: len(content) // 2])
    file = preprocess(tmp_path / "out.h5", tmp_path / "in")
    assert file.ids == ["cut", "whole"]
    with (tmp_path / "out.repaired.csv").open() as lines:
        repaired = dict(csv.reader(lines))
    assert repaired.keys() == {"input", "cut"}
    assert re.fullmatch(r"the video ends after 1\.\d of 2\.4 seconds: the file seems to be "
                        "truncated", repaired["cut"])


def test_an_interrupted_run_resumes(videos, tmp_path, monkeypatch, capsys):
    read = []
    original = VideoSource.read

    def interrupted(self, key):
        read.append(key)
        if len(read) == 2:
            raise KeyboardInterrupt
        return original(self, key)

    monkeypatch.setattr(module.VideoSource, "read", interrupted)
    with pytest.raises(SystemExit):
        preprocess(tmp_path / "out.h5", videos)
    file = preprocess(tmp_path / "out.h5", videos)
    assert read == ["jump/a", "jump/b", "jump/b", "walk/a"]
    assert len(file) == 3


def test_a_change_of_size_and_a_person_for_a_moment(tmp_path):
    one = walking(tmp_path / "one.ts", 20).read_bytes()
    other = write_video(tmp_path / "two.ts", [
        paint(i, 2 if i == 25 else 1).repeat(2, 0).repeat(2, 1) for i in range(20, 40)])
    path = tmp_path / "both.ts"
    path.write_bytes(one + other.read_bytes())
    clip, = VideoSource([path], estimator="videos.Rectangles").read("both")
    assert clip.frame_size == SIZE
    assert "the size of the frames changes" in clip.repairs
    assert clip.keypoints.shape[0] == 1
    np.testing.assert_allclose(clip.keypoints[0, -1], joints_at(39)[0], atol=2.5)


def test_mistakes(videos, tmp_path, capsys):
    out = "--out", tmp_path / "out.h5"
    assert "none.mp4 does not exist" in refusal(capsys, "preprocess", "video",
                                                tmp_path / "none.mp4", *MINE, *out)
    (tmp_path / "empty").mkdir()
    assert "holds no video; these endings count" in refusal(
        capsys, "preprocess", "video", tmp_path / "empty", *MINE, *out)
    with pytest.raises(UserError, match="TwoJoints returned `keypoints` of the shape"):
        VideoSource([videos], estimator="videos.TwoJoints").read("jump/a")  # not only skipped
    walking(videos / "jump" / "a.avi", 3)
    assert "would both be the clip 'a'" in refusal(
        capsys, "preprocess", "video", videos / "jump", *MINE, *out)


def test_names_come_from_the_common_folder(videos):
    assert list(find_videos([videos / "walk", videos / "jump"])) == ["walk/a", "jump/a", "jump/b"]
    assert list(find_videos([videos / "walk" / "a.mp4"])) == ["a"]


def test_the_page_shows_frames(videos, tmp_path, capsys):
    preprocess(tmp_path / "out.h5", videos)
    page = tmp_path / "page.html"
    main(["check", str(tmp_path / "out.h5"), "--html", str(page), "--video", str(videos)])
    text = page.read_text()
    assert FRAMES in text
    assert text.count("data:image/jpeg") == 12
    assert "frame 11, 0.4 s" in text  # of a clip that starts later than its video
    assert "--video needs --html" in refusal(capsys, "check", tmp_path / "out.h5", "--video",
                                             videos)
    with pytest.raises(UserError, match="no video of a clip: the file has 'jump/a'"):
        show_frames(KeypointFile(tmp_path / "out.h5"), {"a": videos / "jump" / "a.mp4"})


def test_the_guide_does_what_it_says(videos, tmp_path, monkeypatch, shared):
    """Every command of docs/video.md except the one that fetches the model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cache" / "ptl_skel").mkdir(parents=True)
    (tmp_path / "cache" / "ptl_skel" / "movenet_multipose.onnx").symlink_to(
        shared / "models" / "movenet_multipose_f16.onnx")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("jump/a.mp4", "jump/b.mp4", "walk/a.mp4"):
        (videos / name).unlink()
    with Video(shared / "data" / "video" / "demo_skeleton.mp4") as demo:
        write_video(videos / "jump" / "a.mp4", [
            frame.to_image(640) for frame in itertools.islice(demo, 15)])
    (tmp_path / "labels.csv").write_text("clip,label,split\njump/a,jump,train\n")
    (tmp_path / "my_poses.py").write_text(
        "from videos import Rectangles\nclass Mine(Rectangles):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    fetched = "ptl-skel pose fetch movenet"
    assert COMMANDS.count(fetched) == 1
    for line in COMMANDS:
        if line == fetched:
            continue
        if "my_poses" in line:
            (videos / "jump" / "a.mp4").unlink()
            walking(videos / "jump" / "a.mp4", 10)
        main(shlex.split(line)[1:])
    assert KeypointFile("mine.h5").num_persons.tolist() == [2]
    assert KeypointFile("penn.h5").header.layout.name == "penn13"
    assert Path("mine.html").exists()
