"""An exported network where there is no torch: a fresh environment, and the wheel of this checkout.

    python tests/benchmarks/runtime_alone.py MODEL.onnx KEYPOINTS.npz

Installs onnxruntime, numpy and the wheel (without its dependencies) into a new virtual environment,
runs ``examples/edge.py`` there, and prints the size of the environment and the time of the run.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILT = ("ptl_skel", "preprocessing", "sweeps", "pyproject.toml", "README.md", "LICENSE")
"""What a wheel is built from; building in the checkout would change its egg-info."""
ABSENT = ("torch", "lightning", "h5py", "onnx")


def main(model: Path, keypoints: Path) -> None:
    """Builds, installs, runs, and prints what it took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "source").mkdir()
        for part in BUILT:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, folder / "source" / part)
        venv.create(folder / "alone", with_pip=True)
        python = folder / "alone" / ("Scripts" if sys.platform == "win32" else "bin") / "python"

        def pip(*arguments: str) -> None:
            subprocess.run([python, "-m", "pip", "-q", "--disable-pip-version-check", *arguments],
                           check=True)

        empty = _size(folder / "alone")
        pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(folder / "source"))
        wheel, = folder.glob("*.whl")
        pip("install", "onnxruntime", "numpy")
        pip("install", "--no-deps", str(wheel))
        for package in ABSENT:
            found = subprocess.run([python, "-c", f"import {package}"], capture_output=True,
                                   check=False)
            assert found.returncode, f"{package} is installed"
        begin = time.perf_counter()
        done = subprocess.run([python, ROOT / "examples/edge.py", model.absolute(),
                               keypoints.absolute()], capture_output=True, text=True, check=True,
                              cwd=folder)
        seconds = time.perf_counter() - begin
        print(done.stdout, end="")
        print(f"environment {(_size(folder / 'alone') - empty) / 1e6:.0f} MB, wheel "
              f"{wheel.stat().st_size / 1e6:.2f} MB, {seconds:.1f} s with the start of Python")


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
