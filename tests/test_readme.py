"""What the README and the pages a newcomer reads first say, done as they say."""

import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pages import README, ROOT, blocks, commands, do, rows, split_commands

from ptl_skel.cli import lightning as cli
from ptl_skel.runs.predictions import read_predictions
from ptl_skel.runs.record import read_result
from ptl_skel.storage import KeypointFile

GET_STARTED = ROOT / "docs/index.md"
SINGLE, FUSED = ("reduced", "narrow"), ("conv1d + narrow", "conv1d + reduced")
"""Arms of the study whose differences are in the text."""


@pytest.fixture(autouse=True)
def surroundings(command_surroundings, monkeypatch):
    """See `command_surroundings`."""
    monkeypatch.setenv("COLUMNS", "100")


def test_it_is_short_and_its_links_lead_somewhere():
    text = README.read_text("utf-8")
    assert len(text.splitlines()) <= 180
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []
    assert all((ROOT / link).stat().st_size <= 2_000_000 for link in links)


def test_its_results_are_those_of_the_report():
    report = {row["arm"]: row for row in rows((ROOT / "docs/results/study.md").read_text("utf-8"))}
    columns = {"Penn Action": "penn_action official", "NW-UCLA, cross-view": "nw_ucla_2d xview",
               "MSR Action3D": "msr_action3d xsub", "SBU": "sbu_interaction fold"}
    text = README.read_text("utf-8").split("## Results")[1]
    table = {row["network"].replace("`", "").split(",")[0]: row for row in rows(text)}
    assert table.keys() == report.keys()
    for name, row in table.items():
        for here, there in columns.items():
            cell = report[name][there]
            assert float(row[here].rstrip("¹")) == pytest.approx(float(cell.split()[0]), abs=0.051)
            assert row[here].endswith("¹") == cell.endswith("†")
    for page in ("study", "factorised"):  # differences to conv1d, and to full3d
        report = {row["arm"]: row
                  for row in rows((ROOT / f"docs/results/{page}.md").read_text("utf-8"))}
        for arm in [*SINGLE, *FUSED * (page == "study")]:
            low, high = map(float, report[arm]["95 % interval"].split(" to "))
            name = " + ".join(f"`{part}`" for part in arm.split(" + "))
            assert (f"{name} {float(report[arm]['Δ top-1']):+.1f} points ({low:+.1f} to "
                    f"{high:+.1f})" in " ".join(text.split()))


def test_get_started(capsys):
    for language, _, text in blocks(GET_STARTED):
        do(language, text)
    file = KeypointFile("mine.h5")
    assert file.header.class_names == ("jump", "walk")
    assert {part: len(clips) for part, clips in file.splits["own"].items()} == {
        "train": 8, "test": 4}
    assert read_result(Path("runs/mine"))["status"] == "finished"
    assert read_predictions(Path("runs/mine/predict")).clip == tuple(KeypointFile("new.h5").ids)
    assert Path("clip.gif").stat().st_size > 10_000
    lines = Path("runs/mine/predict/predictions.csv").read_text("utf-8").splitlines()
    assert lines[0] == "clip,class,probability"
    assert re.fullmatch(r"video11,(?:jump|walk),[01]\.\d{4}", lines[-1])
    assert "video00" in capsys.readouterr().out


def test_the_two_commands_of_the_readme_are_those_of_get_started():
    pages = [[command for command in commands(page) if command[0] == "ptl-skel"
              and command[1] in {"preprocess", "fit"}][:2] for page in (README, GET_STARTED)]
    short = [word for command in pages[0] for word in command]
    full = [word for command in pages[1] for word in command]
    assert [word for word in full if word not in {"--trainer.max_epochs", "1"}] == short


def test_ntu(monkeypatch):
    """With a few files under the names of the page; training is no more than set up."""
    joint = "0.1 0.2 3 0 0 {} 500 0 0 0 0 2\n"
    joints = "".join(joint.format(100 + number) for number in range(25))
    skeleton = "1\n1\n7 0 1 1 0 0 0 0 0 2\n25\n" + joints
    Path("all_skeletons").mkdir()
    for part, name in (("s001_to_s017", "S001C001P001R001A001"),
                       ("s018_to_s032", "S018C001P041R001A061")):
        with zipfile.ZipFile(f"nturgbd_skeletons_{part}.zip", "w") as archive:
            archive.writestr(f"nturgb+d_skeletons/{name}.skeleton", skeleton)
        Path("all_skeletons", f"{name}.skeleton").write_text(skeleton)
    annotations = [{"frame_dir": f"S001C001P00{subject}R001A001", "label": 0, "total_frames": 3,
                    "img_shape": (1080, 1920), "original_shape": (1080, 1920),
                    "keypoint": np.full((1, 3, 17, 2), 9, np.float16),
                    "keypoint_score": np.ones((1, 3, 17), np.float16)} for subject in (1, 3)]
    split = {f"xsub_{part}": [annotations[number]["frame_dir"]]
             for number, part in enumerate(("train", "val"))}
    Path("ntu60_hrnet.pkl").write_bytes(pickle.dumps({"split": split, "annotations": annotations}))
    monkeypatch.setattr(cli.SkeletonCLI, "instantiate_classes", lambda self: None)
    monkeypatch.setattr(cli.SkeletonCLI, "_run_subcommand", lambda self, name: None)
    for language, _, text in blocks(ROOT / "docs/ntu.md"):
        assert {command[0] for command in split_commands(text)} == {"ptl-skel"}
        do(language, text)
    assert KeypointFile("data/ntu60.h5").header.dataset == "NTU RGB+D 60"
    assert len(KeypointFile("data/ntu120.h5")) == 2
    assert KeypointFile("data/ntu60_3d.h5").header.num_coordinates == 3
    assert Path("ntu60.html").stat().st_size > 50_000
