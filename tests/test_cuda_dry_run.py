"""The tests of a GPU at least run: without one, some of them on the CPU."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parent / "cuda"


@pytest.mark.skipif(torch.cuda.is_available(), reason="they run on the GPU")
@pytest.mark.parametrize(("variable", "passed"), [("cpu", True), ("", False)])
def test_they_run_on_the_cpu_only_when_asked_to(variable, passed):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "cuda", str(FOLDER / "test_input.py"),
         str(FOLDER / "test_heatmaps.py"), "-k", "not kernel", "-p", "no:cacheprovider", "-rs"],
        env={**os.environ, "PTL_SKEL_CUDA_DRY_RUN": variable}, capture_output=True, text=True,
        cwd=FOLDER.parents[1], timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    assert (re.search(r"^\.+", done.stdout, re.MULTILINE) is not None) == passed
    assert ("there is no GPU" in done.stdout) == (not passed)
