"""Trainings as jobs: by submitit's local executor, and by a Slurm of four shell scripts."""

import os
import sys
import time
from pathlib import Path

import pytest
from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob
from sweep_files import COMMAND, write_sweep

from ptl_skel.cli.verbs import main
from ptl_skel.errors import UserError
from ptl_skel.runs.record import read_metrics, read_result
from sweeps.run import coordinator as runner
from sweeps.run.files import read_sweep
from sweeps.run.slurm import SubmititExecutor

# Jobs are processes: sbatch starts the script in the background, srun its tasks, and sacct looks
# whether it still runs, unless a test gave it a state.
SLURM = {
    "sbatch": """
for script; do true; done
number=$(( $(ls jobs | wc -l) + 70 ))
touch jobs/$number
tasks=$(sed -n 's/^#SBATCH --ntasks-per-node=//p' "$script")
if [[ $tasks ]]; then export SLURM_NTASKS_PER_NODE=$tasks; fi
export SLURM_JOB_ID=$number SLURM_JOB_NODELIST=here SLURM_NTASKS=${tasks:-1} SLURM_NNODES=1 \\
    SLURM_JOB_NUM_NODES=1 SLURM_JOB_NAME=cell
setsid bash "$script" > /dev/null 2>&1 &
echo $! > jobs/$number
echo "Submitted batch job $number"
""",
    "srun": """
while [[ $1 == -* ]]; do
    if [[ $1 == --output || $1 == --error ]]; then shift; fi
    shift
done
for ((rank = 0; rank < SLURM_NTASKS; rank++)); do
    SLURM_PROCID=$rank SLURM_LOCALID=$rank SLURM_NODEID=0 "$@" &
done
wait
""",
    "sacct": """
echo "JobID|State|NodeList"
for job in jobs/*; do
    if kill -0 $(cat $job) 2> /dev/null; then state=RUNNING; else state=COMPLETED; fi
    if [[ -e states/$(basename $job) ]]; then state=$(cat states/$(basename $job)); fi
    echo "$(basename $job)|$state|here"
done
""",
    "scancel": """
for number; do true; done
kill -- -$(cat jobs/$number)
""",
}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cell").mkdir()


@pytest.fixture
def _slurm(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "jobs").mkdir()
    (tmp_path / "states").mkdir()
    for name, text in SLURM.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\ncd {tmp_path}\n{text}")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setattr(SlurmJob, "watcher", SlurmInfoWatcher(delay_s=0))  # else it asks rarely
    monkeypatch.setattr(SlurmJob, "_results_timeout_s", 0.1)  # of a job that leaves none
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def wait_for(job):
    deadline = time.monotonic() + 200
    while (code := job.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return code


def python(code):
    return [sys.executable, "-c", code]


def test_a_sweep_by_submitits_local_executor(monkeypatch):
    """The coordinator as it is, each training a job that prints what it was given."""
    script = Path("training.py")
    script.write_text(
        "import sys, json, pathlib\n"
        "arguments = sys.argv[1:]\n"
        "value = lambda flag: arguments[len(arguments) - 1 - arguments[::-1].index(flag) + 1]\n"
        "result = {'schema_version': 1, 'status': 'finished', 'metrics': {'test/top1': 0.5},\n"
        "          'model': {'params': 1, 'gmacs': 1, 'latency_ms': 1}}\n"
        "values = json.loads(value('--config'))\n"
        "print('cell', values['seed_everything'])\n"
        "if values['seed_everything'] == 1:\n"
        "    sys.exit('ptl-skel: no')\n"
        "pathlib.Path(value('--run_dir'), 'result.json').write_text(json.dumps(result))\n")
    monkeypatch.setattr(runner, "check", lambda *_: None)
    monkeypatch.setattr(runner, "command_of", lambda sweep, cell, run_dir: [
        sys.executable, str(script.absolute()), *command_of(sweep, cell, run_dir)])
    sweep = read_sweep(write_sweep(parameters={"seed_everything": {"values": [0, 1]}}))
    executor = SubmititExecutor(2, Path("out/submitit"), {}, cluster="local")
    failures = runner.run_sweep(sweep, Path("out"), executor, retries=0)
    assert failures == {"sweep-seed1": "no"}
    assert "\ncell 0\n" in Path("out/sweep-seed0/log.txt").read_text()


command_of = runner.command_of


def test_what_a_job_asks_for_needs_jobs(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["sweep", str(write_sweep(command=COMMAND)), "--dry_run", "--slurm", "timeout_min=3"])
    assert stopped.value.code == 2
    assert "--slurm timeout_min=3 has no effect without --executor slurm" in capsys.readouterr().err


def test_a_resource_without_a_value(capsys):
    with pytest.raises(SystemExit):
        main(["sweep", str(write_sweep(command=COMMAND)), "--executor", "slurm", "--slurm",
              "nodes"])
    assert "--slurm takes NAME=VALUE, got 'nodes'" in capsys.readouterr().err


def test_no_slurm_here():
    with pytest.raises(SystemExit):
        main(["sweep", str(write_sweep(command=COMMAND)), "--executor", "slurm"])


@pytest.mark.usefixtures("_slurm")
class TestSlurm:
    def test_exit_codes_and_logs(self):
        executor = SubmititExecutor(2, Path("submitit"), {"slurm_partition": "gpu",
                                                          "gpus_per_node": 1})
        job = executor.start(python("import sys; print('hello'); sys.exit(3)"), Path("cell"), 0)
        assert wait_for(job) == 3
        assert Path("cell/log.txt").read_text().endswith("\nhello\n")
        script = Path(f"submitit/{job.job.job_id}_submission.sh")
        for asked in ("partition=gpu", "gpus-per-node=1", "time=1440", "job-name=cell"):
            assert f"#SBATCH --{asked}\n" in script.read_text()

    def test_another_coordinator_finds_a_job_that_still_runs(self):
        first = SubmititExecutor(2, Path("submitit"), {})
        assert first.find(Path("cell")) is None
        first.start(python("import time, pathlib\n"
                           "while not pathlib.Path('end').exists(): time.sleep(0.05)"),
                    Path("cell"), 0)
        found = SubmititExecutor(2, Path("submitit"), {}).find(Path("cell"))
        assert found is not None
        assert found.poll() is None
        Path("end").touch()
        assert wait_for(found) == 0
        assert SubmititExecutor(2, Path("submitit"), {}).find(Path("cell")) is None

    def test_a_job_that_is_stopped(self):
        executor = SubmititExecutor(2, Path("submitit"), {})
        job = executor.start(python("import time; time.sleep(1000)"), Path("cell"), 0)
        job.stop()
        assert wait_for(job) != 0

    def test_each_task_is_a_rank_and_the_first_counts(self):
        executor = SubmititExecutor(1, Path("submitit"), {"slurm_tasks_per_node": 2})
        assert executor.tasks == (1, 2)
        job = executor.start(python("import os, sys; rank = int(os.environ['SLURM_PROCID'])\n"
                                    "print('rank', rank); assert 'JOB_NAME' not in os.environ\n"
                                    "sys.exit(0)"), Path("cell"), 0)
        assert wait_for(job) == 0
        assert Path("cell/log.txt").read_text().endswith("\nrank 0\n")
        assert Path("cell/log-1.txt").read_text().endswith("\nrank 1\n")

    def test_a_rank_that_crashes_ends_the_others(self):
        executor = SubmititExecutor(1, Path("submitit"), {"tasks_per_node": 2})
        job = executor.start(python("import os, sys, time\n"
                                    "if os.environ['SLURM_PROCID'] == '1': sys.exit(3)\n"
                                    "time.sleep(1000)"), Path("cell"), 0)
        assert wait_for(job) != 0

    def test_the_state_of_what_slurm_ended_is_noted(self):
        executor = SubmititExecutor(1, Path("submitit"), {})
        job = executor.start(python("import time; time.sleep(1000)"), Path("cell"), 0)
        assert job.poll() is None
        assert job.note() == ""
        job.stop()
        Path(f"states/{job.job.job_id}").write_text("TIMEOUT")
        assert wait_for(job) == 1
        assert job.note() == "Slurm: TIMEOUT"

    def test_a_preempted_job_is_not_left_to_slurm(self):
        """Slurm may requeue it, or leave it for good: either way it must not run twice."""
        executor = SubmititExecutor(1, Path("submitit"), {})
        job = executor.start(python("import time; time.sleep(1000)"), Path("cell"), 0)
        process = int(Path(f"jobs/{job.job.job_id}").read_text())
        Path(f"states/{job.job.job_id}").write_text("PREEMPTED")
        assert wait_for(job) == 1
        assert job.note() == "Slurm: PREEMPTED"
        deadline = time.monotonic() + 20
        while "\nState:\tZ" not in (status := Path(f"/proc/{process}/status")).read_text() if (
                Path(f"/proc/{process}").exists()) else False:
            assert time.monotonic() < deadline, status
            time.sleep(0.05)

    @pytest.mark.parametrize(("asked", "said"), [
        ({"gpus_per_nod": 1}, "gpus_per_nod"), ({"mem_gb": "much"}, "mem_gb")])
    def test_what_slurm_does_not_know(self, asked, said):
        with pytest.raises(UserError, match=rf"--slurm: .*{said}"):
            SubmititExecutor(1, Path("submitit"), asked)

    def test_a_run_on_two_devices(self, tiny_file, tiny_config, monkeypatch):
        """As a job with two tasks, and as one whose training starts the second process itself."""
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        path = write_sweep(command=[*COMMAND[:5], "--config", str(tiny_config), "--data.file",
                                    str(tiny_file), *COMMAND[7:]],
                           parameters={"seed_everything": {"value": 0}})
        curves = []
        for tasks in (1, 2):
            main(["sweep", str(path), "--executor", "slurm", "--slurm", f"tasks_per_node={tasks}",
                  "--set", "trainer.devices=2", "--set", "trainer.strategy=ddp",
                  "--out", f"runs/{tasks}"])
            run = Path(f"runs/{tasks}/sweep-seed0")
            assert read_result(run)["status"] == "finished"
            assert sorted(path.name for path in run.parent.iterdir() if path.is_dir()) == [
                "submitit", run.name]
            assert (run / "log-1.txt").exists() == (tasks == 2)
            curves.append(read_metrics(run))
        # Each process has one batch of 4 an epoch; a single process would have three.
        assert [row["step"] for row in curves[0] if "train/loss" in row] == [0, 1]
        # A process that misses the other, and trains on its half of the clips, has other losses.
        for one, other in zip(*curves, strict=True):
            assert one == pytest.approx(other, abs=1e-6)

    def test_tasks_without_as_many_devices_are_refused(self, tiny_file, tiny_config, capsys):
        path = write_sweep(command=[*COMMAND[:5], "--config", str(tiny_config), "--data.file",
                                    str(tiny_file), *COMMAND[7:]])
        with pytest.raises(SystemExit) as stopped:
            main(["sweep", str(path), "--executor", "slurm", "--slurm", "tasks_per_node=2"])
        assert stopped.value.code == 2
        assert "a job has 1 x 2 processes (nodes x tasks_per_node), but its trainer expects" in (
            capsys.readouterr().err)
