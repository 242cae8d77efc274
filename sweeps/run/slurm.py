"""Trainings as Slurm jobs, through submitit: the coordinator stays on the login node.

Jobs outlive a coordinator that is killed; the next one finds them by the id in their run folder.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import submitit

from ptl_skel.atomic import write_text
from ptl_skel.errors import UserError
from sweeps.run.process import train

JOB = "job.txt"
"""The id of a training's job, in its run folder."""
DEFAULTS = {"timeout_min": 24 * 60}
"""What a job asks for; submitit's own limit is five minutes."""


class SubmititExecutor:
    """Trainings as jobs of a cluster.

    Args:
        slots: How many jobs are queued or running at the same time.
        folder: Where submitit writes its files.
        parameters: What a job asks for, by submitit's names, e.g. ``gpus_per_node``,
            ``cpus_per_task``, ``timeout_min``, ``slurm_partition``.
        cluster: ``slurm``; ``local`` runs the jobs here, by the same code.

    Raises:
        UserError: There is no Slurm here, or no such parameter.
    """

    def __init__(self, slots: int, folder: Path, parameters: Mapping[str, Any],
                 cluster: str = "slurm") -> None:
        self.slots, self.folder, self.cluster = slots, folder, cluster
        try:
            self.executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
            self.executor.update_parameters(**{**DEFAULTS, **parameters})
        except RuntimeError as error:
            raise UserError("--executor slurm needs Slurm's srun and sbatch, which are not "
                            "here; start it on a login node") from error
        except NameError as error:
            raise UserError(f"--slurm: {str(error).splitlines()[0]}") from error

    def start(self, command: list[str], run_dir: Path, slot: int) -> SubmititJob:
        """See `sweeps.run.jobs.Executor`."""
        self.executor.update_parameters(name=run_dir.name[:100])
        job = self.executor.submit(train, command, run_dir.absolute())
        write_text(run_dir / JOB, job.job_id)
        return SubmititJob(job)

    def shown(self, command: list[str], slot: int) -> str:
        """See `sweeps.run.jobs.Executor`."""
        return shlex.join(command)

    def find(self, run_dir: Path) -> SubmititJob | None:
        """See `sweeps.run.jobs.Executor`."""
        if self.cluster != "slurm" or not (run_dir / JOB).is_file():
            return None
        number = (run_dir / JOB).read_text(encoding="utf-8")
        job: submitit.Job[int] = submitit.SlurmJob(self.folder, number)
        return None if job.done(force_check=True) else SubmititJob(job)


class SubmititJob:
    """A job of a cluster."""

    def __init__(self, job: submitit.Job[int]) -> None:
        self.job = job

    def poll(self) -> int | None:
        """See `sweeps.run.jobs.Job`."""
        if not self.job.done():
            return None
        try:
            return self.job.result()
        except Exception:  # cancelled, out of time or memory, a lost node: submitit has many words
            return 1

    def stop(self) -> None:
        """See `sweeps.run.jobs.Job`."""
        self.job.cancel(check=False)
