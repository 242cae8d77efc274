"""The whole way of docs/live.md: videos, keypoints, a network, its export, live, segments."""

import json

import pytest
from commandline import QUIET, refusal
from dancers import read_events, read_frames

from ptl_skel.cli.verbs import main
from ptl_skel.storage import KeypointFile

VIDEO = "demo_skeleton.mp4"


@pytest.fixture(scope="module")
def whole_way(shared, tmp_path_factory):
    """A folder with keypoints of a video, and a network exported after a tiny training."""
    pytest.importorskip("av")
    pytest.importorskip("onnxscript")
    model = shared / "models" / "movenet_multipose_f16.onnx"
    if not model.is_file():
        pytest.skip(f"no pose model {model}")
    folder = tmp_path_factory.mktemp("whole_way")
    labels = folder / "labels"
    labels.mkdir()
    for label in sorted((shared / "data/penn_action/labels").glob("*.mat"))[::60]:
        (labels / label.name).symlink_to(label)

    def run(*args):
        main([str(arg) for arg in args])

    run("preprocess", "video", shared / "data" / "video" / VIDEO, "--pose_model", model,
        "--layout", "penn13", "--out", folder / "video.h5")
    run("preprocess", "penn_action", labels, "--out", folder / "penn.h5")
    run("fit", "--config", "experiment/penn_action.yaml", "--model.backbone",
        "backbone/narrow.yaml", "--data.file", folder / "penn.h5", "--data.size", 16,
        "--data.eval_size", 16, "--data.clip_len", 8, "--trainer.max_epochs", 1,
        "--trainer.accelerator", "cpu", "--trainer.callbacks", "[]", "--wandb", "off",
        "--run_dir", folder / "run", *QUIET)
    run("export", "--ckpt_path", folder / "run/checkpoints/last.ckpt", "--out",
        folder / "model.onnx")
    return folder, ("--model", folder / "model.onnx", "--pose_model", model,
                    "--min_probability", "0")


def test_the_persons_of_the_video_are_in_the_keypoint_file(whole_way):
    file = KeypointFile(whole_way[0] / "video.h5")
    assert file.header.layout.name == "penn13"
    assert file.num_persons.tolist() == [2]
    assert file.num_frames.tolist() == [72]


def test_the_trained_network_predicts_the_keypoint_file(whole_way, tmp_path):
    folder, _ = whole_way
    main(["predict", "--ckpt_path", str(folder / "run/checkpoints/last.ckpt"), "--data.file",
          str(folder / "video.h5"), "--run_dir", str(tmp_path / "predicted"), *QUIET])
    assert (tmp_path / "predicted" / "predictions.npz").is_file()


def test_live_writes_an_annotated_video_and_events(whole_way, shared, capsys):
    folder, network = whole_way
    main(["live", "--source", str(shared / "data/video" / VIDEO), *map(str, network),
          "--out", str(folder / "out.mp4"), "--json", str(folder / "events.jsonl"), "--heatmaps"])
    assert read_frames(folder / "out.mp4") == [(540, 960)] * 72
    events = read_events(folder / "events.jsonl")
    assert {event["person"] for event in events} == {0, 1}
    assert {event["event"] for event in events} == {"label"}  # nobody leaves
    assert "72 in" in capsys.readouterr().out


def test_segments_and_their_timeline(whole_way, shared):
    folder, network = whole_way
    main(["segment", str(shared / "data/video" / VIDEO), *map(str, network),
          "--out", str(folder / "segments")])
    held = json.loads((folder / "segments" / "segments.json").read_text())
    assert held["seconds"] == pytest.approx(2.53, abs=0.05)
    assert {each["person"] for each in held["segments"]} == {0, 1}
    assert (folder / "segments" / "timeline.png").is_file()


def test_joints_that_a_pose_model_lacks_are_named(shared, exported, capsys):
    pytest.importorskip("av")
    said = refusal(capsys, "live", "--model", exported, "--estimator", "dancers.HandsOnly",
                   "--source", shared / "data/video" / VIDEO)
    assert "hand21" in said
    assert "penn13" in said
