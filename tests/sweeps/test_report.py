from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ptl_skel.complexity import Complexity
from ptl_skel.records import Predictions, RunRecord, write_predictions
from sweeps.__main__ import main
from sweeps.report import confusion

NAMES = ("wave", "kick", "sit down")
LABEL = (0, 0, 1, 1, 2)
PREDICTED = (0, 1, 1, 1, 2)

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes the record of a tested run with the functions that real runs write theirs with."""
    def make(name: str, *, dataset: str = "synthetic", protocol: str = "xsub", gmacs: float = 1.0,
             top1: float = 0.8, validation: str = "held-out subjects 1", seed: int = 0,
             names: tuple[str, ...] = NAMES, label: tuple[int, ...] = LABEL,
             predicted: tuple[int, ...] = PREDICTED) -> Path:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        facts = {"seed": seed, "data": {"dataset": dataset, "protocol": protocol,
                                        "validation": validation}}
        cost = Complexity(1_234_000, gmacs, 12.34, (25, 32, 32, 32), "cpu, 2 threads")
        result = RunRecord(folder, "", facts, cost).result
        result |= {"status": "finished", "training_seconds": 90.0,
                   "metrics": {"test/top1": top1, "test/mean_class": 0.75}}
        result["machine"]["cpu"] = "Some CPU"
        (folder / "result.json").write_text(json.dumps(result))
        ids = [f"clip{i}" for i in range(len(label))]
        probabilities = torch.eye(len(names))[list(predicted)]
        write_predictions(folder / "predictions.npz", ids, torch.tensor(label), probabilities,
                          names)
        return folder
    return make


def refusal(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    with pytest.raises(SystemExit) as exit_info:
        main(["report", *map(str, args)])
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("sweeps: ")
    assert error.count("\n") == 1
    return error


def edit_result(folder: Path, change: Callable[[dict], object]) -> None:
    result = json.loads((folder / "result.json").read_text())
    change(result)
    (folder / "result.json").write_text(json.dumps(result))


def test_report_lists_what_the_records_say(make_run: MakeRun, capsys, tmp_path):
    runs = [make_run("full3d", gmacs=1.5, top1=0.8), make_run("reduced", gmacs=0.25, seed=3)]
    main(["report", *map(str, runs)])
    printed = capsys.readouterr().out
    lines = (tmp_path / "runs" / "report" / "table.md").read_text().splitlines()
    assert lines[0] == ("| arm | top-1 | mean-class | params | GMACs | latency | training | seed |")
    assert lines[2] == "| full3d | 80.00 % | 75.00 % | 1.234 M | 1.500 | 12.3 ms | 1.5 min | 0 |"
    assert lines[3] == "| reduced | 80.00 % | 75.00 % | 1.234 M | 0.250 | 12.3 ms | 1.5 min | 3 |"
    for shown in ("full3d", "reduced", "80.00 %", "1.234 M", "0.250", "1.5 min",
                  "synthetic, xsub: 5 test clips", "one clip on Some CPU (cpu, 2 threads)"):
        assert shown in printed
    assert "*" not in printed


def test_report_leaves_pictures(make_run: MakeRun, tmp_path):
    main(["report", str(make_run("a")), str(make_run("b")), "--out", str(tmp_path / "x" / "y")])
    for name in ("accuracy_vs_gmacs", "confusion_a", "confusion_b"):
        with Image.open(tmp_path / "x" / "y" / f"{name}.png") as picture:
            assert min(picture.size) > 300


def test_runs_of_the_same_name_in_different_folders_stay_apart(make_run: MakeRun, tmp_path):
    main(["report", str(make_run("seed0/arm")), str(make_run("seed1/arm"))])
    report = tmp_path / "runs" / "report"
    assert "| seed0/arm |" in (report / "table.md").read_text()
    assert (report / "confusion_seed0-arm.png").is_file()
    assert (report / "confusion_seed1-arm.png").is_file()


def test_different_machines_get_a_column(make_run: MakeRun, tmp_path):
    runs = [make_run("a"), make_run("b")]
    edit_result(runs[1], lambda result: result["machine"].update(cpu="Another CPU"))
    main(["report", *map(str, runs)])
    table = (tmp_path / "runs" / "report" / "table.md").read_text()
    assert "| Some CPU (cpu, 2 threads) |" in table
    assert "| Another CPU (cpu, 2 threads) |" in table


def test_a_checkpoint_chosen_on_the_test_part_is_marked(make_run: MakeRun, capsys):
    main(["report", str(make_run("a", validation="test part"))])
    printed = capsys.readouterr().out
    assert "80.00 % *" in printed
    assert "* the checkpoint was chosen on the test part" in printed


@pytest.mark.parametrize("classes", [1, 60])
def test_any_number_of_classes_gives_a_confusion_matrix(make_run: MakeRun, tmp_path, classes):
    names = tuple(f"class $ number {i}" for i in range(classes))
    label = tuple(range(classes))
    main(["report", str(make_run("a", names=names, label=label, predicted=label))])
    assert (tmp_path / "runs" / "report" / "confusion_a.png").is_file()


def test_confusion_is_the_share_of_each_true_class():
    shares = confusion(Predictions(
        ("a", "b", "c", "d"), np.array([0, 0, 2, -1]),
        np.eye(3, dtype=np.float32)[[0, 1, 2, 0]], ("x", "y", "z")))
    np.testing.assert_array_equal(shares, [[0.5, 0.5, 0], [np.nan] * 3, [0, 0, 1]])


@pytest.mark.parametrize("other", [{"dataset": "sbu"}, {"protocol": "xview"}])
def test_runs_on_other_data_are_refused(make_run: MakeRun, capsys, other):
    error = refusal(capsys, make_run("a"), make_run("b", **other))
    assert str(next(iter(other.values()))) in error
    assert "compare runs on the same data" in error


def test_a_run_without_a_test_is_refused(make_run: MakeRun, capsys):
    run = make_run("a")
    edit_result(run, lambda result: result.update(status="interrupted", metrics={}))
    assert "has no test (the run is interrupted)" in refusal(capsys, run)


def test_a_missing_record_is_refused(make_run: MakeRun, capsys, tmp_path):
    assert "result.json does not exist" in refusal(capsys, tmp_path / "nowhere")
    run = make_run("a")
    (run / "predictions.npz").unlink()
    assert "predictions.npz does not exist" in refusal(capsys, run)


def test_a_damaged_record_is_refused(make_run: MakeRun, capsys):
    run = make_run("a")
    edit_result(run, lambda result: result["model"].pop("gmacs"))
    assert "result.json is damaged" in refusal(capsys, run)
    (run / "result.json").write_text("{")
    assert "result.json is damaged" in refusal(capsys, run)


@pytest.mark.parametrize("content", ["empty", "truncated", "text", "misfit"])
def test_damaged_predictions_are_refused(make_run: MakeRun, capsys, content):
    run = make_run("a")
    path = run / "predictions.npz"
    whole = path.read_bytes()
    if content == "misfit":
        with path.open("wb") as file:
            np.savez(file, clip=np.array(["a"]), label=np.array([7]), probabilities=np.eye(1),
                     class_names=np.array(["x"]))
    else:
        path.write_bytes({"empty": b"", "truncated": whole[: len(whole) // 2],
                          "text": b"no archive"}[content])
    assert "predictions.npz is damaged" in refusal(capsys, run)


def test_a_place_that_cannot_be_written_is_refused(make_run: MakeRun, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    error = refusal(capsys, make_run("a"), "--out", tmp_path / "file" / "report")
    assert "cannot be written" in error
