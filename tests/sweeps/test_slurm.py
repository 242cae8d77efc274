"""Trainings as jobs: by submitit's local executor, and by a Slurm of four shell scripts."""

import os
import sys
import time
from pathlib import Path

import pytest
from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob
from sweep_files import COMMAND, write_sweep

from ptl_skel.errors import UserError
from sweeps.__main__ import main
from sweeps.run import coordinator as runner
from sweeps.run.files import read_sweep
from sweeps.run.slurm import SubmititExecutor

# Jobs are processes: sbatch starts the script behind it, and sacct looks whether it is there still.
SLURM = {
    "sbatch": """
for script; do true; done
number=$(( $(ls jobs | wc -l) + 70 ))
echo "$@" > jobs/$number
export SLURM_JOB_ID=$number SLURM_JOB_NODELIST=here SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_LOCALID=0 \\
    SLURM_NODEID=0 SLURM_JOB_NUM_NODES=1
setsid bash "$script" > /dev/null 2>&1 &
echo $! > jobs/$number
echo "Submitted batch job $number"
""",
    "srun": """
while [[ $1 == -* ]]; do
    if [[ $1 == --output || $1 == --error ]]; then shift; fi
    shift
done
exec "$@"
""",
    "sacct": """
echo "JobID|State|NodeList"
for job in jobs/*; do
    if kill -0 $(cat $job) 2> /dev/null; then state=RUNNING; else state=COMPLETED; fi
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
    for name, text in SLURM.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\ncd {tmp_path}\n{text}")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setattr(SlurmJob, "watcher", SlurmInfoWatcher(delay_s=0))  # else it asks rarely
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
    """The coordinator as it is, each training a job that says what it was given."""
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


def test_no_slurm_here():
    with pytest.raises(SystemExit):
        main(["run", str(write_sweep(command=COMMAND)), "--executor", "slurm"])


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

    def test_another_coordinator_finds_a_job_that_goes_on(self):
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

    def test_what_slurm_does_not_know(self):
        with pytest.raises(UserError, match=r"--slurm: .*gpus_per_nod"):
            SubmititExecutor(2, Path("submitit"), {"gpus_per_nod": 1})
