"""What the tests of inputs by the command line share."""

import functools
from pathlib import Path

import pytest
from pose_inputs import preprocess


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """``ptl-skel preprocess`` in an empty folder: its exit code, and what it said of the input."""
    monkeypatch.chdir(tmp_path)
    return functools.partial(preprocess, capsys)


@pytest.fixture
def refuse(run):
    """What ``ptl-skel preprocess`` says of an input that it has to reject."""
    def refused(*arguments):
        code, said = run(*arguments)
        assert code == 2, said
        assert not Path("out.h5").exists()
        return said

    return refused
