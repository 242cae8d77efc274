"""Fixtures for all tests of the command line."""

from __future__ import annotations

import pytest

from ptl_skel.cli.verbs import main


@pytest.fixture(autouse=True)
def surroundings(command_surroundings):
    """See `command_surroundings`."""


@pytest.fixture
def fit(tiny_file, tiny_config):
    """Fits on the tiny file; returns nothing, the run leaves its folder."""
    def fit(*arguments, file=tiny_file):
        main(["fit", "--config", str(tiny_config), "--data.file", str(file), *arguments])
    return fit
