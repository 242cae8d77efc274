import re
from pathlib import Path

import pytest

from ptl_skel.__main__ import main
from ptl_skel.cli.profile import load_backbone
from ptl_skel.configs import CONFIGS, shipped
from ptl_skel.cost.complexity import measure
from ptl_skel.errors import UserError
from ptl_skel.training.module import classifier

NOT_ONE = "own.yaml does not describe a backbone"
SMALL = ("--input", "13", "4", "16", "16", "--seconds", "0")


def test_a_table_with_a_row_for_each(capsys):
    main(["profile", "backbone/reduced.yaml", "backbone/full3d.yaml", *SMALL, "--classes", "7"])
    said = capsys.readouterr().out
    assert "13x4x16x16, 7 classes, cpu" in said
    for name in ("reduced", "full3d"):
        network = classifier(load_backbone(f"backbone/{name}.yaml", 13), 7)
        cost = measure(network, (13, 4, 16, 16), seconds=0)
        row = next(line for line in said.splitlines() if name in line)
        params, gmacs = re.findall(r"\d+\.\d+", row)[:2]
        assert (params, gmacs) == (f"{cost.params / 1e6:.3f}", f"{cost.gmacs:.3f}")


def test_a_custom_backbone(capsys):
    Path("mine.yaml").write_text((CONFIGS / "backbone/reduced.yaml").read_text().replace(
        "depths: [1, 1, 1, 1]", "depths: [2, 1, 1, 1]"))
    main(["profile", "mine.yaml", *SMALL])
    assert "mine" in capsys.readouterr().out
    more, fewer = (sum(p.numel() for p in load_backbone(name, 13).parameters())
                   for name in ("mine.yaml", "backbone/reduced.yaml"))
    assert more > fewer


def test_a_backbone_without_own_arguments(monkeypatch):
    Path("own_net.py").write_text(
        "from ptl_skel.backbones import Backbone\n\n\nclass Own(Backbone):\n"
        "    def __init__(self, in_channels: int) -> None:\n"
        "        super().__init__()\n        self.in_channels = in_channels\n")
    Path("own.yaml").write_text("class_path: own_net.Own\n")
    monkeypatch.syspath_prepend(Path.cwd())
    assert load_backbone("own.yaml", 5).in_channels == 5


@pytest.mark.parametrize(("text", "said"), [
    (None, "backbone file own.yaml does not exist; check the path"),
    ("", NOT_ONE), ("[1, 2]", NOT_ONE),
    ("class_path: torch.nn.Linear\ninit_args: {out_features: 2}", NOT_ONE),
    ("class_path: ptl_skel.backbones.Absent\ninit_args: {}", NOT_ONE),
    ("class_path: ptl_skel.backbones.VideoResNet\ninit_args: {depth: 3}", NOT_ONE),
    ("a: [", NOT_ONE)])
def test_a_file_that_does_not_describe_a_backbone(capsys, text, said):
    if text is not None:
        Path("own.yaml").write_text(text)
    with pytest.raises(SystemExit) as stopped:
        main(["profile", "own.yaml", *SMALL])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_bug_in_a_backbone_keeps_its_traceback(monkeypatch):
    from ptl_skel.backbones import VideoResNet

    def forward(self, inputs):
        raise RuntimeError("a bug in forward")

    monkeypatch.setattr(VideoResNet, "forward", forward)
    with pytest.raises(RuntimeError, match="a bug in forward") as raised:
        main(["profile", "backbone/reduced.yaml", *SMALL])
    assert raised.value.__notes__ == ["The network was given inputs of (13, 4, 16, 16)."]


@pytest.mark.parametrize("options", [("--input", "0", "4", "16", "16"), ("--classes", "0")])
def test_numbers_must_be_positive(options):
    from ptl_skel.cli.profile import main as profile

    with pytest.raises(UserError, match="must be >= 1"):
        profile(["backbone/reduced.yaml", *options])


def test_shipped_files_have_short_names_but_local_files_have_priority():
    assert shipped("backbone/reduced.yaml") == str(CONFIGS / "backbone/reduced.yaml")
    assert shipped("backbone/absent.yaml") == "backbone/absent.yaml"
    assert shipped("reduced") == "reduced"
    Path("backbone").mkdir()
    Path("backbone/reduced.yaml").touch()
    assert shipped("backbone/reduced.yaml") == "backbone/reduced.yaml"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
