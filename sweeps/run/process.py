"""The process of a training; quick to import, since every job of a cluster does so."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from ptl_skel.runs.process import die_with

LOG = "log.txt"
"""Output of a training, in its run folder; ranks after the first have ``log-<rank>.txt``."""


def train(command: list[str], run_dir: Path) -> int:
    """Runs a training on the node of a job, as one of its tasks; returns its exit code.

    With several tasks, each runs the same command as one rank of Lightning, which finds its rank in
    Slurm's variables. A single task is an ordinary process: with the job name ``interactive``
    Lightning ignores Slurm, and starts a process for each further device itself.
    """
    from submitit import JobEnvironment  # submitit has started this process

    job = JobEnvironment()
    environment = dict(os.environ)
    if job.num_tasks == 1:
        environment["SLURM_JOB_NAME"] = "interactive"
    name = LOG if job.global_rank == 0 else f"log-{job.global_rank}.txt"
    with (run_dir / name).open("ab") as log:
        log.write(f"$ {shlex.join(command)}\n".encode())
        log.flush()
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                              env=environment, preexec_fn=die_with(os.getpid()),
                              check=False).returncode
