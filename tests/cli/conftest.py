"""What all tests of the command line share."""

from __future__ import annotations

import functools
import signal

import pytest

from ptl_skel.cli import outcome
from ptl_skel.cli.verbs import main


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """A folder of its own, no time for latency, and a Ctrl-C that still works after Lightning."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outcome, "measure", functools.partial(outcome.measure, seconds=0))
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def fit(tiny_file, tiny_config):
    """Fits on the tiny file; returns nothing, the run leaves its folder."""
    def fit(*arguments, file=tiny_file):
        main(["fit", "--config", str(tiny_config), "--data.file", str(file), *arguments])
    return fit
