"""The coordinator: what it starts, in which order, and what it makes of how trainings end."""

import csv
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from rich.console import Console
from sweep_files import COMMAND, SWEEP, Script, epochs_of, write_record, write_sweep

from ptl_skel.cli.verbs import main
from ptl_skel.errors import UserError
from ptl_skel.runs.record import read_metrics, read_result
from sweeps.run import coordinator as runner
from sweeps.run import jobs, progress
from sweeps.run.coordinator import run_sweep
from sweeps.run.files import read_sweep
from sweeps.run.jobs import LocalExecutor
from sweeps.run.watch import Curve

CELLS = ["clip_len=8-seed0", "clip_len=12-seed0", "clip_len=8-seed1", "clip_len=12-seed1"]
FINISHED = {"test_top1": 0.5, "test_loss": 1.0, "val_top1": 0.4}
HALVED = {"metric": {"name": "val/top1", "goal": "maximize"},
          "early_terminate": {"type": "hyperband", "min_iter": 2, "eta": 2}}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "POLL", 0)


@pytest.fixture
def run(monkeypatch):
    """Runs a sweep whose trainings are functions, without the parser."""
    def run(script, retries=1, **changes):
        monkeypatch.setattr(runner, "check", lambda *_: None)
        return run_sweep(read_sweep(write_sweep(**changes)), Path("out"), script, retries)

    return run


def succeed(values, run_dir, looks):
    write_record(run_dir, **FINISHED)
    return 0


def state():
    return json.loads(Path("out/sweep.json").read_text())


def states():
    return {cell["name"]: cell["state"] for cell in state()["cells"]}


class TestGrid:
    def test_every_cell_once_and_never_again(self, run, capsys):
        script = Script(succeed)
        assert run(script) == {}
        assert script.started == CELLS
        assert states() == dict.fromkeys(CELLS, "finished")
        said = capsys.readouterr().out
        assert said.count(" finished: test/top1 0.5000\n") == 4
        assert run(script) == {}
        assert script.started == CELLS

    def test_the_state_catches_up_with_a_coordinator_that_was_killed(self, run):
        """In the moment after it had closed the last cell, before it wrote the state."""
        run(Script(succeed))
        path = Path("out/sweep.json")
        content = json.loads(path.read_text())
        content["cells"][-1]["state"] = "running"
        path.write_text(json.dumps(content))
        run(Script(succeed))
        assert states() == dict.fromkeys(CELLS, "finished")

    def test_the_state_lists_cells_for_reports(self, run):
        run(Script(succeed))
        cell = state()["cells"][1]
        command = cell.pop("command")
        assert cell == {"name": CELLS[1], "arm": "clip_len=12", "seed": 0, "state": "finished",
                        "error": None, "values": {"seed_everything": 0, "data.clip_len": 12}}
        assert command.startswith(sys.executable)
        assert command.endswith(f"--run_dir out/{CELLS[1]} --ckpt_path last")
        assert state()["metric"] == "test/top1"

    @pytest.mark.parametrize("slots", [1, 2, 3, 7])
    def test_as_many_at_a_time_as_there_are_slots(self, run, slots):
        def slow(values, run_dir, looks):
            return succeed(values, run_dir, looks) if looks == 3 else None

        script = Script(slow, slots)
        run(script)
        assert sorted(script.started) == sorted(CELLS)
        assert script.most == min(slots, 4)

    def test_run_cap(self, run):
        script = Script(succeed)
        run(script, run_cap=3)
        assert script.started == CELLS[:3]

    def test_a_grid_may_grow_and_shrink(self, run, capsys):
        script = Script(succeed)
        run(script, run_cap=1)
        seeds, lengths = {"values": [0, 1]}, {"values": [8, 16]}
        run(script, parameters={"seed_everything": seeds, "data.clip_len": lengths})
        assert script.started == [CELLS[0], "clip_len=16-seed0", CELLS[2], "clip_len=16-seed1"]
        assert len(state()["cells"]) == 4

    def test_begun_cells_that_are_no_longer_in_the_file(self, run, capsys):
        def stop(values, run_dir, looks):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(Script(stop))
        script = Script(succeed)
        run(script, parameters={"seed_everything": {"values": [0, 1]},
                                "data.clip_len": {"values": [9, 12]}})
        assert f"not in the file any more, and left as they are: {CELLS[0]}" in (
            capsys.readouterr().out)
        assert CELLS[0] not in script.started
        assert CELLS[2] not in script.started
        assert len(script.started) == 4
        run(script)
        assert script.started[4:] == [CELLS[0], CELLS[2]]

    @pytest.mark.parametrize(("changes", "said"), [
        ({"command": [*COMMAND[:5], "--wandb", "off", *COMMAND[5:]]}, "another `command`"),
        ({"method": "random"}, "another `method` (grid)"),
        ({"parameters": {**SWEEP["parameters"], "data.size": {"value": 3}}},
         "begun with another value of data.size"),
    ])
    def test_another_sweep_in_the_folder_is_refused(self, run, changes, said):
        run(Script(succeed), run_cap=1)
        with pytest.raises(UserError, match="give --out another folder") as raised:
            run(Script(succeed), **changes)
        assert said.replace("`", "") in str(raised.value).replace("`", "")

    def test_two_coordinators(self, run):
        def nested(values, run_dir, looks):
            with pytest.raises(UserError, match=rf"process \({os.getpid()}\) is working in out"):
                run(Script(succeed))
            return succeed(values, run_dir, looks)

        assert run(Script(nested), run_cap=1) == {}

    def test_values_keep_their_types(self, run):
        seen = []

        def look(values, run_dir, looks):
            seen.append(values["x"])
            return succeed(values, run_dir, looks)

        given = [None, True, 1, 1.5, "a b", [1, 2], {"y": None, "z": [0.5]}]
        run(Script(look), parameters={"x": {"values": given}})
        assert seen == given
        assert all(type(one) is type(other) for one, other in zip(seen, given, strict=True))
        assert list(states()) == ["x=null", "x=true", "x=1", "x=1.5", "x=a_b", "x=1-2",
                                  "y=null,z=0.5"]


class TestFailures:
    def test_a_crash_is_tried_again_as_often_as_asked_for(self, run, capsys):
        def crash(values, run_dir, looks):
            if values["data.clip_len"] == 8:
                write_record(run_dir, status="failed", error="RuntimeError: no\nmemory")
                return 1
            return succeed(values, run_dir, looks)

        script = Script(crash)
        assert run(script, retries=2) == dict.fromkeys(
            (CELLS[0], CELLS[2]), "RuntimeError: no")
        assert script.started == [CELLS[0]] * 3 + [CELLS[1]] + [CELLS[2]] * 3 + [CELLS[3]]
        assert states() == dict(zip(CELLS, ["failed", "finished"] * 2, strict=True))
        assert state()["cells"][0]["error"] == "RuntimeError: no"
        said = capsys.readouterr().out
        assert (f"{CELLS[0]} ended early and continues from its last checkpoint: "
                "RuntimeError: no\n") in said
        assert f"{CELLS[0]} failed: RuntimeError: no" in said

    def test_the_same_command_tries_again_what_failed(self, run):
        assert len(run(Script(lambda values, run_dir, looks: 1), retries=0)) == 4
        script = Script(succeed)
        assert run(script) == {}
        assert script.started == CELLS

    def test_a_training_that_advances_is_not_given_up(self, run):
        """As after a time limit or a preemption; each start gets one epoch further."""
        def limited(values, run_dir, looks):
            epochs = len(script.started)
            if epochs == 6:
                return succeed(values, run_dir, looks)
            write_record(run_dir, status="running", curve=curve(*[0.5] * epochs))
            return -15

        script = Script(limited)
        assert run(script, retries=0, run_cap=1) == {}
        assert len(script.started) == 6

    def test_only_starts_in_a_row_without_a_new_epoch_count(self, run):
        reached = iter([2, 2, 3, 3, 2, 9])  # epochs at the end of each start; 2 after 3 is no gain

        def limited(values, run_dir, looks):
            write_record(run_dir, status="running", curve=curve(*[0.5] * next(reached)))
            return 1

        script = Script(limited)
        assert run(script, retries=1, run_cap=1) == {CELLS[0]: "exit code 1"}
        assert len(script.started) == 5

    def test_a_mistake_is_not_tried_again(self, run):
        def refuse(values, run_dir, looks):
            (run_dir / "log.txt").write_text(
                "$ first try\nptl-skel: something else\n$ second try\nwandb: hello\n"
                "ptl-skel: `data.clip_len` must be >= 1, got 0\nwandb: bye\n")
            return 2

        script = Script(refuse)
        assert run(script, retries=5, run_cap=1) == {
            CELLS[0]: "`data.clip_len` must be >= 1, got 0"}
        assert len(script.started) == 1

    @pytest.mark.parametrize(("code", "said"), [(-9, "killed by SIGKILL"), (3, "exit code 3")])
    def test_a_training_that_says_nothing(self, run, code, said):
        assert run(Script(lambda values, run_dir, looks: code), run_cap=1) == {CELLS[0]: said}

    def test_a_metric_that_the_run_did_not_log(self, run):
        def train(values, run_dir, looks):
            write_record(run_dir, test_top1=0.5)
            return 0

        with pytest.raises(UserError) as raised:
            run(Script(train), metric={"name": "val/top1", "goal": "maximize"})
        assert str(raised.value) == (
            f"out/{CELLS[0]} is finished, but has logged no val/top1: nothing is held out for "
            "validation, see data.val_fraction; it has: test/top1, params, gmacs, latency_ms")

    def test_ctrl_c_stops_what_runs_and_the_same_command_continues(self, run):
        def interrupted(values, run_dir, looks):
            if len(script.started) == 2 and looks == 2:
                raise KeyboardInterrupt
            return

        script = Script(interrupted, slots=2)
        with pytest.raises(KeyboardInterrupt):
            run(script)
        assert script.stopped == CELLS[:2]
        again = Script(succeed, slots=2)
        assert run(again) == {}
        assert again.started == CELLS

    def test_a_cell_that_ended_while_the_coordinator_was_dead_is_not_run_again(self, run):
        def die(values, run_dir, looks):
            write_record(run_dir, **FINISHED)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(Script(die))
        script = Script(succeed)
        assert run(script) == {}
        assert script.started == CELLS[1:]
        assert set(states().values()) == {"finished"}


def curve(*top1):
    return [{"epoch": epoch, "step": epoch, "val/top1": value} for epoch, value in enumerate(top1)]


class TestEarlyTermination:
    def test_of_two_the_worse_is_stopped_after_the_first_epochs(self, run, capsys):
        def train(values, run_dir, looks):
            good = values["data.clip_len"] == 8
            write_record(run_dir, status="running",
                         curve=curve(*[0.5 + 0.1 * good] * looks))
            return succeed(values, run_dir, looks) if looks == 6 else None

        script = Script(train)
        assert run(script, **HALVED, run_cap=2) == {}
        assert script.stopped == [CELLS[1]]
        assert states() == {CELLS[0]: "finished", CELLS[1]: "stopped early"}
        assert f"{CELLS[1]} lags behind and was stopped" in capsys.readouterr().out
        # Two epochs are what the first comparison needs: no earlier, no later.
        assert len(read_metrics(Path("out") / CELLS[1])) == 2

    def test_the_best_always_continues(self, run):
        def train(values, run_dir, looks):
            rank = 2 * values["seed_everything"] + values["data.clip_len"] // 12
            write_record(run_dir, status="running", curve=curve(*[0.1 * rank] * looks))
            return succeed(values, run_dir, looks) if looks == 9 else None

        script = Script(train)
        run(script, **HALVED)  # each better than those before
        assert script.stopped == []

    def test_a_metric_that_becomes_nan(self, run):
        def train(values, run_dir, looks):
            write_record(run_dir, status="running", curve=curve(*[math.nan] * looks))
            return

        script = Script(train)
        run(script, **HALVED)
        assert script.stopped == CELLS


class TestCosts:
    """What a look at the trainings costs, on the cores whose latency is measured."""

    def test_no_trial_is_copied(self, run, monkeypatch):
        """Copies of all trials took 1.6 s a look at 40 trials of 240 epochs."""
        get_trials = optuna.Study.get_trials

        def uncopied(study, deepcopy=True, states=None):
            assert not deepcopy
            return get_trials(study, deepcopy, states)

        monkeypatch.setattr(optuna.Study, "get_trials", uncopied)
        monkeypatch.setattr(optuna.Study, "trials", property(lambda study: 1 / 0))

        def train(values, run_dir, looks):
            write_record(run_dir, status="running", curve=curve(*[0.5] * looks))
            return succeed(values, run_dir, looks) if looks == 4 else None

        assert run(Script(train), **HALVED) == {}

    def test_an_epoch_is_reported_once_also_after_a_restart(self, run, monkeypatch):
        reported = []
        report = optuna.Trial.report
        monkeypatch.setattr(optuna.Trial, "report", lambda trial, value, step: (
            reported.append(step), report(trial, value, step)))

        def train(values, run_dir, looks):
            done = looks if reported[2:] == [] or looks > 2 else 3
            write_record(run_dir, status="running", curve=curve(*[0.5] * done))
            if looks == 3 and len(script.started) == 1:
                raise KeyboardInterrupt
            return succeed(values, run_dir, looks) if looks == 5 else None

        script = Script(train)
        with pytest.raises(KeyboardInterrupt):
            run(script, **HALVED, run_cap=1)
        script.started.append("again")
        run(script, **HALVED, run_cap=1)
        assert reported == [1, 2, 3, 4, 5]

    def test_the_state_is_written_only_when_it_changes(self, run, monkeypatch):
        written = []
        write = runner.write_text
        monkeypatch.setattr(runner, "write_text", lambda path, text: (
            written.append(text), write(path, text)))
        run(Script(lambda values, run_dir, looks: 1 if looks == 3 else None), retries=3, run_cap=2)
        assert written
        assert all(one != other for one, other in itertools.pairwise(written))

    def test_only_new_rows_of_a_curve_are_parsed(self, tmp_path, monkeypatch):
        parsed, reader = [], csv.DictReader
        monkeypatch.setattr(csv, "DictReader", lambda lines, names: (
            parsed.append(lines), reader(lines, names))[1])
        file, watched = tmp_path / "metrics.csv", Curve(tmp_path)
        watched.update()
        assert watched.rows == []
        for text, epochs, lines in (
                ("epoch,st", 0, []), ("epoch,step\r\n0,5\r\n1,", 1, ["0,5"]),
                ("epoch,step\r\n0,5\r\n1,11\r\n", 2, ["1,11"]),
                ("epoch,step,x\r\n0,5,\r\n1,11,\r\n2,17,0.5\r\n", 3,  # with another header
                 ["0,5,", "1,11,", "2,17,0.5"]),
                ("epoch,step,x\r\n0,5,\r\n", 1, ["0,5,"])):  # begun anew
            file.write_bytes(text.encode())
            watched.update()
            assert (watched.epochs, parsed[-1]) == (epochs, lines)
            watched.update()
        assert len(parsed) == 5
        assert watched.rows == [{"epoch": 0.0, "step": 5.0}]


class TestSearch:
    SPACE = {"model.optimizer.init_args.lr": {"min": 0.001, "max": 0.1,  # noqa: RUF012
                                              "distribution": "log_uniform_values"},
             "data.clip_len": {"min": 8, "max": 32},
             "model.lr_batch_size": {"values": [None, 64]}, "trainer.max_epochs": {"value": 2}}

    @pytest.mark.parametrize("method", ["random", "bayes"])
    def test_as_many_as_asked_for_within_the_ranges_and_all_different(self, run, method):
        script = Script(succeed, slots=2)
        assert run(script, method=method, parameters=self.SPACE, run_cap=8) == {}
        assert len(script.started) == len(set(script.started)) == 8
        values = [cell["values"] for cell in state()["cells"]]
        assert len({json.dumps(one) for one in values}) == 8
        assert all(0.001 <= one["model.optimizer.init_args.lr"] <= 0.1 for one in values)
        assert all(8 <= one["data.clip_len"] <= 32 and type(one["data.clip_len"]) is int
                   for one in values)
        assert {one["model.lr_batch_size"] for one in values} == {None, 64}
        assert {one["trainer.max_epochs"] for one in values} == {2}

    def test_an_interrupted_random_search_samples_the_same(self, run, monkeypatch, tmp_path):
        whole = Script(succeed)
        run(whole, method="random", parameters=self.SPACE, run_cap=6)
        (tmp_path / "again").mkdir()
        monkeypatch.chdir("again")
        for cap in (2, 4, 6):
            part = Script(succeed)
            run(part, method="random", parameters=self.SPACE, run_cap=cap)
            assert part.started == whole.started[cap - 2: cap]

    @pytest.mark.parametrize("method", ["random", "bayes"])
    def test_a_space_with_an_end_is_gone_through_once(self, run, method):
        script = Script(succeed)
        run(script, method=method)
        assert sorted(name.partition("-")[2] for name in script.started) == sorted(CELLS)

    def test_bayes_comes_closer_to_the_best(self, run):
        def train(values, run_dir, looks):
            write_record(run_dir, test_top1=1 - (values["model.dropout"] - 0.7) ** 2)
            return 0

        space = {"model.dropout": {"min": 0.0, "max": 1.0}}
        run(Script(train), method="bayes", parameters=space, run_cap=30)
        drawn = [cell["values"]["model.dropout"] for cell in state()["cells"]]
        far = [sum(abs(value - 0.7) for value in part) / len(part)
               for part in (drawn[:10], drawn[20:])]
        assert far[1] < far[0] / 2

    def test_another_space_in_the_folder_is_refused(self, run):
        run(Script(succeed), method="random", parameters=self.SPACE, run_cap=1)
        with pytest.raises(UserError, match="another `parameters`"):
            run(Script(succeed), method="random", run_cap=3)


class TestSlots:
    def test_each_has_its_share_of_the_cores(self, monkeypatch):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        assert LocalExecutor(3).environment(2) == {"OMP_NUM_THREADS": "2"}
        assert LocalExecutor(20).environment(19) == {"OMP_NUM_THREADS": "1"}
        monkeypatch.setenv("OMP_NUM_THREADS", "5")
        assert LocalExecutor(3).environment(0) == {"OMP_NUM_THREADS": "5"}

    @pytest.mark.parametrize(("slots", "shares"), [
        (1, ["3,5,6,7"]), (2, ["3,5", "6,7"]), (3, ["3", "5", "6"]),
        (6, ["3", "5", "6", "7", "3", "5"])])
    def test_each_has_its_share_of_the_gpus(self, monkeypatch, slots, shares):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,6,7")
        assert [LocalExecutor(slots).environment(slot)["CUDA_VISIBLE_DEVICES"]
                for slot in range(slots)] == shares

    def test_gpus_that_the_driver_lists(self, monkeypatch, tmp_path):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        fake = tmp_path / "nvidia-smi"
        fake.write_text("#!/bin/sh\necho 'GPU 0: A'\necho 'GPU 1: B'\n")
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        assert LocalExecutor(1).gpus == ["0", "1"]


@pytest.fixture
def tiny_sweep(tiny_file, tiny_config):
    """A sweep of real trainings on the tiny file."""
    def tiny_sweep(**changes):
        flags = ["--config", str(tiny_config), "--data.file", str(tiny_file)]
        return write_sweep(command=[*COMMAND[:5], *flags, *COMMAND[7:]], **changes)

    return tiny_sweep


class TestCommand:
    def refusal(self, capsys, *arguments):
        with pytest.raises(SystemExit) as stopped:
            main(["sweep", *map(str, arguments)])
        said = capsys.readouterr().err
        assert stopped.value.code == 2
        assert said.startswith("ptl-skel: ")
        return said

    def test_dry_run_prints_what_would_run_and_changes_nothing(self, tiny_sweep, tiny_file, capsys):
        main(["sweep", str(tiny_sweep()), "--dry_run", "--slots", "2"])
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1] == "4 runs, 2 at a time"
        assert len(lines) == 5
        for line, name in zip(lines, CELLS, strict=False):
            assert f"{sys.executable} -m ptl_skel fit " in line
            assert f"--data.file {tiny_file}" in line
            assert line.endswith(f" --run_dir runs/sweep/{name} --ckpt_path last")
        assert """'{"seed_everything": 0, "data.clip_len": 12}'""" in lines[1]
        assert [path.name for path in Path().iterdir()] == ["sweep.yaml"]

    def test_dry_run_of_a_sweep_that_was_begun(self, tiny_sweep, run, monkeypatch, capsys):
        path = tiny_sweep(run_cap=3)
        with monkeypatch.context() as patch:
            patch.setattr(runner, "check", lambda *_: None)
            run_sweep(read_sweep(path), Path("runs/sweep"), Script(succeed), 0)
        capsys.readouterr()
        main(["sweep", str(tiny_sweep()), "--dry_run"])
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1] == "4 runs, 1 at a time, 3 of them done"
        assert CELLS[3] in lines[0]
        assert len(lines) == 2

    @pytest.mark.parametrize(("parameters", "said"), [
        ({"data.clip_length": {"values": [3]}}, "data.clip_length"),
        ({"data.clip_len": {"values": [8, "many"]}}, "data.clip_len"),
        ({"model.backbone": {"values": ["backbone/absent.yaml"]}}, "backbone/absent.yaml"),
        ({"data.file": {"value": "absent.h5"}}, "keypoint file absent.h5 does not exist; "),
    ])
    def test_impossible_values(self, tiny_sweep, capsys, parameters, said):
        message = self.refusal(capsys, tiny_sweep(parameters=parameters))
        assert "sweep.yaml: " in message
        assert said in message
        assert not Path("runs").exists()

    @pytest.fixture
    def scripted(self, monkeypatch):
        """Makes functions of the trainings of the command."""
        def scripted(train):
            monkeypatch.setattr(runner, "check", lambda *_: None)
            monkeypatch.setattr(jobs, "LocalExecutor", lambda slots: Script(train, slots))

        return scripted

    def test_failures_are_listed_at_the_end(self, scripted, capsys):
        scripted(lambda values, run_dir, looks: values["seed_everything"] or succeed(
            values, run_dir, looks))
        with pytest.raises(SystemExit) as stopped:
            main(["sweep", str(write_sweep()), "--out", "out", "--slots", "2", "--retries", "0"])
        assert stopped.value.code == 1
        assert capsys.readouterr().err.splitlines() == [
            f"failed: {CELLS[2]}: exit code 1", f"failed: {CELLS[3]}: exit code 1",
            "ptl-skel sweep: 2 failed, see out/<name>/log.txt; the same command tries again"]

    def test_ctrl_c(self, scripted, capsys):
        def interrupt(values, run_dir, looks):
            os.kill(os.getpid(), signal.SIGTERM)  # is taken for one

        scripted(interrupt)
        with pytest.raises(SystemExit) as stopped:
            main(["sweep", str(write_sweep())])
        assert stopped.value.code == 130
        assert "stopped; the same command continues" in capsys.readouterr().err

    def test_live_table(self, scripted, capsys, monkeypatch):
        monkeypatch.setattr(progress, "console", Console(force_terminal=True, width=100))

        def train(values, run_dir, looks):
            if looks == 1:
                write_record(run_dir, status="running", curve=[
                    {"epoch": 6, "step": 9, "train/loss": 1.25}])
                return None
            return succeed(values, run_dir, looks)

        scripted(train)
        main(["sweep", str(write_sweep())])
        said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().out)
        assert re.search(rf"{CELLS[1]} +7 +1\.2500 +- +0\.0", said)
        assert "1 of 4 finished, 1 running, about 0 min left" in said

    def test_other_mistakes(self, tiny_sweep, capsys):
        assert "No such file" in self.refusal(capsys, "absent.yaml")
        Path("taken").write_text("")
        assert "--out taken/there cannot be written" in self.refusal(
            capsys, tiny_sweep(), "--out", "taken/there")

    def test_killed_with_its_training_and_continued(self, tiny_sweep, monkeypatch):
        """A kill that nothing can catch: no training continues, no cell is lost or run twice."""
        monkeypatch.setattr(runner, "POLL", 0.2)
        monkeypatch.setenv("OMP_NUM_THREADS", "1")  # tensors too small to share
        epochs = 30
        path = tiny_sweep(parameters={"seed_everything": {"values": [0, 1]}, "trainer.max_epochs":
                                      {"value": epochs}, "data.val_fraction": {"value": 0.0}})
        names = [Path("runs/sweep/sweep-seed0"), Path("runs/sweep/sweep-seed1")]
        command = [sys.executable, "-m", "ptl_skel", "sweep", str(path)]
        with subprocess.Popen(command) as coordinator:
            wait_until(lambda: epochs_of(names[0]) > 3 or coordinator.poll() is not None)
            training, = children(coordinator.pid)
            coordinator.kill()
        wait_until(lambda: not alive(training))
        assert 3 < len(read_metrics(names[0])) < epochs
        main(["sweep", str(path)])
        for name, times in zip(names, (2, 1), strict=True):
            assert [row["epoch"] for row in read_metrics(name) if "train/loss" in row] == list(
                range(epochs))
            assert read_result(name)["status"] == "finished"
            assert (name / "log.txt").read_text().count("$ ") == times
        assert [path for path in Path("runs/sweep").iterdir() if path.is_dir()
                and path not in names] == []


def wait_until(condition):
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children(process):
    tasks = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(child) for child in tasks.split()]


def alive(process):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("arguments", [["sweep"], ["report"]])
def test_help_is_quick(arguments):
    """It loads none of the libraries that the work needs."""
    code = ("import sys\nfrom ptl_skel.cli.verbs import main\ntry: main(sys.argv[1:])\n"
            "except SystemExit: pass\nprint(sorted({'torch', 'lightning', 'optuna', 'submitit', "
            "'wandb', 'plotly', 'matplotlib', 'pandas', 'pydantic', 'numpy'} & set(sys.modules)))")
    said = subprocess.run([sys.executable, "-c", code, *arguments, "--help"], text=True,
                          capture_output=True, check=True).stdout
    assert said.startswith("usage: ")
    assert said.endswith("\n[]\n")


@pytest.mark.parametrize(("arguments", "said"), [
    (["sweep"], "required: FILE"),
    (["sweep", "x.yaml", "--slots", "0"], "argument --slots: must be >= 1, got 0"),
    (["sweep", "x.yaml", "--dry-run"], "`ptl-skel sweep --help` lists the options"),
    (["report"], "required: RUNS; `ptl-skel report --help` lists the options")])
def test_mistakes_on_the_command_line(capsys, arguments, said):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
