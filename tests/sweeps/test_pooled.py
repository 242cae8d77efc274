"""Several data sets in one report, and pages for the docs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from records import config_of, write_run

from ptl_skel.cli.verbs import main
from sweeps.report.statistics import compare, noninferiority, pool

ARMS = ("full3d", "reduced", "narrow")
CLIPS = 120
LABEL = tuple(np.arange(CLIPS) % 3)
DATA = (("penn_action", "official", 0), ("sbu", "fold1", 0), ("sbu", "fold2", 1))


def right(arm: str, dataset: str, protocol: str, seed: int) -> np.ndarray:
    """Which clips a run is right about: those of `narrow` are fewer, the others alike."""
    random = np.random.default_rng((len(dataset), len(protocol), seed))
    return random.random(CLIPS) > (0.3 if arm == "narrow" else 0.02)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three arms with two seeds on two data sets, one of them with two folds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ptl_skel.command.console._width", 1000)
    for arm in ARMS:
        for dataset, protocol, fold in DATA:
            for seed in (0, 1):
                hits = right(arm, dataset, protocol, seed)
                write_run(tmp_path / f"runs/{arm}-{dataset}-{protocol}-{seed}", seed=seed,
                          config=config_of(arm), dataset=dataset, protocol=protocol, label=LABEL,
                          clips=[f"{fold}-{number}" for number in range(CLIPS)],
                          predicted=tuple((np.array(LABEL) + ~hits) % 3))
    (tmp_path / "runs/sweep.json").write_text(json.dumps(
        {"description": "Choices were made on validation parts.\n", "cells": []}))
    return tmp_path / "runs"


def report(*arguments: object) -> None:
    main(["report", *map(str, arguments)])


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.report.write_pictures", lambda *_: True)


def test_the_pooled_numbers_are_those_of_the_statistics(study, no_pictures, capsys):
    report("runs", "--pool", "--baseline", "full3d", "--margin", "5", "--out", "docs/all.md")
    text = Path("docs/all.md").read_text()

    def correct(arm, *data):
        return [np.stack([right(arm, *one, seed) for seed in (0, 1)]) for one in data]
    penn, sbu = [DATA[0][:2]], [one[:2] for one in DATA[1:]]
    for arm in ARMS[1:]:
        pooled = pool([compare(correct(arm, *data), correct("full3d", *data))
                       for data in (penn, sbu)])
        interval = f"{100 * pooled.low:+.2f} to {100 * pooled.high:+.2f}"
        assert f"| {100 * pooled.value:+.2f} | {interval} |" in text
        p = noninferiority(pooled, 0.05)
        claim = f"{arm} is not inferior to full3d within 5 points (Δ {100 * pooled.value:+.2f}"
        assert (f"- {claim}" if p < 0.0125 else f"- it is not shown that {claim}") in text
    assert "- reduced is not inferior to full3d within 5 points" in text
    assert "- it is not shown that narrow is not inferior to full3d" in text
    assert text.splitlines()[2] == "Choices were made on validation parts."
    assert "## penn_action official\n" in text
    assert "## sbu fold\n" in text
    assert "sbu, fold1, fold2: 240 test clips; accuracies are means over the 2 folds" in text
    assert "it is not shown that narrow" in capsys.readouterr().out


def test_a_data_set_with_two_protocols_counts_once(study, no_pictures):
    """The same runs by a second protocol change nothing: neither a mean nor an interval."""
    report("runs", "--pool", "--baseline", "full3d", "--out", "before.md")
    for arm in ARMS:
        for seed in (0, 1):
            hits = right(arm, "penn_action", "official", seed)
            write_run(study / f"{arm}-again-{seed}", seed=seed, config=config_of(arm),
                      dataset="penn_action", protocol="other", label=LABEL,
                      clips=[f"0-{number}" for number in range(CLIPS)],
                      predicted=tuple((np.array(LABEL) + ~hits) % 3))
    report("runs", "--pool", "--baseline", "full3d", "--out", "after.md")
    before, after = (next(line.split("|") for line in Path(name).read_text().splitlines()
                          if line.startswith("| reduced |"))
                     for name in ("before.md", "after.md"))
    assert len(after) == len(before) + 1  # the column of the second protocol
    assert after[-5:] == before[-5:]


def test_the_command_on_the_page_makes_the_page_again(study, no_pictures):
    report("runs", "--pool", "--baseline", "full3d", "--fuse", "full3d+narrow", "--out",
           "docs/all.md")
    before = Path("docs/all.md").read_text()
    assert before.count("| full3d + narrow |") == 1 + 2 * 2  # pooled; two tables of each data set
    command, = re.findall(r"```bash\nptl-skel (.+)\n```", before)
    Path("docs/all.md").unlink()
    main(command.split())
    assert Path("docs/all.md").read_text() == before


def test_every_picture_of_a_page_is_there_and_has_its_own_place(study, request):
    if not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("no chromium on PATH; apt-get install chromium, as .ci/run does")
    report("runs", "--pool", "--baseline", "full3d", "--out", "docs/all.md")
    links = re.findall(r"!\[.*?\]\((.+?)\)", Path("docs/all.md").read_text())
    assert len(links) == len(set(links)) == 1 + 2 * 4
    for link in links:
        with Image.open(Path("docs") / link) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 20
    assert {path.name for path in Path("docs/all").iterdir()} == {
        Path(link).name for link in links}


def test_an_arm_that_lacks_a_data_set_is_not_pooled(study, no_pictures):
    for folder in study.glob("narrow-penn*"):
        for file in folder.iterdir():
            file.unlink()
    report("runs", "--pool", "--baseline", "full3d", "--out", "all.md")
    row, = (line for line in Path("all.md").read_text().splitlines()
            if line.startswith("| narrow | - |"))
    assert row.endswith("| - |  |  |  |")
    assert "narrow is not inferior to full3d within 1 point (Δ" in (
        Path("all.md").read_text().split("## sbu")[1])


def test_an_arm_that_lacks_a_fold_is_marked(study, no_pictures):
    for run in study.glob("narrow-sbu-fold2-*"):
        shutil.rmtree(run)
    report("runs", "--pool", "--baseline", "full3d", "--out", "all.md")
    cells = {line.split("|")[1].strip(): line.split("|")[3] for line in
             Path("all.md").read_text().split("## ")[0].splitlines() if line.startswith("| ")}
    assert [arm for arm, cell in cells.items() if cell.endswith(" † ")] == ["narrow"]
    assert "\n- † lacks folds that other arms have" in Path("all.md").read_text()


def test_a_page_of_one_data_set(study, no_pictures):
    report(*study.glob("*-penn*"), "--baseline", "full3d", "--out", "docs/penn.md")
    text = Path("docs/penn.md").read_text()
    assert text.startswith("# penn_action, official\n")
    assert "(penn/differences.png)" in text
    assert "is not inferior to full3d within 1 point" in text
    assert not Path("docs/penn.html").exists()


@pytest.mark.parametrize(("arguments", "said"), [
    (["runs", "--pool"], "by --baseline"),
    (["runs", "--pool", "--baseline", "full3d", "--out", "docs"], "--out must end with .md"),
    (["runs/full3d-sbu-fold1-0", "--pool", "--baseline", "full3d"], "there is only sbu fold"),
    (["runs", "--pool", "--baseline", "absent"], "no tested arm is called 'absent'"),
    (["runs", "--margin", "1"], "--margin has no effect without --baseline"),
    (["runs", "--pool", "--folds", "--baseline", "full3d"], "--folds has no effect with --pool"),
    (["runs", "--margin", "0"], "must be a number of points above 0, got 0"),
    (["runs", "--margin", "many"], "must be a number of points above 0, got many")])
def test_mistakes(study, capsys, arguments, said):
    with pytest.raises(SystemExit) as stopped:
        report(*arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
