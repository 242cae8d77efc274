"""The short form of the benchmark `fuzz`: mutated inputs are read or refused."""

import warnings

import pytest
from benchmarks.fuzz import formats, fuzz

FORMATS = formats()


@pytest.mark.parametrize("name", FORMATS)
def test_mutated_inputs_are_read_or_refused(name, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        good, bad = fuzz(name, FORMATS[name], 60, 0, tmp_path / "failures")
    assert bad == 0
    assert 0 < good < 60
