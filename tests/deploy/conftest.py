"""What tests of exported networks share: an export takes seconds, so each is made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptl_skel.cli.verbs import main


@pytest.fixture(scope="session")
def penn_file(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keypoint file of some real clips of Penn Action; to be read only."""
    folder = tmp_path_factory.mktemp("penn")
    (folder / "labels").mkdir()
    for label in sorted((shared / "data/penn_action/labels").glob("*.mat"))[::60]:
        (folder / "labels" / label.name).symlink_to(label)
    main(["preprocess", "penn_action", str(folder / "labels"), "--out", str(folder / "penn.h5")])
    return folder / "penn.h5"


@pytest.fixture(scope="session")
def checkpoint(finished_run: Path) -> Path:
    """Checkpoint of a run on the tiny file."""
    return finished_run / "checkpoints/last.ckpt"


@pytest.fixture(scope="session")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of the tiny run as ONNX file; to be read only."""
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    main(["export", "--ckpt_path", str(checkpoint), "--out", str(path)])
    return path
