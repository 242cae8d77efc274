"""The commands of docs/live.md, run one after the other: from videos to segments."""

import functools
import json
import re
import shlex
from pathlib import Path

import pages
import pytest
from by_hand import BY_HAND, NOT_RUN
from commandline import QUIET, refusal
from dancers import read_events, read_frames
from PIL import Image

from ptl_skel.cli import outcome
from ptl_skel.cli.verbs import main
from ptl_skel.storage import KeypointFile

GUIDE = (Path(__file__).parents[2] / "docs" / "live.md").read_text(encoding="utf-8")
VIDEO = "demo_skeleton.mp4"
FAST = {  # further options, so that the commands of the page take little time
    "fit": ["--data.size", "16", "--data.eval_size", "16", "--data.clip_len", "8",
            "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--trainer.callbacks",
            "[]", "--wandb", "off", "--data.live_score", "null", *QUIET],
    "predict": list(QUIET), "live": ["--min_probability", "0"],
    "segment": ["--min_probability", "0"]}


def commands():
    """The commands of the page, without those that install something."""
    for block in re.findall(r"^```bash\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line)
            if words[0] == "ptl-skel" and words[1] != "pose":
                yield words[1:]


@pytest.fixture(scope="module")
def whole_way(shared, tmp_path_factory):
    """A folder in which all commands of the page have run."""
    pytest.importorskip("av")
    pytest.importorskip("onnxscript")
    model = shared / "models" / "movenet_multipose_f16.onnx"
    if not model.is_file():
        pytest.skip(f"no pose model {model}")
    folder = tmp_path_factory.mktemp("whole_way")
    (folder / "labels").mkdir()
    for label in sorted((shared / "data/penn_action/labels").glob("*.mat"))[::60]:
        (folder / "labels" / label.name).symlink_to(label)
    (folder / "video.mp4").symlink_to(shared / "data" / "video" / VIDEO)
    (folder / "ptl_skel").mkdir()
    (folder / "ptl_skel" / "movenet_multipose.onnx").symlink_to(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setattr(outcome, "measure", functools.partial(outcome.measure, seconds=0))
        for words in commands():
            line = [*words, *FAST.get(words[0], [])]
            if "--serve" in line:  # without a camera
                line = ["video.mp4" if word == "0" and line[place - 1] == "--source" else word
                        for place, word in enumerate(line)]
                line.insert(line.index("--serve") + 1, "0")
            main(["1" if word == "1200" else word for word in line])
    return folder


def test_the_page_shows_every_verb_in_order():
    assert [words[0] for words in commands()] == [
        "preprocess", "fit", "export", "preprocess", "predict", "live", "live", "segment", "show",
        "show"]


def test_the_persons_of_the_video_are_in_the_keypoint_file(whole_way):
    file = KeypointFile(whole_way / "video.h5")
    assert file.header.layout.name == "penn13"
    assert file.num_persons.tolist() == [2]
    assert file.num_frames.tolist() == [72]
    assert (whole_way / "runs/video/predictions.npz").is_file()


def test_live_writes_an_annotated_video_and_events(whole_way):
    assert read_frames(whole_way / "annotated.mp4") == [(540, 960)] * 72
    events = read_events(whole_way / "events.jsonl")
    assert {event["person"] for event in events} == {0, 1}
    assert {event["event"] for event in events} == {"label"}  # nobody leaves


def test_segments_and_their_timeline(whole_way):
    held = json.loads((whole_way / "found" / "segments.json").read_text())
    assert held["seconds"] == pytest.approx(2.53, abs=0.05)
    assert {each["person"] for each in held["segments"]} == {0, 1}
    assert (whole_way / "found" / "timeline.png").is_file()


def test_the_pictures_of_evidence_and_predictions(whole_way):
    assert (whole_way / "evidence.png").stat().st_size > 10_000
    with Image.open(whole_way / "predictions.gif") as moving:
        assert moving.n_frames == 8  # the clip_len of FAST


def test_commands_that_only_the_readme_has(whole_way, tmp_path, monkeypatch):
    """They use the checkpoint of the other commands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(whole_way))
    monkeypatch.setattr(outcome, "measure", functools.partial(outcome.measure, seconds=0))
    for link, target in (("penn.h5", "penn.h5"), ("data/mine.h5", "video.h5"),
                         ("video.mp4", "video.mp4"), ("runs/penn_action", "runs/penn")):
        Path(link).parent.mkdir(exist_ok=True)
        Path(link).symlink_to(whole_way / target)
    elsewhere = [*BY_HAND, *NOT_RUN, *(" ".join(command) for page in pages.PAGES
                                       if page != pages.README for command in pages.commands(page))]
    left = [command for command in pages.commands(pages.README)
            if " ".join(command) not in elsewhere]
    assert [command[:2] for command in left] == [
        ["ptl-skel", verb] for verb in ("test", "predict", "live", "export")]
    for command in sorted(left, key=lambda command: command[1] == "live"):
        pages.run(command)
    assert read_frames(Path("live.mp4")) == [(540, 960)] * 72
    assert {path.parent.name for path in Path("runs/penn_action").glob("*/predictions.npz")} >= {
        "test", "predict"}


def test_the_error_names_the_layouts_if_a_pose_model_lacks_joints(shared, exported, capsys):
    pytest.importorskip("av")
    said = refusal(capsys, "live", "--model", exported, "--estimator", "dancers.HandsOnly",
                   "--source", shared / "data/video" / VIDEO)
    assert "hand21" in said
    assert "penn13" in said
