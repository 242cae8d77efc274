"""Fixtures for tests of live recognition: an exported network, and a video."""

from __future__ import annotations

from pathlib import Path

import pytest
from dancers import write_video

from ptl_skel.cli.verbs import main


@pytest.fixture(scope="session")
def small_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of 20 frames; to be read only."""
    return write_video(tmp_path_factory.mktemp("video") / "small.mp4")


@pytest.fixture(scope="session")
def exported(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of `finished_run` as ONNX file; to be read only."""
    pytest.importorskip("onnxscript")
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    main(["export", "--ckpt_path", str(finished_run / "checkpoints" / "last.ckpt"), "--out",
          str(path)])
    return path
