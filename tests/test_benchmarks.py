"""`make bench` runs to its end, on a GPU too; what it measures is not a test's business."""

import json
import math
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import floors
import gpu_trainings
import pytest
import session
import torch
from floors import Limits, Work, work_of
from gpu_trainings import ARMS, Runner, plan, summary
from material import as_conv3d, load, with_norms_on_images
from profiles import gaps, top_kernels
from session import Bench, Group
from table import TARGETS, to_markdown
from timing import busy_share
from torch import nn

BENCHMARKS = Path(__file__).parent / "benchmarks"


def run(*arguments, folder=None):
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=folder, capture_output=True,
                          text=True, timeout=300, check=False)
KILL = BENCHMARKS / "kill.py"


def test_the_table_has_a_row_of_each_group():
    done = run(BENCHMARKS / "run.py", "heatmaps", "input", "backbones", "--backbones", "narrow",
               "--seconds", "0")
    assert done.returncode == 0, done.stderr
    for row in ("machine: sgemm", "limbs, 2 person(s)", "whole input path, device",
                "narrow, training step"):
        assert row in done.stdout


def test_every_row_of_a_gpu_runs_on_a_cpu(tmp_path):
    done = run(BENCHMARKS / "gpu.py", "--device", "cpu", "--quick", "--out", tmp_path / "gpu.json",
               folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert {group["status"] for group in report["groups"].values()} == {"finished"}
    rows = {row["key"]: row for row in report["rows"]}
    found = [target.what for target in TARGETS if is_read(target, rows)]
    # The kernel is for GPUs; all other targets have their row.
    assert [target.what for target in TARGETS if target.what not in found] == [
        "rendering, share of the bandwidth floor"]
    printed = run(BENCHMARKS / "table.py", tmp_path / "gpu.json")
    assert printed.stdout == to_markdown(report)
    assert all(f"| {key} |" in printed.stdout for key in rows)


def is_read(target, rows):
    try:
        return math.isfinite(target.read(rows))
    except KeyError:
        return False


class TestFloors:
    def test_a_convolution_by_hand(self):
        network = nn.Sequential(nn.Conv3d(2, 4, 1, bias=False), nn.Flatten())
        forward = work_of(network, (2, 3, 4, 5), 7, training=False)
        inputs, outputs, weights = 7 * 2 * 60, 7 * 4 * 60, 8
        assert forward == Work(2 * 2 * outputs, inputs + weights + outputs)

    def test_a_training_step_by_hand(self):
        network = nn.Linear(5, 3, bias=False)
        inputs, outputs, weights = 4 * 5, 4 * 3, 15
        step = work_of(network, (5,), 4, training=True)
        assert step.flops == 3 * 2 * 4 * 15
        # Forward, and the gradient of the weights; the inputs need none. The rest is the loss.
        product = 2 * (inputs + weights + outputs)
        assert product <= step.numbers <= product + 12 * outputs

    def test_relu_and_views_cost_nothing_and_a_sum_does(self):
        class Block(nn.Module):
            def forward(self, inputs):
                return (inputs.transpose(1, 2).relu_() + inputs.transpose(1, 2)).relu()

        assert work_of(Block(), (2, 3), 5, training=False) == Work(0, 3 * 30)

    def test_the_network_is_left_as_it_is(self):
        network = nn.Sequential(nn.BatchNorm3d(2), nn.Flatten())
        before = {name: value.clone() for name, value in network.state_dict().items()}
        work_of(network, (2, 1, 1, 1), 4, training=True)
        assert all(torch.equal(before[name], value)
                   for name, value in network.state_dict().items())

    def test_the_larger_of_two_times_counts(self):
        limits = Limits(100, {"bf16": 10, "fp32": 10})
        assert limits.floor(Work(50, 10), "bf16") == floors.Floor(5, "arithmetic")
        assert limits.floor(Work(50, 1000), "bf16") == floors.Floor(20, "bytes")
        assert limits.floor(Work(50, 1000, 400), "fp32") == floors.Floor(44, "bytes")


class TestForms:
    """What is compared must be the same network."""

    @pytest.mark.parametrize("form", [as_conv3d, with_norms_on_images])
    def test_forms_give_the_same_numbers(self, form):
        inputs = torch.rand(2, 17, 8, 16, 16)
        plain, other = load("reduced").train(), form(load("reduced")).train()
        torch.testing.assert_close(other(inputs), plain(inputs), atol=1e-4, rtol=1e-4)
        for one, two in zip(plain.buffers(), other.buffers(), strict=True):
            if one.is_floating_point():
                torch.testing.assert_close(two, one, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(other.eval()(inputs), plain.eval()(inputs), atol=1e-4,
                                   rtol=1e-4)


class TestSession:
    @pytest.fixture
    def bench(self, tmp_path):
        return Bench("cpu", tmp_path / "gpu.json", quick=True)

    def test_a_cut_off_keeps_what_was_measured(self, bench):
        def endless(bench):
            bench.row("first", 1.0, 2)
            while True:
                time.sleep(0.01)

        assert bench.run([Group("endless", endless, 0.2)], 1)
        report = json.loads(bench.path.read_text())
        assert report["groups"]["endless"]["status"] == "cut off"
        assert [row["key"] for row in report["rows"]] == ["first"]

    def test_a_failure_costs_only_its_own_rows(self, bench, capsys):
        def broken(bench):
            raise RuntimeError("no such kernel")

        groups = [Group("broken", broken, 9), Group("fine", lambda b: b.row("r", 0.5, 2), 9)]
        assert not bench.run(groups, 1)
        report = json.loads(bench.path.read_text())
        assert report["groups"]["broken"]["status"] == "failed"
        assert "no such kernel" in report["groups"]["broken"]["error"]
        assert report["rows"][0]["clips_per_second"] == 4
        assert "no such kernel" in capsys.readouterr().out

    def test_groups_after_the_end_are_not_started(self, bench):
        assert bench.run([Group("late", lambda b: b.row("r", 1, 1), 9)], 0)
        assert bench.report["groups"]["late"]["status"] == "not reached"
        assert not bench.report["rows"]

    def test_the_limit_is_lifted_afterwards(self):
        with session.time_limit(0.05):
            pass
        time.sleep(0.1)


def test_busy_share_by_hand():
    assert busy_share([(0, 2), (1, 3), (8, 10), (4, 5)]) == pytest.approx(0.6)
    assert busy_share([]) == 0


def test_profiles_by_hand():
    kernels = [(0.0, 2.0, "a"), (1.0, 3.0, "b"), (10.0, 14.0, "a"), (14.5, 15.0, "c")]
    assert top_kernels(kernels)[0].split() == ["70.6%", "2x", "3.0", "us", "a"]
    whole, longest, second = gaps(kernels)
    assert whole == "2 gaps, 8 us together"
    assert longest.split() == ["7.0", "us", "after", "b", "before", "a"]
    assert second.split() == ["0.5", "us", "after", "a", "before", "c"]


class TestTrainings:
    """The command is replaced by a script that leaves a record."""

    @pytest.fixture
    def started(self, tmp_path, monkeypatch):
        """Run folders of all trainings that were started, in order."""
        log = tmp_path / "started.txt"
        script = tmp_path / "python"
        script.write_text(f"""#!{sys.executable}
import json, pathlib, sys, time
option = "--run_dir" if "--run_dir" in sys.argv else "--ckpt_path"
folder = pathlib.Path(sys.argv[sys.argv.index(option) + 1])
folder = folder if option == "--run_dir" else folder.parent.parent
with open({str(log)!r}, "a") as file:
    file.write(option + " " + folder.name + "\\n")
if "slow" in sys.argv:
    time.sleep(60)
folder.mkdir(exist_ok=True)
(folder / "result.json").write_text(json.dumps(
    {{"status": "finished", "metrics": {{"test/top1": 0.5}}, "training_seconds": 3}}))
""")
        script.chmod(0o755)
        monkeypatch.setattr(gpu_trainings.sys, "executable", str(script))
        return lambda: log.read_text().splitlines() if log.exists() else []

    def test_whole_comparisons_come_first(self):
        trainings = list(plan())
        assert [training.arm for training in trainings[:5]] == list(ARMS)
        assert {training.seed for training in trainings[:40]} == {0}
        assert len({training.name for training in trainings}) == len(trainings) == 200 + 96

    def test_what_is_finished_is_skipped_and_what_is_not_is_resumed(self, tmp_path, started):
        first, second, third = list(plan())[:3]
        out = tmp_path / "out"
        (out / "runs" / first.name).mkdir(parents=True)
        (out / "runs" / first.name / "result.json").write_text('{"status": "finished"}')
        (out / "runs" / second.name / "checkpoints").mkdir(parents=True)
        (out / "runs" / second.name / "checkpoints" / "last.ckpt").touch()
        (out / "runs" / second.name / "result.json").write_text('{"status": "running"}')
        runner = Runner(out, tmp_path, 1, 60)
        runner.run(iter([first, second, third]))
        assert started() == [f"--ckpt_path {second.name}", f"--run_dir {third.name}"]
        with tarfile.open(runner.records) as archive:
            assert f"runs/{third.name}/result.json" in archive.getnames()

    def test_nothing_is_left_running_when_the_time_is_up(self, tmp_path, started):
        runner = Runner(tmp_path / "out", tmp_path, 2, 1.5, ["slow"])
        begin = time.monotonic()
        runner.run(iter(list(plan())[:5]))
        assert time.monotonic() - begin < 15
        assert len(started()) == 2
        assert not runner.under_way

    def test_a_training_that_cannot_end_in_time_is_not_started(self, tmp_path, started):
        runner = Runner(tmp_path / "out", tmp_path, 1, 30)
        first = next(plan())
        runner.took[f"{first.data.name}-{first.arm}"] = 1000
        runner.run(iter([first]))
        assert not started()

    def test_the_summary_by_hand(self, tmp_path):
        for training, top1 in zip(list(plan())[:1] + list(plan())[40:41], (0.5, 0.7), strict=True):
            folder = tmp_path / training.name
            folder.mkdir()
            (folder / "result.json").write_text(json.dumps({
                "status": "finished", "metrics": {"test/top1": top1}, "training_seconds": 4}))
        assert summary(tmp_path)[2:] == ["| penn_action | reduced | 2 | 60.00% | 14.14% | 4 |"]


def test_killed_commands_end_as_undisturbed_ones():
    done = subprocess.run([sys.executable, KILL, "preprocess", "--kills", "2"], text=True,
                          capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "as undisturbed" in done.stdout
