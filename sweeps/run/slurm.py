"""Trainings as Slurm jobs, through submitit: the coordinator stays on the login node.

Jobs outlive a coordinator that is killed; the next one finds them by the id in their run folder.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import submitit

from ptl_skel.atomic import write_text
from ptl_skel.errors import UserError

from .process import train

JOB = "job.txt"
"""The id of a training's job, in its run folder."""
DEFAULTS = {"timeout_min": 24 * 60, "nodes": 1, "tasks_per_node": 1}
"""Default resources of a job; submitit's own time limit is five minutes. Slurm passes the number of
tasks on a node, which Lightning needs, only to a job that requests a number."""
_GENERIC = {"slurm_ntasks_per_node": "tasks_per_node",
            **{f"slurm_{name}": name for name in DEFAULTS}}
"""Other names of these resources, which would not replace the defaults."""


class SubmititExecutor:
    """Trainings as jobs of a cluster.

    A run on several GPUs is either a job with one task, whose training starts its other processes
    itself (``gpus_per_node=2``), or one with a task for each GPU (``tasks_per_node=2`` as well),
    which is required for several nodes.

    Args:
        slots: Number of jobs that are queued or running at the same time.
        folder: Folder for submitit's files.
        parameters: Resources of a job, with submitit's names, e.g. ``gpus_per_node``,
            ``cpus_per_task``, ``timeout_min``, ``slurm_partition``.
        cluster: ``slurm``; ``local`` runs the jobs on this machine, with the same code.

    Raises:
        UserError: There is no Slurm, no such parameter, or a value has a wrong type.
    """

    def __init__(self, slots: int, folder: Path, parameters: Mapping[str, Any],
                 cluster: str = "slurm") -> None:
        self.slots, self.folder, self.cluster = slots, folder, cluster
        resources = {**DEFAULTS, **{_GENERIC.get(name, name): value
                                    for name, value in parameters.items()}}
        try:
            self.executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        except RuntimeError as error:
            raise UserError("--executor slurm needs Slurm's srun and sbatch, which are not "
                            "here; start it on a login node") from error
        try:
            self.executor.update_parameters(**resources)
        except (NameError, AssertionError) as error:  # unknown, or of a wrong type
            raise UserError(f"--slurm: {str(error).splitlines()[0]}") from error
        self.tasks = resources["nodes"], resources["tasks_per_node"]

    def start(self, command: list[str], run_dir: Path, slot: int) -> SubmititJob:
        """See `sweeps.run.jobs.Executor`."""
        self.executor.update_parameters(name=run_dir.name[:100])
        job = self.executor.submit(train, command, run_dir.absolute())
        write_text(run_dir / JOB, job.job_id)
        return SubmititJob(job)

    def to_shell(self, command: list[str], slot: int) -> str:
        """See `sweeps.run.jobs.Executor`."""
        return shlex.join(command)

    def find(self, run_dir: Path) -> SubmititJob | None:
        """See `sweeps.run.jobs.Executor`."""
        if self.cluster != "slurm" or not (run_dir / JOB).is_file():
            return None
        number = (run_dir / JOB).read_text(encoding="utf-8")
        job: submitit.Job[int] = submitit.SlurmJob(self.folder, number,
                                                   tasks=range(math.prod(self.tasks)))
        return None if job.task(0).done(force_check=True) else SubmititJob(job)


class SubmititJob:
    """A job of a cluster: one training, as one or several tasks."""

    def __init__(self, job: submitit.Job[int]) -> None:
        self.job = job
        self.state = ""
        self.stopped = False

    def poll(self) -> int | None:
        """Exit code of the first rank; None while a task runs.

        A rank that crashes leaves the others waiting for it, so the job is cancelled. So is one
        that Slurm has preempted: requeued by Slurm, it would meet the next job in its folder.
        """
        codes = [self._code(self.job.task(rank)) for rank in range(self.job.num_tasks)]
        if None not in codes:
            return codes[0]
        if any(codes) and not self.stopped:
            self.stop()
        return None

    def _code(self, task: submitit.Job[int]) -> int | None:
        if not task.done():
            if task.state != "PREEMPTED":
                return None
            self.stop()
            self.state = "PREEMPTED"
            return 1
        try:
            return task.result()
        except (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError) as end:
            # Cancelled, out of time or memory, or a lost node.
            self.state = "TIMEOUT" if "timed-out" in str(end) else task.state
            return 1

    def stop(self) -> None:
        """See `sweeps.run.jobs.Job`."""
        self.stopped = True
        self.job.cancel(check=False)

    def note(self) -> str:
        """The state of the job in Slurm, if nothing else is known."""
        return f"Slurm: {self.state}" if self.state else ""
