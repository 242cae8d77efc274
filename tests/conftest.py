"""What tests in several folders share."""

from __future__ import annotations

import functools
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from tiny import CONFIG, spatial_clips, tiny_clips, write_clips

# What tests start in other folders imports the packages of this checkout, as the tests do.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
torch.set_num_threads(1)  # the tensors of tests are too small to share
# A shell makes what it starts in the background deaf to Ctrl-C, and that is passed on to commands.
signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("untimed", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data sets and golden cases, where a machine has it."""
    named = os.environ.get("PTL_SKEL_SHARED")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} with real data; PTL_SKEL_SHARED can name another")
    return folder


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keypoint file of `tiny.tiny_clips`; to be read only."""
    return write_clips(tmp_path_factory.mktemp("tiny") / "tiny.h5", tiny_clips())


@pytest.fixture(scope="session")
def spatial_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keypoint file of `tiny.spatial_clips`; to be read only."""
    return write_clips(tmp_path_factory.mktemp("spatial") / "spatial.h5", spatial_clips())


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny.CONFIG` as a config file."""
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(json.dumps(CONFIG))
    return path


@pytest.fixture(scope="session")
def finished_run(tiny_file: Path, tiny_config: Path,
                 tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run of two epochs on the tiny file; to be read only."""
    from ptl_skel.cli import lightning as cli
    from ptl_skel.cli import outcome

    run_dir = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcome, "measure", functools.partial(outcome.measure, seconds=0))
        cli.run("fit", ["--config", str(tiny_config), "--data.file", str(tiny_file),
                        "--run_dir", str(run_dir)])
    return run_dir


@pytest.fixture
def command_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of its own, no time for latency, and a Ctrl-C that still works after Lightning."""
    from ptl_skel.cli import outcome

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outcome, "measure", functools.partial(outcome.measure, seconds=0))
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)
