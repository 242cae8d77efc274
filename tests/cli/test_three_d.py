"""From 3D skeletons of every source to a trained network, by the command line."""

import functools
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from commandline import preprocess_or_check as preprocess
from tiny import CLASSES, spatial_clips

from ptl_skel.__main__ import main
from ptl_skel.cli import outcome
from ptl_skel.runs.predictions import read_predictions
from ptl_skel.runs.record import read_result
from ptl_skel.storage import KeypointFile

SHORT = ("--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false")
GRAPH = ("--model.backbone", "ptl_skel.backbones.STGCNpp", "--model.backbone.init_args.widths",
         "[12]", "--model.backbone.init_args.strides", "[1]", "--data.representation",
         "representation/coordinates.yaml")


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outcome, "measure", functools.partial(outcome.measure, seconds=0))


@pytest.fixture
def fit(tiny_config):
    def fit(file, *arguments):
        main(["fit", "--config", str(tiny_config), "--data.file", str(file), "--run_dir", "run",
              *SHORT, *arguments])
        result = read_result(Path("run"))
        assert result["status"] == "finished"
        assert np.isfinite(list(result["metrics"].values())).all()
        return result
    return fit


def refused(capsys, arguments):
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("camera", ["front", "side", "moving", "around", "sensor"])
def test_heatmaps_through_every_shipped_camera(spatial_file, fit, camera):
    fit(spatial_file, "--data.camera", f"camera/{camera}.yaml")


def test_cameras_around_are_averaged_by_the_checkpoint_only(spatial_file, fit):
    fit(spatial_file, "--data.camera", "camera/around.yaml")
    yaws = (-40.0, 0.0, 40.0)
    test = ["test", "--ckpt_path", "run/checkpoints/best.ckpt", *SHORT[2:]]
    main([*test, "--run_dir", "all"])
    for yaw in yaws:
        main([*test, "--run_dir", f"yaw{yaw:.0f}", "--data.camera.test_yaws", f"[{yaw}]"])
    together, *alone = (read_predictions(Path(run)).probabilities
                        for run in ("all", "yaw-40", "yaw0", "yaw40"))
    np.testing.assert_allclose(together, np.mean(alone, 0), atol=1e-6)
    assert not np.allclose(alone[0], alone[2], atol=1e-6)


@pytest.mark.parametrize("camera", [(), ("--data.camera", "camera/rotate.yaml")])
def test_a_graph_network_takes_3d(spatial_file, fit, camera):
    fit(spatial_file, *GRAPH, *camera)
    assert torch.load("run/checkpoints/last.ckpt")["state_dict"][
        "classifier.backbone.data_bn.weight"].shape == (3 * 13,)


def test_the_error_names_the_solution(spatial_file, tiny_config, capsys):
    fit = ["fit", "--config", str(tiny_config), "--data.file", str(spatial_file)]
    assert "--data.camera camera/moving.yaml" in refused(capsys, fit)
    assert "`pitch` must lie in -90..90, got 91" in refused(
        capsys, [*fit, "--data.camera.pitch", "91"])
    for arguments, message in [
            (["--data.camera.yaw", "east"], "`data.camera`: Parser key \"yaw\": Expected a"),
            (["--data.camera.roll", "3"], "`data.camera`: Option 'roll' is not accepted"),
            (["--data.camera", "nowhere.yaml"], "--data.camera nowhere.yaml does not exist")]:
        assert message in refused(capsys, [*fit, *arguments])
    assert not Path("runs").exists()


def test_a_pickle_of_pyskl(fit):
    clips = spatial_clips()
    annotations = [
        {"frame_dir": clip.id, "label": clip.label, "total_frames": clip.keypoints.shape[1],
         "keypoint": clip.keypoints.astype(np.float16)} for clip in clips]
    split = {"cross_train": [clip.id for clip in clips[8:]],
             "cross_val": [clip.id for clip in clips[:8]]}
    Path("3danno.pkl").write_bytes(pickle.dumps({"split": split, "annotations": annotations}))
    Path("classes.txt").write_text("\n".join(CLASSES))
    preprocess(["pyskl", "3danno.pkl", "--layout", "penn13", "--classes", "classes.txt", "--out",
                "a.h5"])
    fit("a.h5", "--data.camera", "camera/moving.yaml")


def test_skeletons_of_ntu(fit):
    preprocess(["synthetic", "raw", "--subjects", "3", "--replications", "1"])
    preprocess(["ntu", "raw", "--dimensions", "3", "--out", "ntu.h5"])
    assert KeypointFile("ntu.h5").header.num_coordinates == 3
    fit("ntu.h5", "--data.protocol", "xsub", "--data.camera", "camera/moving.yaml")


def test_arrays_in_metres(fit):
    Path("arrays").mkdir()
    lines = ["clip,label,split"]
    for number, clip in enumerate(spatial_clips()):
        np.savez(f"arrays/c{number}.npz", keypoints=clip.keypoints, scores=clip.scores)
        lines.append(f"c{number},{CLASSES[clip.label]},{'test' if number % 4 else 'train'}")
    Path("labels.csv").write_text("\n".join(lines))
    preprocess(["arrays", "arrays", "--layout", "penn13", "--labels",
                "labels.csv", "--out", "arrays.h5"])
    protocol, = KeypointFile("arrays.h5").splits
    fit("arrays.h5", "--data.protocol", protocol, "--data.camera", "camera/front.yaml",
        "--data.val_fraction", "0.5")


def test_the_experiment_of_nw_ucla(shared):
    joints = ", ".join(f"j{number}" for number in range(20))
    Path("kinect20.yaml").write_text(
        f"{{name: kinect20, joints: [{joints}], limbs: [], pairs: []}}")
    preprocess(["pyskl", str(shared / "data/nw_ucla/nw_ucla_3d.pkl"), "--layout", "kinect20.yaml",
                "--out", "nw_ucla.h5"])
    limited = ("--trainer.limit_train_batches", "4", "--trainer.limit_test_batches", "4")
    rotated = ("--data.camera", "camera/rotate.yaml")
    for arguments in ((), (*GRAPH, *rotated)):
        shutil.rmtree("run", ignore_errors=True)
        main(["fit", "--config", "experiment/nw_ucla_3d.yaml", "--data.file", "nw_ucla.h5",
              "--model.backbone", "backbone/narrow.yaml", "--run_dir", "run", "--wandb", "off",
              "--trainer.accelerator", "cpu", *SHORT, *limited, "--trainer.callbacks", "[]",
              *arguments])
        result = read_result(Path("run"))
        assert result["status"] == "finished"
        assert result["data"]["clips"] == {"train": 1020, "val": 0, "test": 464}
        assert np.isfinite(list(result["metrics"].values())).all()
