"""Reports on runs that were validated and not tested."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from records import LABEL, config_of, write_run

from ptl_skel.__main__ import main as ptl_skel
from ptl_skel.cli.verbs import main

WORSE = (0, 1, 1, 1, 0)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sweeps.report.write_pictures", lambda *_: True)
    monkeypatch.setattr("ptl_skel.command.console._width", 1000)
    monkeypatch.chdir(tmp_path)


def splits(dataset: str = "penn", part: str = "val", held_out: int = 2) -> None:
    """Two arms, each with `held_out` choices of the validation clips."""
    for backbone, predicted in (("full3d", LABEL), ("reduced", WORSE)):
        for seed in range(held_out):
            config = config_of(backbone)
            config["data"] |= {"val_seed": seed, "val_fraction": 0.2}
            write_run(Path(f"runs/{dataset}-{backbone}-{seed}"), config=config, part=part,
                      dataset=dataset, predicted=predicted,
                      clips=[f"{seed}-{number}" for number in range(len(LABEL))])


def test_validation_is_compared_if_no_run_was_tested(capsys):
    splits(held_out=1)
    main(["report", "runs", "--baseline", "full3d"])
    shown = capsys.readouterr().out
    assert "penn, xsub validation 0: 5 validation clips" in shown
    assert " 60.00 " in shown
    assert " -40.00 " in shown


def test_choices_of_the_held_out_clips_are_splits_of_one_arm(capsys):
    splits()
    with pytest.raises(SystemExit):
        main(["report", "runs"])
    assert "average over folds with --folds" in capsys.readouterr().err
    main(["report", "runs", "--folds", "--baseline", "full3d"])
    assert "10 validation clips; accuracies are means over the 2 folds" in capsys.readouterr().out
    with Path("runs/report/arms.csv").open(newline="") as stored:
        assert {row["arm"] for row in csv.DictReader(stored)} == {"full3d", "reduced"}


def test_tested_runs_are_not_compared_with_validated_ones(capsys):
    splits(held_out=1)
    write_run(Path("runs/tested"), config=config_of("narrow"), dataset="penn")
    main(["report", "runs"])
    shown = capsys.readouterr().out
    assert "5 test clips" in shown
    assert shown.count("finished without a test") == 2


def test_data_sets_are_pooled(capsys):
    splits()
    splits("sbu")
    main(["report", "runs", "--pool", "--baseline", "full3d", "--out", "page.md"])
    page = Path("page.md").read_text()
    assert "| arm | penn xsub | sbu xsub | mean |" in page
    assert "- top-1 % of validation clips; no run was tested;" in page
    splits("tested", part="test", held_out=1)
    with pytest.raises(SystemExit):
        main(["report", "runs", "--pool", "--baseline", "full3d", "--out", "page.md"])
    assert ("the runs on tested xsub were tested, those on sbu xsub only validated"
            in capsys.readouterr().err)


@pytest.mark.usefixtures("command_surroundings")
def test_real_runs_that_hold_clips_out(tiny_file, tiny_config, capsys):
    for dropout in ("0.1", "0.5"):
        ptl_skel(["fit", "--config", str(tiny_config), "--data.file", str(tiny_file),
                  "--model.dropout", dropout, "--data.val_fraction", "0.4", "--test_after_fit",
                  "false", "--run_dir", f"runs/{dropout}"])
    main(["report", "runs"])
    shown = capsys.readouterr().out
    assert "cross validation 0: 12 validation clips" in shown
    assert "dropout=0.1" in shown
    assert "dropout=0.5" in shown
