"""What tests of exported networks share: an export takes seconds, so each is made once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ptl_skel.cli.deployable import predict
from ptl_skel.cli.lightning import load_trained
from ptl_skel.cli.verbs import main
from ptl_skel.data.dataset import ClipDataset
from ptl_skel.runs.checkpoints import read_checkpoint


@pytest.fixture(scope="session")
def penn_file(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keypoint file of some real clips of Penn Action; to be read only."""
    folder = tmp_path_factory.mktemp("penn")
    (folder / "labels").mkdir()
    for label in sorted((shared / "data/penn_action/labels").glob("*.mat"))[::60]:
        (folder / "labels" / label.name).symlink_to(label)
    main(["preprocess", "penn_action", str(folder / "labels"), "--out", str(folder / "penn.h5")])
    return folder / "penn.h5"


def sharpen_head(linear: nn.Linear, logits: Tensor) -> None:
    """Scales a head until its probabilities differ from clip to clip, by its logits ``(N, K)``.

    Those of a hardly trained network are all the same: comparing them would prove nothing.
    """
    with torch.no_grad():
        scale = 2 / logits.std(0).mean()
        linear.bias.sub_(logits.mean(0)).mul_(scale)
        linear.weight.mul_(scale)


@pytest.fixture(scope="session")
def sharpen() -> Callable[[nn.Linear, Tensor], None]:
    """See `sharpen_head`."""
    return sharpen_head


@pytest.fixture(scope="session")
def checkpoint(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a run on the tiny file, with a sharpened head; to be read only."""
    run_dir = tmp_path_factory.mktemp("sharp") / "run"
    shutil.copytree(finished_run, run_dir)
    path = run_dir / "checkpoints/last.ckpt"
    model, data = load_trained(["--ckpt_path", str(path)])
    batch = ClipDataset(data.file, np.arange(len(data.file)), data.clip_len).__getitems__(
        range(len(data.file)))
    with torch.no_grad():
        logits = model(data.maker.evaluate(batch, torch.float32, several=True))
    sharpen_head(model.classifier.head[-1], logits)
    assert np.ptp(predict(model, data, batch).numpy(), 0).min() > 0.2
    torch.save({**read_checkpoint(path), "state_dict": model.state_dict()}, run_dir / "new.ckpt")
    (run_dir / "new.ckpt").replace(path)
    return path


@pytest.fixture(scope="session")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of the tiny run as ONNX file; to be read only."""
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    main(["export", "--ckpt_path", str(checkpoint), "--out", str(path)])
    return path
