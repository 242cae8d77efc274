"""A cell of a sweep on two processes."""

from pathlib import Path

import numpy as np
from sweep_files import COMMAND, write_sweep
from tiny import tiny_clips, write_clips

from ptl_skel import __main__ as ptl_skel
from ptl_skel.cli.verbs import main
from ptl_skel.runs.predictions import read_predictions
from ptl_skel.runs.record import read_metrics, read_result


def test_its_test_is_that_of_one_process(tmp_path, tiny_config, monkeypatch):
    """On five clips, so that the processes have unequal shares, one of them padded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    clips = tiny_clips()
    ids = [clip.id for clip in clips]
    file = write_clips(Path("five.h5"), clips, splits={
        "cross": {"train": ids[:14], "val": ids[14:19], "test": ids[19:]}})
    flags = ["--config", str(tiny_config), "--data.file", str(file)]
    path = write_sweep(command=[*COMMAND[:5], *flags, *COMMAND[7:]],
                       parameters={"seed_everything": {"value": 0}})
    main(["sweep", str(path), "--set", "trainer.devices=2", "--set", "trainer.strategy=ddp"])
    run = Path("runs/sweep/sweep-seed0")
    # Of 14 clips each process has 7, which are one batch of 4 an epoch; a single process has 3.
    assert [row["step"] for row in read_metrics(run) if "train/loss" in row] == [0, 1]
    assert sorted(path.name for path in Path("runs/sweep").iterdir() if path.is_dir()) == [run.name]
    ptl_skel.main(["test", "--ckpt_path", str(run / "checkpoints/best.ckpt"),
                   "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"])
    one, two = read_predictions(run / "test"), read_predictions(run)
    assert list(two.clip) == sorted(ids[19:], key=ids.index)
    assert two.clip == one.clip
    np.testing.assert_array_equal(two.label, one.label)
    np.testing.assert_allclose(two.probabilities, one.probabilities, atol=1e-6)
    metrics = read_result(run / "test")["metrics"]
    assert set(metrics) == {"test/loss", "test/top1", "test/top5", "test/mean_class",
                            "test/f1"}
    for name, value in metrics.items():
        np.testing.assert_allclose(read_result(run)["metrics"][name], value, rtol=1e-6)
