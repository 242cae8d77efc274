"""What tests of exported networks share."""

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
