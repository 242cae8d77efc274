from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


def make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    # Not the variables of a `make test` that runs this test.
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    return subprocess.run(["make", *arguments], cwd=folder, env=environment, capture_output=True,
                          text=True, check=False, timeout=60)


def targets() -> list[str]:
    named = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert named is not None
    return named[1].split()


def test_help_comes_first_and_lists_every_target():
    assert make().stdout == make("help").stdout
    listed = re.findall(r"^make ([\w-]+) +\S", make("help").stdout, re.MULTILINE)
    assert listed == targets()
    assert {"help", "setup", "preprocess", "demo", "test", "lint", "clean"} <= set(listed)


def test_preprocess_alone_says_what_to_give_and_where_data_come_from():
    done = make("preprocess")
    assert done.returncode != 0
    for hint in ("NTU_DIR=", "PENN_DIR=", "PYSKL=", "rose1.ntu.edu.sg", "PennAction",
                 "kennymckormick/pyskl"):
        assert hint in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("variables", "command"), [
    (["NTU_DIR=/some where"], 'ntu "/some where" --out "data/ntu.h5"'),
    (["NTU_DIR=/a", "OUT=x.h5"], 'ntu "/a" --out "x.h5"'),
    (["PENN_DIR=/a"], 'penn_action "/a" --out "data/penn_action.h5"'),
    (["PYSKL=/a/b.pkl", "LAYOUT=sbu15", "ARGS=--overwrite"],
     'pyskl "/a/b.pkl" --layout "sbu15" --out "data/b.h5" --overwrite'),
])
def test_preprocess_runs_the_reader_of_the_source(variables, command):
    printed = make("--dry-run", "preprocess", *variables).stdout.replace("\\\n", "")
    assert f"ptl-skel preprocess {command}" in " ".join(printed.split())


def test_sweep_runs_a_file():
    printed = make("--dry-run", "sweep", "SWEEP=sweeps/a.yaml", "ARGS=--slots 2").stdout
    assert 'ptl-skel sweep "sweeps/a.yaml" --slots 2' in printed
    refused = make("sweep")
    assert refused.returncode != 0
    assert "make sweep SWEEP=sweeps/backbone.yaml" in refused.stderr


def test_clean_keeps_what_took_time(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    kept = ["data/x.h5", "runs/a/result.json", "data/__pycache__/x", ".venv/__pycache__/x"]
    removed = ["demo/synthetic.h5", "build/x", "ptl_skel/__pycache__/x", ".mypy_cache/x"]
    for name in kept + removed:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert make("clean", folder=tmp_path).returncode == 0
    assert [name for name in kept + removed if (tmp_path / name).exists()] == kept


def test_setup_says_that_python_is_too_old(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "python"
    old.write_text(f"#!{sys.executable}\nimport sys\nsys.version_info = (3, 10, 0)\n"
                   "exec(sys.argv[sys.argv.index('-c') + 1])\n")
    old.chmod(0o755)
    done = make("setup", f"PYTHON={old}", folder=tmp_path)
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_every_version_is_pinned():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    assert "torch==2.13.0" in pins
