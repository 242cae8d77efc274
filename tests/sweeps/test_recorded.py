"""The results pages in the docs are what `ptl-skel report` makes of the recorded runs."""

import shlex

import pytest
from pages import ROOT, rows

from ptl_skel.cli.verbs import main
from ptl_skel.runs.predictions import read_predictions

RECORDS = ROOT / "docs/results/records"
INDEX = (ROOT / "docs/results/index.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line) for line in INDEX.splitlines()
            if line.startswith("ptl-skel report docs/results/records/")]


def lines(text):
    """A page without its pictures, which need a browser."""
    return [line for line in text.splitlines() if line and not line.startswith("![")]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[-1].split("/")[-1])
def test_the_pages_are_those_of_the_records(command, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    page = ROOT / command[-1]
    again = tmp_path / page.name
    main([*command[1:-1], str(again)])
    made = again.read_text(encoding="utf-8").replace(str(again), command[-1])
    assert lines(made) == lines(page.read_text(encoding="utf-8"))


def test_all_records_are_reported():
    reported = {command[2].split("/")[3] for command in COMMANDS}
    assert {path.name for path in RECORDS.iterdir()} == {*reported, "fusion"}


def accuracy(data, *names):
    """Top-1, %, of the fused predictions of recorded runs, the mean over the seeds of all."""
    found = []
    for seed in range(3):
        folders = [RECORDS / name.format(data=data, seed=seed) for name in names]
        if all(folder.exists() for folder in folders):
            runs = [read_predictions(folder) for folder in folders]
            assert all(run.clip == runs[0].clip for run in runs)
            fused = sum(run.probabilities for run in runs)
            found.append(100 * (fused.argmax(1) == runs[0].label).mean())
    return sum(found) / len(found) if found else None


def test_the_table_of_ensembles_is_that_of_the_records():
    table = rows((ROOT / "docs/networks.md").read_text("utf-8").split("## Ensembles")[1])
    conv1d, reduced, views, limbs = (f"{name}-seed{{seed}}" for name in (
        "study/{data}/conv1d", "study/{data}/reduced", "fusion/{data}/views",
        "fusion/{data}/limbs"))
    runs = {"`conv1d`": (conv1d,),
            "`conv1d`, two seeds": tuple(conv1d.replace("{seed}", seed) for seed in "01"),
            "`reduced`": (reduced,), "`reduced`, 10 clips and flips": (views,),
            "`reduced` on limbs": (limbs,), "`reduced` on joints, and on limbs": (reduced, limbs)}
    columns = {"Penn Action": "penn_action", "NW-UCLA": "nw_ucla", "MSR Action3D": "msr_action3d",
               "SBU, fold 1": "sbu"}
    assert [row["predictions"] for row in table] == list(runs)
    for row in table:
        for column, data in columns.items():
            expected = accuracy(data, *runs[row["predictions"]])
            assert row[column] == ("" if expected is None else f"{expected:.1f}")


def test_the_table_of_degraded_training_is_that_of_the_report():
    report = (ROOT / "docs/results/degraded.md").read_text("utf-8")
    clean = {row["arm"]: row["top-1 %"] for row in rows(report)}
    degraded = {row["arm"]: row for row in rows(report.split("on corrupted keypoints, %")[1])}
    guide = (ROOT / "docs/train.md").read_text("utf-8").split("## Keypoints worse")[1]
    inputs = {"conv1d": "normalized", "narrow": "joints", "reduced": "joints"}
    arms = {" + ".join(f"`{name}`" for name in names) + words:
            " + ".join(f"{name} {inputs[name]} {numbers}" for name in names)
            for names in (["conv1d"], ["narrow"], ["reduced"], ["conv1d", "narrow"])
            for words, numbers in (("", "drop=0 displace=0 low_scores=0"),
                                   (", trained on degraded keypoints",
                                    "drop=0.2 displace=0.02 low_scores=0.7"))}
    table = {row.pop("network"): row for row in rows(guide)}
    assert table.keys() == arms.keys()
    for name, row in table.items():
        expected = float(clean[arms[name]].split()[0])
        assert float(row.pop("clean")) == pytest.approx(expected, abs=0.06)
        for kind, value in row.items():
            assert float(value) == pytest.approx(float(degraded[arms[name]][kind]), abs=0.06)
