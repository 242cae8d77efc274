"""``ptl-skel show --ckpt_path``: the evidence for a prediction, and predictions over time."""

import numpy as np
import pytest
import torch
from commandline import refusal
from matplotlib.image import imread
from PIL import Image
from tiny import tiny_clips, write_clips

from ptl_skel.cli.evidence import find_evidence, predict_over_time
from ptl_skel.cli.lightning import load_trained
from ptl_skel.cli.live_score import WHOLE, make_predictor, read_track
from ptl_skel.cli.verbs import main
from ptl_skel.data.dataset import ClipDataset
from ptl_skel.data.live import Track
from ptl_skel.skeletons import LAYOUTS

JOINT, SPAN = 4, 2


class SeesOneJoint(torch.nn.Module):
    """The logit of its first class is the sum of the heatmap of one joint in one time span."""

    def forward(self, inputs):
        seen = inputs[:, JOINT, SPAN].sum((1, 2))  # clips of 8 frames: spans of one
        return torch.stack([seen, *[torch.zeros_like(seen)] * 2], 1)


@pytest.fixture(scope="module")
def trained(finished_run):
    return load_trained(["--ckpt_path", str(finished_run / "checkpoints" / "last.ckpt")])


def test_the_evidence_is_where_the_network_looks(trained):
    _, data = trained
    evidence = find_evidence(SeesOneJoint(), data, 5)
    expected = np.zeros_like(evidence.cells)
    keypoints, scores = data.maker.place(
        ClipDataset(data.file, np.array([5]), data.clip_len).__getitems__([0]), several=False)
    inputs = data.maker.representation(keypoints, scores, (16, 16), torch.float32)
    # The log-odds are those of `seen` against two zeros, so they fall by `seen`.
    expected[JOINT, SPAN] = inputs[0, JOINT, SPAN].sum()
    assert expected[JOINT, SPAN] > 0.1
    assert evidence.cells == pytest.approx(expected, abs=1e-5)
    assert evidence.joints == pytest.approx(expected.sum(1), abs=1e-5)
    assert evidence.times == pytest.approx(expected.sum(0), abs=1e-5)
    assert evidence.predicted == "sideways"
    assert evidence.spans[SPAN] == (SPAN, SPAN + 1)


def test_evidence_of_a_trained_network_is_finite(trained):
    model, data = trained
    evidence = find_evidence(model, data, 3)
    assert np.abs(evidence.cells).max() > 0
    assert evidence.cells.shape == (13, 8)
    assert np.isfinite(evidence.cells).all()


def test_the_picture_names_predicted_and_true_class(finished_run, tiny_file, tmp_path, capsys):
    out = tmp_path / "picture.png"
    main(["show", str(tiny_file), "--ckpt_path", str(finished_run / "checkpoints" / "last.ckpt"),
          "--clip", "around 13 1", "--out", str(out)])
    said = capsys.readouterr().out
    assert said.startswith("around 13 1 · predicted ")
    assert "correct" in said or "true class around" in said
    height, width, _ = imread(out).shape
    assert height > 500
    assert width > 1000


def test_predictions_depend_only_on_the_frames_so_far(trained):
    model, data = trained
    whole = predict_over_time(model, data, 5)
    assert whole.probabilities.shape == (len(whole.view.frames), 3)
    assert whole.probabilities.sum(1) == pytest.approx(1)
    batch = ClipDataset(data.file, np.array([5]), data.clip_len).__getitems__([0])
    with torch.no_grad():
        expected = model(data.maker.evaluate(batch, torch.float32, several=False)).softmax(1)[0]
    assert whole.probabilities[-1] == pytest.approx(expected.numpy(), abs=1e-5)
    seen = int(whole.view.frames[3])
    track = read_track(data, 5)
    changed = Track(track.keypoints.clone(), track.scores, track.frame_size)
    changed.keypoints[:, seen:] += 50
    predictor = make_predictor(model, data, 1, WHOLE, torch.device("cpu"))
    with torch.no_grad():
        before, after = (predictor([each], [whole.view.frames])[0] for each in (track, changed))
    assert after[:4] == pytest.approx(before[:4])
    assert np.abs(after[4:] - before[4:]).max() > 1e-4


def test_predictions_stay_the_same_while_a_short_clip_repeats(finished_run, tiny_file):
    model, data = load_trained(["--ckpt_path", str(finished_run / "checkpoints" / "last.ckpt"),
                                "--data.file", str(tiny_file), "--data.clip_len", "1000"])
    predictions = predict_over_time(model, data, 5)
    frames = int(data.file.num_frames[5])
    assert predictions.view.frames[frames] == 1
    whole = predictions.probabilities[-1]
    assert predictions.probabilities[frames - 1 :] == pytest.approx(whole[None].repeat(
        len(predictions.view.frames) - frames + 1, 0), abs=1e-6)


def test_a_gif_shows_the_predictions_over_time(finished_run, tiny_file, tmp_path, capsys):
    out = tmp_path / "new folder" / "predictions.gif"
    main(["show", str(tiny_file), "--ckpt_path", str(finished_run / "checkpoints" / "last.ckpt"),
          "--clip", "around 13 1", "--out", str(out)])
    assert capsys.readouterr().out.startswith("around 13 1 · true class around · predicted ")
    with Image.open(out) as picture:
        assert picture.n_frames == 8


@pytest.mark.parametrize(("args", "named"), [
    (["--clip", "nobody"], "nobody"),
    (["--clip", "1", "--clip_len", "48"], "--clip_len"),
    (["--clip", "1", "--out", "picture.jpg"], ".png"),
    (["--clip", "1", "--wat"], "--wat"),
])
def test_mistakes_are_reported_in_a_sentence(finished_run, tiny_file, capsys, args, named):
    assert named in refusal(capsys, "show", tiny_file, "--ckpt_path",
                            finished_run / "checkpoints" / "last.ckpt", *args)


def test_a_file_needs_the_joints_of_the_network_but_no_split(finished_run, tmp_path, capsys):
    last = finished_run / "checkpoints" / "last.ckpt"
    write_clips(tmp_path / "unsplit.h5", tiny_clips(), splits={})
    main(["show", str(tmp_path / "unsplit.h5"), "--ckpt_path", str(last), "--clip", "1", "--out",
          str(tmp_path / "evidence.png")])
    assert (tmp_path / "evidence.png").stat().st_size > 0
    coco = LAYOUTS["coco17"]
    other = write_clips(tmp_path / "other.h5", tiny_clips(coco), layout=coco)
    assert "trained on the skeleton layout penn13" in refusal(
        capsys, "show", other, "--ckpt_path", last, "--clip", "1")


def test_data_options_need_a_checkpoint(finished_run, tiny_file, tmp_path, capsys):
    out = tmp_path / "seen.png"
    main(["show", str(tiny_file), "--clip", "1", "--out", str(out), "--ckpt_path",
          str(finished_run / "checkpoints/last.ckpt"), "--data.batch_size", "4"])
    assert out.is_file()
    assert "--data.batch_size needs --ckpt_path" in refusal(
        capsys, "show", tiny_file, "--clip", "1", "--data.batch_size", "4")
