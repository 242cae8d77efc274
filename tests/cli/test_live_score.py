"""The score of live recognition: when networks predict, and which frames they may use."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from commandline import refusal
from tiny import tiny_clips, write_clips

from ptl_skel.cli.lightning import load_trained
from ptl_skel.cli.live_score import WHOLE, make_predictor, read_track, score_live
from ptl_skel.cli.verbs import main
from ptl_skel.data.live import (
    Track,
    choose_streams,
    join_tracks,
    moments,
    score_moments,
    score_stream,
)
from ptl_skel.metrics import LIVE
from ptl_skel.runs.record import read_result

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["window", "stream"])
def run(request, tiny_file, tiny_config, tmp_path_factory):
    """Folder of a run that computes the score, in both ways of live recognition."""
    folder = tmp_path_factory.mktemp("live") / request.param
    causal = ["--model.backbone.init_args.conv.init_args.causal", "true", "--data.box", "follow",
              "--model.loss_at", "every_output", "--data.sampling", "camera_rate"]
    main(["fit", "--config", str(tiny_config), "--data.file", str(tiny_file), "--run_dir",
          str(folder), "--data.live_score", "{frame_rate: 10}",
          *(causal if request.param == "stream" else ["--data.sampling", "first_part"])])
    return folder


class TestRuns:
    def test_the_scores_are_in_the_record(self, run):
        metrics = read_result(run)["metrics"]
        assert set(LIVE) <= {name.removeprefix("test/") for name in metrics}
        scores = {name: metrics[f"test/{name}"] for name in LIVE}
        assert all(0 <= value <= 1 for name, value in scores.items() if name != "stream_delay")
        assert scores["stream_delay"] > 0
        shares = [value for name, value in scores.items() if name.endswith("percent")]
        assert scores["live_top1"] == pytest.approx(np.mean(shares))

    def test_a_test_gives_the_same_scores_and_can_omit_them(self, run, tmp_path, capsys):
        checkpoint = run / "checkpoints/last.ckpt"
        main(["test", "--ckpt_path", str(checkpoint), "--run_dir", str(tmp_path / "again"),
              "--data.live_score", "{frame_rate: null}", "--trainer.accelerator", "cpu"])
        assert "frame_rate is not set" in capsys.readouterr().out
        main(["test", "--ckpt_path", str(checkpoint), "--run_dir", str(tmp_path / "without"),
              "--data.live_score", "null", "--trainer.accelerator", "cpu"])
        again, without = (read_result(tmp_path / name)["metrics"] for name in ("again", "without"))
        assert "test/top1_after_1_s" not in again
        if "best.ckpt" not in {path.name for path in checkpoint.parent.iterdir()}:
            assert again["test/live_top1"] == read_result(run)["metrics"]["test/live_top1"]
        assert not any(f"test/{name}" in without for name in LIVE)

    def test_there_are_no_scores_on_corrupted_keypoints(self, run, tmp_path, capsys):
        """They would be those of the keypoints in the file."""
        main(["test", "--ckpt_path", str(run / "checkpoints/last.ckpt"),
              "--run_dir", str(tmp_path / "worse"), "--data.corrupt", "{kind: drop, level: 0.5}"])
        assert not LIVE.keys() & {name.partition("/")[2]
                                  for name in read_result(tmp_path / "worse")["metrics"]}
        assert "no such scores with data.corrupt" in " ".join(capsys.readouterr().out.split())

    def test_predictions_do_not_depend_on_later_frames(self, run):
        model, data = load_trained(["--ckpt_path", str(run / "checkpoints/last.ckpt")])
        predictor = make_predictor(model, data, 1, WHOLE, CPU)
        track = read_track(data, 20)
        frames = track.scores.shape[1]
        later = track.keypoints.clone()
        later[:, frames // 2 :] = later[:, frames // 2 :] * 2 + 50
        times = np.arange(1, frames // 2 + 1)
        with torch.inference_mode():
            whole, other, short = (predictor([each], [times])[0] for each in (
                track, Track(later, track.scores, track.frame_size),
                Track(track.keypoints[:, : frames // 2], track.scores[:, : frames // 2],
                      track.frame_size)))
        assert whole.tolist() == other.tolist() == short.tolist()


    def test_a_stream_shorter_than_the_time_between_predictions(self, run, tmp_path):
        clip = tiny_clips()[0]
        short = replace(clip, keypoints=clip.keypoints[:, :5], scores=clip.scores[:, :5])
        file = write_clips(tmp_path / "short.h5", [short], splits={"cross": {"test": [clip.id]}})
        model, data = load_trained(["--ckpt_path", str(run / "checkpoints/last.ckpt"),
                                    "--data.file", str(file)])
        scores = score_live(model, data, CPU)
        assert scores["stream_top1"] == scores["top1_after_100_percent"]


def test_moments_by_hand():
    seen = moments(np.array([10, 3, 100]), 30)
    assert seen["top1_after_20_percent"].tolist() == [2, 1, 20]
    assert seen["top1_after_100_percent"].tolist() == [10, 3, 100]
    assert seen["top1_after_0.5_s"].tolist() == [10, 3, 15]
    assert seen["top1_after_2_s"].tolist() == [10, 3, 60]
    assert not any(name.endswith("_s") for name in moments(np.array([10]), None))


def test_scores_of_moments_by_hand():
    seen = moments(np.array([10, 20]), None)
    predicted = np.array([[0, 0, 1, 1, 1], [2, 2, 2, 2, 0]])
    scores = score_moments(predicted, np.array([1, 2]), seen)
    assert [scores[name] for name in seen] == [0.5, 0.5, 1, 1, 0.5]
    assert scores["live_top1"] == 0.7


def test_scores_of_streams_by_hand():
    # A clip of 16 frames of class 1, then one of 24 frames of class 0; a prediction every 8 frames.
    times = [np.array([8, 16, 24, 32, 40])]
    scores = score_stream([np.array([0, 1, 1, 1, 0])], times, [np.array([16, 24])],
                          [np.array([1, 0])])
    assert scores == {"stream_top1": 0.4, "stream_reached": 1.0, "stream_delay": 20.0}
    scores = score_stream([np.array([0, 0, 1, 1, 1])], times, [np.array([16, 24])],
                          [np.array([1, 0])])
    assert scores == {"stream_top1": 0, "stream_reached": 0, "stream_delay": 20.0}


def test_every_clip_is_in_one_stream():
    for clips in (1, 9, 10, 57):
        streams = choose_streams(clips)
        assert sorted(np.concatenate(streams)) == list(range(clips))
        assert len(streams) == max(1, clips // 10)


def test_persons_of_joined_clips_start_where_the_earlier_ones_ended():
    random = np.random.default_rng(0)
    size = torch.tensor([100.0, 200])
    tracks = [Track(torch.from_numpy(random.uniform(0, 99, (persons, frames, 5, 2))).float(),
                    torch.ones(persons, frames, 5), size)
              for persons, frames in ((1, 4), (2, 3), (1, 5))]
    tracks[1].scores[:, 0] = 0  # nobody in its first frame
    joined = join_tracks(tracks)
    assert joined.keypoints.shape == (2, 12, 5, 2)
    assert joined.scores.sum((0, 2)).tolist() == [5] * 4 + [0] + [10] * 2 + [5] * 5

    def place(frame):
        joints = joined.keypoints[:, frame][joined.scores[:, frame] > 0]
        low, high = joints.amin(0), joints.amax(0)
        return torch.cat([(low + high) / 2, (high - low).amax()[None]])

    torch.testing.assert_close(place(5), place(3))
    torch.testing.assert_close(place(7), place(6))
    torch.testing.assert_close(joined.keypoints[:1, :4], tracks[0].keypoints)


@pytest.mark.parametrize(("value", "message"), [
    ("{frame_rate: 0}", "frame_rate` must be positive"), ("{stride: 0}", "1 <= stride <= memory"),
    ("{memory: 1}", "1 <= stride <= memory")])
def test_numbers_out_of_range_are_rejected(finished_run, capsys, value, message):
    said = refusal(capsys, "test", "--ckpt_path", finished_run / "checkpoints/last.ckpt",
                   "--data.live_score", value)
    assert message in said
