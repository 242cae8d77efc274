from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from records import LABEL, NAMES, config_of, edit_result, write_run
from scipy import stats

from ptl_skel.cli.verbs import main
from ptl_skel.runs.predictions import Predictions, read_predictions, write_predictions

MakeRun = Callable[..., Path]

FULL3D, REDUCED = config_of("full3d"), config_of("reduced")
RIGHT, WORSE = LABEL, (0, 1, 1, 1, 0)


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes the record of a run in ``runs/``."""
    return lambda name, **facts: write_run(tmp_path / "runs" / name, **facts)


@pytest.fixture
def sweep(make_run: MakeRun, tmp_path: Path) -> Path:
    """Folder of a sweep: two arms with three seeds each."""
    for seed in range(3):
        make_run(f"full3d-{seed}", config=FULL3D, seed=seed, gmacs=1.5, params=3_600_000)
        make_run(f"reduced-{seed}", config=REDUCED, seed=seed, gmacs=0.25, params=443_000,
                 predicted=WORSE if seed else RIGHT)
    return tmp_path / "runs"


@pytest.fixture
def pictures() -> None:
    """Asked for by a test that needs pictures; the others do without, since a browser is slow."""
    if not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("no chromium on PATH; apt-get install chromium, as .ci/run does")


@pytest.fixture(autouse=True)
def no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr("sweeps.report.write_pictures", lambda *_: True)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that wraps nothing."""
    monkeypatch.setattr("ptl_skel.command.console._width", 1000)


def report(*args: object) -> None:
    main(["report", *map(str, args)])


@pytest.mark.parametrize(("files", "names"), [
    (("nets/small.yaml", "nets/wide.v2.yaml"), ("small", "wide_v2")),
    (("a/net.yaml", "b/net.yaml"), ("width=4", "width=8")),  # one name, two contents
    ((None, "nets/wide.yaml"), ("Net", "wide")),  # an older record
    (("mine/full3d.yaml", "mine/wide.yaml"), ("Net", "wide")),  # the name of another network
])
def test_own_backbones_are_called_by_their_files(
        make_run: MakeRun, tmp_path: Path, files: tuple[str | None, str],
        names: tuple[str, str]) -> None:
    for number, (file, width) in enumerate(zip(files, (4, 8), strict=True)):
        own = {"class_path": "mine.Net", "init_args": {"width": width}}
        for seed in range(2):
            run = make_run(f"{number}-{seed}", config=config_of(model__backbone=own), seed=seed)
            edit_result(run, lambda result, file=file: result.update(backbone_file=file))
    report(tmp_path / "runs", "--baseline", names[1])
    with (tmp_path / "runs/report/arms.csv").open(newline="") as stored:
        assert {row["arm"] for row in csv.DictReader(stored)} == set(names)



def refusal(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    with pytest.raises(SystemExit) as exit_info:
        report(*args)
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("ptl-skel: ")
    assert error.count("\n") == 1
    return error


def table(folder: Path, title: str = "") -> list[dict[str, str]]:
    """The rows of the first table of a Markdown file below a title."""
    text = (folder / "report.md").read_text()
    text = text[text.index(title):]
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line] for line in lines]
    return [dict(zip(rows[0], row, strict=False)) for row in rows[2:]
            if len(row) == len(rows[0])]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class TestTable:
    def test_single_runs_are_listed_as_their_records_say(self, make_run, tmp_path, capsys):
        runs = [make_run("a", config=FULL3D, gmacs=1.5), make_run("b", config=REDUCED, gmacs=0.25)]
        report(*runs)
        assert table(tmp_path / "runs" / "report") == [
            {"arm": "full3d", "seeds": "1", "top-1 %": "80.00", "mean-class %": "83.33",
             "parameters": "1.234 M ◆", "GMACs": "1.500", "latency": "12.3 ms ◆",
             "training": "1.5 min"},
            {"arm": "reduced", "seeds": "1", "top-1 %": "80.00", "mean-class %": "83.33",
             "parameters": "1.234 M ◆", "GMACs": "0.250 ◆", "latency": "12.3 ms ◆",
             "training": "1.5 min"}]
        printed = capsys.readouterr().out
        for shown in ("full3d", "reduced", "80.00", "1.234 M", "0.250", "1.5 min",
                      "synthetic, xsub: 5 test clips", "one clip, median, on Some CPU (cpu, 2 thr"):
            assert shown in printed
        assert "*" not in printed
        assert "missing" not in printed

    def test_live_recognition_has_a_table_of_its_own(self, make_run, tmp_path, capsys):
        scores = {"top1_after_20_percent": 0.5, "live_top1": 0.75, "stream_delay": 24.0}
        make_run("a", config=FULL3D, live=scores)
        make_run("b", config=FULL3D, seed=1, live={**scores, "top1_after_20_percent": 0.6})
        make_run("c", config=REDUCED)
        report(tmp_path / "runs")
        row = "full3d | 2 | 55.00 % | 75.00 % | 24 frames"
        written = (tmp_path / "runs/report/report.md").read_text()
        assert f"| arm | runs | after 20 % | mean of the five | delay |\n| --- | --- | --- | --- " \
               f"| --- |\n| {row} |\n\n" in written
        assert "live recognition:" in capsys.readouterr().out
        page = (tmp_path / "runs/report/report.html").read_text()
        assert "<h2>Live recognition</h2>" in page
        assert "".join(f"<td>{cell}</td>" for cell in row.split(" | ")) in page

    def test_without_such_scores_there_is_none(self, make_run, tmp_path, capsys):
        report(make_run("a", config=FULL3D))
        assert "ive recognition" not in capsys.readouterr().out
        assert "Live recognition" not in (tmp_path / "runs/report/report.html").read_text()

    def test_seeds_form_an_arm(self, sweep, capsys):
        report(sweep, "--baseline", "full3d")
        full3d, reduced = table(sweep / "report")
        assert (full3d["arm"], full3d["seeds"], full3d["top-1 %"]) == (
            "full3d", "3", "80.00 ± 0.00")
        # 100, 60 and 60 %
        assert (reduced["arm"], reduced["top-1 %"]) == ("reduced", "73.33 ± 23.09")
        assert reduced["Δ top-1"] == "-6.67"
        assert full3d["Δ top-1"] == full3d["p"] == ""
        low, high = map(float, reduced["95 % interval"].split(" to "))
        assert low < -6.67 < high
        printed = capsys.readouterr().out
        assert "interval and test cover clips and seeds" in printed
        assert "Holm's correction over 1 arm" in printed

    def test_a_single_seed_covers_only_clips(self, make_run, tmp_path, capsys):
        make_run("a", config=FULL3D)
        make_run("b", config=REDUCED)
        report(tmp_path / "runs", "--baseline", "full3d")
        assert "cover only clips, as there is one seed" in capsys.readouterr().out
        assert table(tmp_path / "runs" / "report")[1]["p"] == "1.000"

    def test_arms_with_one_seed_are_marked_among_others(self, sweep, make_run):
        make_run("lone", config=config_of("slowonly"))
        report(sweep, "--baseline", "full3d")
        rows = table(sweep / "report")
        assert [row["arm"] for row in rows if "‡" in row.get("p", "")] == ["slowonly"]
        assert [row["arm"] for row in rows if "†" in row["seeds"]] == ["slowonly"]

    def test_it_fits_into_eighty_columns(self, sweep, capsys, monkeypatch):
        monkeypatch.setattr("ptl_skel.command.console._width", 80)
        report(sweep, "--baseline", "full3d")
        printed = capsys.readouterr().out
        for column in ("Δ top-1", "95 % interval", " p", "parameters", "GMACs", "training"):
            assert column in printed
        assert "…" not in printed
        assert max(map(len, printed.splitlines())) <= max(80, len(str(sweep)) + 40)

    def test_a_checkpoint_chosen_on_the_test_part_is_marked(self, make_run, capsys):
        report(make_run("a", validation="test part"))
        printed = capsys.readouterr().out
        assert "80.00 *" in printed
        assert "* the checkpoint was chosen on the test part" in printed

    def test_a_training_that_diverged_is_named(self, make_run, capsys):
        folder = make_run("a", seed=3)
        edit_result(folder, lambda result: result.update(diverged=2))
        report(folder, make_run("b", seed=4))
        printed = capsys.readouterr().out
        assert "seed 3: the training diverged, its loss is not a number since epoch 2" in printed
        assert "seed 4: " not in printed
        assert "the training diverged" in (folder.parent / "report" / "report.md").read_text()

    def test_latencies_of_different_machines_are_separate(self, make_run, tmp_path, pictures):
        runs = [make_run("a", config=FULL3D), make_run("b", config=REDUCED, cpu="Other CPU")]
        report(*runs)
        text = (tmp_path / "runs" / "report" / "report.md").read_text()
        assert "[1] Other CPU (cpu, 2 threads), [2] Some CPU (cpu, 2 threads)" in text
        assert "not latency, which was not measured on one machine" in text
        assert [row["latency"] for row in table(tmp_path / "runs" / "report")] == [
            "12.3 ms [2]", "12.3 ms [1]"]
        assert not (tmp_path / "runs" / "report" / "accuracy_vs_latency.png").exists()

    def test_different_code_is_noted(self, make_run, capsys):
        report(make_run("a", config=FULL3D), make_run("b", config=REDUCED, commit="fedcba98765+"))
        assert "versions of the code: commits 0123456789, fedcba9876+" in capsys.readouterr().out

    def test_the_order_of_clips_does_not_matter(self, make_run, tmp_path):
        make_run("a", config=FULL3D)
        make_run("b", config=REDUCED, clips=[f"clip{number}" for number in range(4, -1, -1)],
                 label=LABEL[::-1], predicted=(2, 1, 1, 1, 0))
        report(tmp_path / "runs", "--baseline", "full3d")
        assert float(table(tmp_path / "runs" / "report")[1]["Δ top-1"]) == 0
        arm, = (row for row in rows_of(tmp_path / "runs/report/arms.csv")
                if row["arm"] == "reduced")
        assert float(arm["p"]) == 1


class TestFolds:
    @pytest.fixture
    def folds(self, make_run, tmp_path):
        """Two folds and two seeds; the second fold is twice as large."""
        for fold, clips in ((1, 3), (2, 6)):
            for seed in (0, 1):
                for name, config, wrong in (("full3d", FULL3D, 0), ("reduced", REDUCED, 1)):
                    label = tuple(range(3)) * (clips // 3)
                    predicted = (1,) * wrong + label[wrong:]  # the first clip is wrong
                    make_run(f"{name}-{fold}-{seed}", config=config, protocol=f"fold{fold}",
                             seed=seed, clips=[f"{fold}-{i}" for i in range(clips)], label=label,
                             predicted=predicted)
        return tmp_path / "runs"

    def test_folds_are_never_averaged_without_being_asked(self, folds, capsys):
        error = refusal(capsys, folds)
        assert "fold1" in error
        assert "fold2" in error
        assert "--folds" in error

    def test_the_mean_over_folds(self, folds, capsys):
        report(folds, "--folds", "--baseline", "full3d")
        full3d, reduced = table(folds / "report")
        assert reduced["top-1 %"] == "75.00 ± 0.00"  # of 2/3 and 5/6
        assert (full3d["seeds"], reduced["Δ top-1"]) == ("2", "-25.00")
        printed = capsys.readouterr().out
        assert "fold1, fold2: 9 test clips; accuracies are means over the 2 folds" in printed
        assert len(rows_of(folds / "report" / "runs.csv")) == 8

    @pytest.mark.parametrize(("epochs", "arms"), [((75, 50), 1), ((75, 60), 2)])
    def test_epochs_that_follow_from_the_clips_make_no_arm(self, make_run, tmp_path, epochs, arms):
        """Folds with 80 and 120 clips to train on; 60 is not what the second one asks for."""
        for fold, number, clips in zip((1, 2), epochs, (80, 120), strict=True):
            config = {**config_of(trainer__max_epochs=number),
                      "length": {"passes": 30, "clips": 6000}}
            folder = make_run(f"run{fold}", config=config, protocol=f"fold{fold}",
                              clips=[f"{fold}-{i}" for i in range(5)])
            edit_result(folder, lambda result, clips=clips: result["data"].update(
                clips={"train": clips}))
        report(tmp_path / "runs", "--folds")
        assert len(table(tmp_path / "runs" / "report")) == arms

    def test_a_fold_that_is_not_there_is_named(self, folds, capsys):
        for file in (folds / "reduced-2-1").iterdir():
            file.unlink()
        report(folds, "--folds", "--baseline", "full3d")
        assert "reduced, fold2, seed 1: missing" in capsys.readouterr().out

    def test_splits_that_overlap_are_averaged_with_their_own_interval(self, make_run, tmp_path,
                                                                      capsys):
        """Three splits of 5 clips each, 20 clips to train on; by hand."""
        wrong = {"full3d": (0, 1, 1), "reduced": (2, 1, 2)}
        for name, config in (("full3d", FULL3D), ("reduced", REDUCED)):
            for split in range(3):
                predicted = [(one + (place < wrong[name][split])) % 3
                             for place, one in enumerate(LABEL)]
                run = make_run(f"{name}-{split}", config=config, protocol=f"random{split}",
                               clips=[f"clip{split + place}" for place in range(5)],
                               predicted=predicted)
                edit_result(run, lambda result: result["data"].update(clips={"train": 20}))
        report(tmp_path / "runs", "--folds", "--baseline", "full3d")
        row = table(tmp_path / "runs" / "report")[1]
        differences = np.array([-0.4, 0.0, -0.2])
        error = np.sqrt((1 / 3 + 5 / 20) * differences.var(ddof=1))
        reach = stats.t.ppf(0.975, 2) * error
        assert row["Δ top-1"] == "-20.00"
        assert row["95 % interval"] == f"{100 * (-0.2 - reach):+.2f} to {100 * (-0.2 + reach):+.2f}"
        printed = capsys.readouterr().out
        assert "means over the 3 splits, which overlap" in printed
        assert "Nadeau and Bengio's correction" in printed

    def test_splits_that_overlap_of_which_arms_have_one_in_common(self, make_run, tmp_path, capsys):
        """Without several splits the interval covers only clips."""
        for split in range(2):
            make_run(f"full3d-{split}", config=FULL3D, protocol=f"random{split}",
                     clips=[f"clip{split + place}" for place in range(5)])
        make_run("reduced", config=REDUCED, protocol="random0")
        report(tmp_path / "runs", "--folds", "--baseline", "full3d")
        printed = capsys.readouterr().out
        assert "interval and test cover only clips" in printed
        assert "Nadeau and Bengio's correction" not in printed

    def test_splits_that_overlap_need_the_size_of_the_training_part(self, make_run, capsys):
        for name, config in (("a", FULL3D), ("b", REDUCED)):
            for protocol in ("one", "two"):
                folder = make_run(f"{name}-{protocol}", config=config, protocol=protocol).parent
        assert "has not recorded how many clips it was trained on" in refusal(
            capsys, folder, "--folds", "--baseline", "full3d")


class TestGaps:
    def test_what_did_not_reach_its_test_is_named(self, sweep, make_run, capsys):
        make_run("broken", config=REDUCED, seed=3, status="failed", error="RuntimeError: no memory")
        make_run("stopped", config=FULL3D, seed=3, status="interrupted")
        make_run("killed", config=FULL3D, seed=4, status="running")
        report(sweep)
        printed = capsys.readouterr().out
        for line in ("reduced, seed 3: failed, RuntimeError: no memory",
                     "full3d, seed 3: interrupted", "full3d, seed 4: running, or was killed",
                     "reduced, seed 4: missing"):
            assert line in printed
        assert "reduced, seed 3: failed" in (sweep / "report" / "report.md").read_text()

    def test_an_arm_without_a_test_is_named(self, sweep, make_run, capsys):
        make_run("broken", config=config_of("slowonly"), status="failed", error="E")
        report(sweep)
        assert "slowonly, seed 0: failed, E" in capsys.readouterr().out
        assert len(table(sweep / "report")) == 2

    def test_cells_of_a_sweep_without_a_record_are_named(self, sweep, capsys):
        cells = [{"name": "full3d-0", "state": "finished", "error": None},
                 {"name": "big-0", "state": "failed", "error": "exit code 2: no such file"},
                 {"name": "big-1", "state": "waiting", "error": None}]
        (sweep / "sweep.json").write_text(json.dumps({"cells": cells}))
        report(sweep)
        printed = capsys.readouterr().out
        assert "cell big-0: failed, exit code 2: no such file, no record" in printed
        assert "cell big-1: waiting, no record" in printed
        assert "cell full3d-0" not in printed
        (sweep / "sweep.json").write_text("{")
        assert "sweep.json is damaged" in refusal(capsys, sweep)

    def test_a_run_that_was_repeated_is_not_a_gap(self, make_run, tmp_path, capsys):
        make_run("a", status="failed", error="E")
        make_run("a-2")
        report(tmp_path / "runs")
        assert "failed" not in capsys.readouterr().out


class TestFiles:
    def test_pictures(self, sweep, pictures):
        report(sweep, "--baseline", "full3d")
        names = {"accuracy_vs_gmacs", "accuracy_vs_parameters", "accuracy_vs_latency",
                 "confusion_full3d", "confusion_reduced", "class_differences", "differences",
                 "curves_train_loss", "curves_train_top1", "curves_val_top1"}
        assert {path.stem for path in (sweep / "report").glob("*.png")} == names
        for name in names:
            with Image.open(sweep / "report" / f"{name}.png") as picture:
                assert min(picture.size) > 180
                assert len(picture.convert("RGB").getcolors(1 << 20)) > 20  # not an empty sheet

    @pytest.mark.parametrize("browser", ["/absent", "/bin/false"])
    def test_no_browser_no_pictures(self, sweep, pictures, monkeypatch, capsys, browser):
        monkeypatch.setenv("BROWSER_PATH", browser)
        report(sweep)
        assert "no pictures: they need a working Chrome or Chromium" in capsys.readouterr().out
        assert not list((sweep / "report").glob("*.png"))
        assert (sweep / "report" / "report.html").is_file()

    def test_out(self, make_run, tmp_path):
        report(make_run("a"), "--out", tmp_path / "x" / "y")
        assert (tmp_path / "x" / "y" / "report.md").is_file()
        assert not list((tmp_path / "x" / "y").glob("*.tmp"))

    def test_csv(self, sweep):
        report(sweep, "--baseline", "full3d")
        full3d, reduced = rows_of(sweep / "report" / "arms.csv")
        assert float(reduced["top1"]) == pytest.approx((1 + 0.6 + 0.6) / 3)
        assert float(reduced["top1_deviation"]) == pytest.approx(np.std([1, 0.6, 0.6], ddof=1))
        assert reduced["covers"] == "clips and seeds"
        assert full3d["difference"] == full3d["p"] == ""
        assert reduced["p_holm"] == reduced["p"]
        runs = rows_of(sweep / "report" / "runs.csv")
        assert [(run["arm"], run["seed"]) for run in runs] == [
            (arm, str(seed)) for arm in ("full3d", "reduced") for seed in range(3)]
        assert runs[3]["command"] == "ptl-skel fit --run_dir reduced-0"
        classes = rows_of(sweep / "report" / "classes.csv")
        assert [row["class"] for row in classes] == ["wave", "kick", "sit down"]
        assert float(classes[2]["reduced"]) == pytest.approx(1 / 3)

    def test_latex_is_sound(self, make_run, tmp_path):
        make_run("a", config=FULL3D, dataset="x_y")
        make_run("b", config=REDUCED, dataset="x_y", predicted=WORSE)
        report(tmp_path / "runs", "--baseline", "full3d")
        lines = (tmp_path / "runs" / "report" / "table.tex").read_text().splitlines()
        text = [line for line in lines if not line.startswith("%")]
        assert text[0] == "\\begin{tabular}{lrrrrrrrrrr}"
        assert [line for line in text if "rule" in line] == [
            "\\toprule", "\\midrule", "\\bottomrule"]
        rows = [line for line in text if line.endswith(r"\\")]
        assert len(rows) == 3
        assert {line.count("&") for line in rows} == {10}
        assert "& $-$20.00 &" in rows[2]
        assert not re.search(r"(?<!\\)[%_]|[◆±Δ]", "".join(text))

    def test_markdown_has_classes_and_commands(self, sweep):
        report(sweep, "--baseline", "full3d")
        text = (sweep / "report" / "report.md").read_text()
        assert "| sit down | 100.0 % | -66.7 |" in text
        assert "- reduced, seed 1: `ptl-skel fit --run_dir reduced-1`" in text

    @pytest.mark.parametrize("classes", [1, 60])
    def test_any_number_of_classes(self, make_run, tmp_path, pictures, classes):
        names = tuple(f"class $ number {i}" for i in range(classes))
        label = tuple(range(classes))
        make_run("a", names=names, label=label, predicted=label)
        report(tmp_path / "runs")
        assert (tmp_path / "runs" / "report" / "confusion_full3d.png").is_file()


class TestFusedArms:
    """The mean of the probabilities of several arms, as an arm."""

    @pytest.fixture
    def runs(self, make_run: MakeRun, tmp_path: Path) -> Path:
        """Two arms that are right about different clips, and sure only of these."""
        sure, unsure = 0.9, 0.4  # of the class that each predicts, beside one other
        for arm, config, right in (("full3d", FULL3D, (0, 1, 2)), ("reduced", REDUCED, (2, 3, 4))):
            for seed in range(2 if arm == "reduced" else 3):
                probabilities = np.zeros((5, 3), np.float32)
                for clip, label in enumerate(LABEL):
                    share = sure if clip in right else unsure
                    probabilities[clip, label], probabilities[clip, (label + 1) % 3] = (
                        share, 1 - share)
                run = make_run(f"{arm}-{seed}", config=config, seed=seed, gmacs=1.5, params=1_000,
                               latency=2.0, predicted=probabilities.argmax(1).tolist())
                order = np.roll(np.arange(5), seed)  # clips are matched by their names
                write_predictions(run / "predictions.npz", Predictions(
                    tuple(f"clip{number}" for number in order), np.array(LABEL)[order],
                    probabilities[order], NAMES))
        return tmp_path / "runs"

    def test_they_have_the_sum_of_the_costs_and_the_mean_of_the_probabilities(self, runs):
        report(runs, "--baseline", "full3d", "--fuse", "full3d + reduced")
        rows = {row["arm"]: row for row in table(runs / "report")}
        assert [rows[arm]["top-1 %"] for arm in ("full3d", "reduced")] == [
            "60.00 ± 0.00", "60.00 ± 0.00"]
        fused = rows["full3d + reduced"]
        assert (fused["seeds"], fused["top-1 %"], fused["Δ top-1"]) == (
            "2 †", "100.00 ± 0.00", "+40.00")
        assert (fused["parameters"], fused["GMACs"], fused["latency"], fused["training"]) == (
            "0.002 M ◆", "3.000 ◆", "4.0 ms ◆", "3.0 min")
        stored = [row for row in rows_of(runs / "report/runs.csv") if "+" in row["arm"]]
        assert [row["seed"] for row in stored] == ["0", "1"]
        assert stored[0]["command"] == f"ptl-skel ensemble {runs}/full3d-0 {runs}/reduced-0"

    def test_corrupted_keypoints(self, runs):
        """The mean of the probabilities there, unless only the accuracy of a member is kept."""
        for number, run in enumerate(sorted(runs.iterdir())):
            for name, level, kept in (("drop", 0.4, True), ("low_scores", 0.9, number)):
                test = runs / run.name / "robustness" / f"{name}-{level}"
                test.mkdir(parents=True)
                (test / "result.json").write_text(json.dumps({
                    "schema_version": 1, "status": "finished", "metrics": {"test/top1": 0.2},
                    "data": {"corruption": {"kind": name, "level": level}}}))
                if kept:
                    clean = read_predictions(run)
                    sure = clean.probabilities.max(1) > 0.8
                    sure &= np.array(clean.clip) != "clip2"  # nobody recognises this one
                    write_predictions(test / "predictions.npz", replace(
                        clean, probabilities=clean.probabilities * sure[:, None]))
        report(runs, "--fuse", "full3d+reduced")
        rows = {row["arm"]: row for row in table(runs / "report", "on corrupted keypoints, %")}
        assert rows["full3d"]["drop 0.4"] == "20.00"
        assert rows["full3d + reduced"]["drop 0.4"] == "80.00"
        # The first run of full3d keeps no predictions, so the mean is that of the other seed.
        assert rows["full3d + reduced"]["low_scores 0.9"] == "80.00"

    def test_they_are_not_among_the_arms_that_differ_in_more(self, make_run, tmp_path):
        make_run("full3d", config=config_of("full3d", data__clip_len=16))
        make_run("reduced", config=config_of("reduced", data__clip_len=32))
        report(tmp_path / "runs", "--fuse", "full3d+reduced")
        assert ("differ in more than the backbone: full3d: clip_len=16; reduced: clip_len=32\n"
                in (tmp_path / "runs/report/report.md").read_text())

    def test_arms_that_cannot_be_fused(self, runs, make_run, capsys):
        def said(*arguments: object) -> str:
            return refusal(capsys, runs, "--fuse", *arguments)

        assert "no tested arm is called 'narrow'; there are: 'full3d', 'reduced'" in said(
            "narrow+full3d")
        assert "--fuse: must be two or more arms, joined by +, got full3d" in said("full3d")
        assert "joined by +, got full3d+full3d" in said("full3d+full3d")
        make_run("other", config=config_of("r2plus1d"), seed=7)
        assert "--fuse reduced + r2plus1d: no fold and seed was tested with all of them" in said(
            "reduced+r2plus1d")


def test_records_without_a_cost(tmp_path, capsys):
    """Of a run that failed before its network was measured, and of `ptl-skel predict`."""
    write_run(tmp_path / "good")
    write_run(tmp_path / "failed", seed=1, status="failed", error="ValueError: a bug")
    edit_result(tmp_path / "failed", lambda result: result.update(model=None))
    write_run(tmp_path / "predicted")
    edit_result(tmp_path / "predicted", lambda result: result.update(model=None) or
                result["data"].update(protocol=None))
    main(["report", str(tmp_path), "--out", str(tmp_path / "report")])
    said = capsys.readouterr().out
    assert "seed 1: failed, ValueError: a bug" in said
    assert "predicted" not in said


class TestMistakes:
    @pytest.mark.parametrize("other", [{"dataset": "sbu"}, {"protocol": "xview"}])
    def test_other_data(self, make_run, capsys, other):
        error = refusal(capsys, make_run("a"), make_run("b", **other))
        assert str(next(iter(other.values()))) in error
        assert "compare runs on the same data" in error

    def test_other_keypoints_in_a_file_of_the_same_name(self, make_run, capsys):
        """They are not seeds of one arm."""
        runs = [make_run(f"seed{seed}", seed=seed) for seed in range(3)]
        for run, content in zip(runs, ("a", "a", "b"), strict=True):
            edit_result(run, lambda result, content=content: result["data"].update(
                file=f"{content}/x.h5", fingerprint=content))
        report(*runs[:2])
        error = refusal(capsys, *runs)
        assert "seed2 used other keypoints than" in error
        assert "b/x.h5 and a/x.h5" in error

    def test_other_data_are_not_a_fold(self, make_run, capsys):
        error = refusal(capsys, make_run("a"), make_run("b", dataset="sbu"), "--folds")
        assert "compare runs on the same data, or pool the data sets with --pool" in error
        assert "average" not in error

    def test_no_test(self, make_run, capsys):
        error = refusal(capsys, make_run("a", status="interrupted"))
        assert "no run was tested" in error
        assert "interrupted" in error

    def test_no_record(self, make_run, capsys, tmp_path):
        assert f"{tmp_path} holds no run" in refusal(capsys, tmp_path)
        assert "nowhere does not exist" in refusal(capsys, tmp_path / "nowhere")
        run = make_run("a")
        (run / "predictions.npz").unlink()
        assert "predictions.npz does not exist" in refusal(capsys, run)

    def test_damaged_record(self, make_run, capsys):
        run = make_run("a")
        edit_result(run, lambda result: result["model"].pop("gmacs"))
        assert "result.json is damaged" in refusal(capsys, run)
        whole = (run / "result.json").read_text()
        (run / "result.json").write_text(whole[: len(whole) // 2])
        assert "result.json is damaged" in refusal(capsys, run)

    def test_another_schema(self, make_run, capsys):
        run = make_run("a")
        edit_result(run, lambda result: result.update(schema_version=99))
        assert "is not a run record of schema version 1" in refusal(capsys, run)

    @pytest.mark.parametrize("content", ["empty", "truncated", "text", "misfit"])
    def test_damaged_predictions(self, make_run, capsys, content):
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

    @pytest.mark.parametrize(("content", "message"), [
        (None, "config.yaml does not exist"), ("a: [", "config.yaml is damaged"),
        ("just text", "config.yaml is damaged")])
    def test_damaged_config(self, make_run, capsys, content, message):
        run = make_run("a")
        (run / "config.yaml").unlink()
        if content is not None:
            (run / "config.yaml").write_text(content)
        assert message in refusal(capsys, run)

    @pytest.mark.parametrize("content", [
        {}, {"status": "finished", "data": {"corruption": None}, "metrics": {}}])
    def test_damaged_test_of_robustness(self, make_run, capsys, content):
        run = make_run("a")
        test = run / "robustness" / "drop-0.1"
        test.mkdir(parents=True)
        (test / "result.json").write_text(json.dumps({"schema_version": 1, **content}))
        assert "drop-0.1/result.json is damaged" in refusal(capsys, run)

    def test_damaged_curve(self, make_run, capsys):
        run = make_run("a")
        (run / "metrics.csv").write_text("epoch,step\n0,x\n")
        assert "metrics.csv is damaged" in refusal(capsys, run)

    def test_predictions_of_another_test(self, make_run, capsys):
        run = make_run("a")
        edit_result(run, lambda result: result["metrics"].update({"test/top1": 0.5}))
        assert "not from the same test" in refusal(capsys, run)

    def test_two_runs_in_one_cell(self, make_run, capsys):
        error = refusal(capsys, make_run("a"), make_run("a-2"))
        assert "a-2 are the same cell: full3d, xsub, seed 0" in error

    def test_a_run_named_twice_counts_once(self, make_run, tmp_path):
        run = make_run("a")
        report(run, tmp_path / "runs")
        assert table(tmp_path / "runs" / "report")[0]["seeds"] == "1"

    def test_unknown_baseline(self, sweep, capsys):
        error = refusal(capsys, sweep, "--baseline", "resnet")
        assert "no tested arm is called 'resnet'; there are: 'full3d', 'reduced'" in error

    def test_what_differs_beside_the_backbone_is_noted(self, make_run, tmp_path):
        make_run("full3d", config=config_of("full3d", data__clip_len=16))
        make_run("reduced", config=config_of("reduced", data__clip_len=32))
        report(tmp_path / "runs")
        folder = tmp_path / "runs" / "report"
        assert [row["arm"] for row in table(folder)] == ["full3d", "reduced"]
        assert ("\n- arms differ in more than the backbone: full3d: clip_len=16; "
                "reduced: clip_len=32\n") in (folder / "report.md").read_text()
        make_run("other", config=config_of("reduced", data__clip_len=16), status="running")
        report(tmp_path / "runs")  # the backbone is not enough for an arm without a test
        assert [row["arm"] for row in table(folder)] == [
            "full3d clip_len=16", "reduced clip_len=32"]
        assert "more than the backbone" not in (folder / "report.md").read_text()

    def test_the_beginning_of_a_name_will_do_where_it_is_of_one_arm(
            self, make_run, tmp_path, capsys):
        make_run("reduced-16", config=config_of("reduced", data__clip_len=16))
        make_run("reduced-32", config=config_of("reduced", data__clip_len=32))
        make_run("full3d", config=config_of("full3d", data__clip_len=32))
        report(tmp_path / "runs", "--baseline", "full3d")
        rows = table(tmp_path / "runs" / "report")
        assert [row["arm"] for row in rows] == [
            "full3d clip_len=32", "reduced clip_len=16", "reduced clip_len=32"]
        assert [bool(row["Δ top-1"]) for row in rows] == [False, True, True]
        error = refusal(capsys, tmp_path / "runs", "--baseline", "reduced")
        assert "more than one tested arm is called 'reduced'" in error

    @pytest.mark.parametrize(("other", "message"), [
        ({"clips": ["clip0", "clip1", "clip2", "clip3", "else"]}, "not of the same clips"),
        ({"clips": ["clip0"] * 5}, "holds a clip twice"),
        ({"label": (1, 0, 1, 1, 2)}, "has other labels"),
        ({"names": ("wave", "kick", "stand up")}, "has other classes")])
    def test_predictions_that_do_not_match(self, make_run, capsys, other, message):
        error = refusal(capsys, make_run("a"), make_run("b", config=REDUCED, **other))
        assert message in error

    def test_clips_without_a_label(self, make_run, capsys):
        run = make_run("a")
        with np.load(run / "predictions.npz") as file:
            arrays = dict(file)
        arrays["label"][0] = -1
        with (run / "predictions.npz").open("wb") as file:
            np.savez(file, **arrays)
        assert "clips without a label" in refusal(capsys, run)

    def test_a_place_that_cannot_be_written(self, make_run, capsys, tmp_path):
        (tmp_path / "file").write_text("")
        error = refusal(capsys, make_run("a"), "--out", tmp_path / "file" / "report")
        assert "cannot be written" in error


def test_records_that_real_runs_left(tiny_file, tmp_path, monkeypatch, capsys):
    """Shipped backbones have their names after the command line has resolved them."""
    from functools import partial

    from ptl_skel.cli import lightning as cli
    from ptl_skel.cli import outcome

    monkeypatch.setattr(outcome, "measure", partial(outcome.measure, seconds=0))
    for backbone in ("full3d", "reduced"):
        cli.run("fit", [
            "--model.backbone", f"backbone/{backbone}.yaml", "--data.file", str(tiny_file),
            "--data.protocol", "cross", "--data.clip_len", "8", "--data.size", "16",
            "--data.eval_size", "16", "--trainer.max_epochs", "1", "--wandb", "off",
            "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false",
            "--run_dir", str(tmp_path / "runs" / backbone)])
    report(tmp_path / "runs", "--baseline", "full3d")
    assert [row["arm"] for row in table(tmp_path / "runs" / "report")] == ["full3d", "reduced"]
    assert "tiny, cross: 6 test clips" in capsys.readouterr().out
