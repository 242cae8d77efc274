"""What docs/export.md says, done as it says."""

import re
import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from ptl_skel.cli import export as command
from ptl_skel.cli.verbs import main
from ptl_skel.deploy.export import OPSET, list_operators
from ptl_skel.storage import KeypointFile

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/export.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path, monkeypatch, checkpoint, exported, tiny_file):
    """A run, a clip and the examples, as the guide expects them; an export is copied."""
    monkeypatch.chdir(tmp_path)
    for name in ("penn", "conv1d", "narrow"):
        shutil.copytree(checkpoint.parent.parent, f"runs/{name}")
    shutil.copytree(ROOT / "examples", "examples")
    keypoints, scores = KeypointFile(tiny_file).frames(21)
    np.savez("clip.npz", keypoints=keypoints, scores=scores, frame_size=(240, 320))
    monkeypatch.setattr(command, "write_onnx", lambda *args: shutil.copy(exported, args[-1]))
    return tmp_path


def test_commands_and_programs(folder, monkeypatch, capsys):
    ran = []
    for line in re.findall(r"^ {4}(\S.*)$", re.sub(r"```.*?```", "", GUIDE, flags=re.DOTALL),
                           re.MULTILINE):
        match shlex.split(line):
            case ["ptl-skel", *arguments]:
                quick = {"--int8": ["--max_loss", "100"], "profile": ["--seconds", "0"]}
                main([*arguments, *(word for name, words in quick.items() if name in arguments
                                    for word in words)])
            case ["python", program, *arguments]:
                monkeypatch.setattr("sys.argv", [program, *arguments])
                exec(compile(Path(program).read_text(), program, "exec"), {})
            case other:
                assert other[:2] == ["pip", "install"]
        ran.append(line.split()[1])
    assert ran == ["install", "export", "export", "export", "examples/edge.py", "profile"]
    assert Path("cost.md").read_text().count("\n") == 2 + 2 + 4
    programs = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    assert len(programs) == 3
    for program in programs:
        if "import openvino" in program and find_spec("openvino") is None:
            continue
        exec(compile(program, "export.md", "exec"), {})
    assert "sideways" in capsys.readouterr().out


def test_opset_and_operators(exported):
    listed = set(re.search(r"operators:\n(`.*?`), and", GUIDE, re.DOTALL)[1].strip("`").split())
    assert set(list_operators(exported)) <= listed
    version, = (each.version for each in onnx.load(exported).opset_import if each.domain == "")
    assert version == OPSET
    assert f"opset {OPSET} " in GUIDE
