"""Runs of several processes, started in each of the ways that users start them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tiny import CONFIG

from ptl_skel.runs.folder import reserve_folder
from ptl_skel.runs.record import read_metrics, read_result

TWO = ("--trainer.devices", "2", "--trainer.strategy", "ddp")


@pytest.fixture
def arguments(tiny_file, tmp_path, monkeypatch):
    """Of `ptl_skel fit` with the defaults, Weights & Biases among them."""
    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_MODE", "WANDB_RUN_ID", "WANDB_SWEEP_ID", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    config = tmp_path / "default.yaml"
    config.write_text(json.dumps({name: part for name, part in CONFIG.items() if name != "wandb"}))
    return ["-m", "ptl_skel", "fit", "--config", str(config), "--data.file", str(tiny_file)]


def start(*command, **environment):
    path = f"{Path(__file__).parents[2]}{os.pathsep}{Path(__file__).parents[1]}"
    return subprocess.Popen([sys.executable, *command], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT,
                            env={**os.environ, "PYTHONPATH": path, **environment})


def ended(*processes):
    """Waits for processes; what they printed."""
    said = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(said)
    return said


def check(runs):
    assert [run.name for run in runs.iterdir()] == ["tiny-cross"]
    run = runs / "tiny-cross"
    result = read_result(run)
    assert (result["status"], result["tested"]) == ("finished", "best.ckpt")
    assert "test/top1" in result["metrics"]
    assert (run / "predictions.npz").is_file()
    assert [row["epoch"] for row in read_metrics(run) if "train/loss" in row] == [0, 1]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_started_by_lightning(arguments):
    ended(start(*arguments, *TWO))
    check(Path("runs"))
    mirrored, = Path("runs/tiny-cross/wandb").glob("offline-run-*")
    assert mirrored.is_dir()


def test_started_by_torchrun(arguments):
    ended(start("-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port",
                free_port(), *arguments, *TWO, "--wandb", "off"))
    check(Path("runs"))


def slurm(rank, tasks, port):
    return {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": str(tasks),
            "SLURM_NTASKS_PER_NODE": str(tasks), "SLURM_PROCID": str(rank),
            "SLURM_LOCALID": str(rank), "SLURM_NODEID": "0", "SLURM_NODELIST": "127.0.0.1",
            "MASTER_PORT": port}


def test_started_by_slurm_and_continued(arguments):
    """Each task is a rank; the second job continues the first."""
    for epochs in ("1", "2"):
        port = free_port()
        ended(*(start(*arguments, *TWO, "--wandb", "off", "--run_dir", "runs/tiny-cross",
                      "--ckpt_path", "last", "--trainer.max_epochs", epochs, **slurm(rank, 2, port))
                for rank in range(2)))
    check(Path("runs"))


def test_slurm_with_another_number_of_tasks_is_refused(arguments):
    process = start(*arguments, *TWO, "--wandb", "off", **slurm(0, 1, free_port()))
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 2, said
    assert "Traceback" not in said
    assert "--ntasks" in said
    assert not Path("runs").exists()


def test_processes_that_cannot_meet_are_recorded(arguments):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        process = start(*arguments, *TWO, "--wandb", "off", **slurm(0, 2, port))
        said = process.communicate(timeout=120)[0]
    assert process.returncode != 0
    assert "Traceback" in said
    result = read_result(Path("runs/tiny-cross"))
    assert result["status"] == "failed"
    assert port in result["error"]
    assert Path("runs/tiny-cross/error.txt").is_file()


def test_a_bug_in_one_process_is_recorded(arguments):
    process = start(*arguments, *TWO, "--wandb", "off",
                    "--trainer.callbacks+=stopping.FailInSecondProcess")
    said = process.communicate(timeout=120)[0]
    assert process.returncode != 0
    assert "ZeroDivisionError" in said
    result = read_result(Path("runs/tiny-cross"))
    assert result["status"] == "failed"
    assert result["error"] == "rank 1: ZeroDivisionError: only here"
    assert "ZeroDivisionError" in Path("runs/tiny-cross/error-rank1.txt").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can end processes with another")
@pytest.mark.parametrize("moment", [0.0, 3.0])
def test_a_killed_run_leaves_no_process(arguments, moment):
    """Also while its processes are still looking for each other."""
    process = start(*arguments, *TWO, "--wandb", "off", "--trainer.max_epochs", "100000")
    children = wait_for(lambda: children_of(process.pid))
    time.sleep(moment)
    process.kill()
    process.communicate(timeout=60)
    wait_for(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


@pytest.mark.parametrize("moment", [1.0, 3.0])
def test_ctrl_c_while_the_processes_start(arguments, moment):
    process = start(*arguments, *TWO, "--wandb", "off", "--trainer.max_epochs", "100000")
    wait_for(lambda: children_of(process.pid))
    time.sleep(moment)
    for one in (process.pid, *map(int, children_of(process.pid))):  # as a terminal does
        os.kill(one, signal.SIGINT)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 130, said
    assert read_result(Path("runs/tiny-cross"))["status"] == "interrupted"


def children_of(parent):
    """Processes of the framework that another one has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and "ptl_skel" in (folder / "cmdline").read_text():
                found.append(folder.name)
    return found


def wait_for(condition, seconds=60):
    """Its first true value."""
    patience = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < patience
        time.sleep(0.1)
    return value


def test_two_runs_started_in_the_same_second(arguments):
    ended(*(start(*arguments, "--wandb", "off") for _ in range(2)))
    runs = sorted(Path("runs").iterdir())
    assert [run.name for run in runs] == ["tiny-cross", "tiny-cross-2"]
    assert all(read_result(run)["status"] == "finished" for run in runs)


def test_every_run_gets_a_folder_of_its_own(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(reserve_folder, [tmp_path / "runs" / "same"] * 64))
    assert set(Counter(folders).values()) == {1}
    assert all(folder.is_dir() for folder in folders)
