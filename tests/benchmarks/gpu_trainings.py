"""Trainings on one GPU, several at a time, in order of value, until the time is up.

The arms of the comparison on four data sets with five seeds each, seed by seed, so that a cut-off
leaves whole comparisons; then published networks. All with the default recipe. Run again with the
same ``--out``, it skips what is finished and resumes what is not. Records lie in ``OUT/runs``;
``OUT/records.tar.gz`` holds them without checkpoints, made anew after every training, for
``ptl-skel report``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
ARMS = ("reduced", "full3d", "conv1d", "r2plus1d", "narrow")
OTHERS = ("slowonly", "c3d_light", "x3d_shallow", "stgcnpp")
SEEDS, SEEDS_OF_OTHERS = 5, 3
RECORD = ("result.json", "config.yaml", "metrics.csv", "predictions.npz")
GRACE = 20.0
"""Seconds that a training has to end by itself when the time is up."""
POLL = 0.5


@dataclass(frozen=True)
class DataSet:
    """A keypoint file, its protocols, and the experiment whose recipe is used."""

    name: str
    protocols: tuple[str, ...]
    experiment: str


DATA = (DataSet("penn_action", ("official",), "penn_action"),
        DataSet("sbu", tuple(f"fold{fold}" for fold in range(1, 6)), "sbu"),
        DataSet("nw_ucla", ("xview",), "nw_ucla"),
        DataSet("msr_action3d", ("xsub",), "msr_action3d"))


@dataclass(frozen=True)
class Training:
    """One training."""

    data: DataSet
    protocol: str
    arm: str
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.data.name}-{self.protocol}-{self.arm}-{self.seed}"


def plan() -> Iterator[Training]:
    """All trainings in order of value."""
    for arms, seeds in ((ARMS, SEEDS), (OTHERS, SEEDS_OF_OTHERS)):
        for seed in range(seeds):
            for data in DATA:
                for protocol in data.protocols:
                    for arm in arms:
                        yield Training(data, protocol, arm, seed)


class Runner:
    """Keeps some trainings under way until the time is up.

    Args:
        out: Folder of the results.
        files: Folder of the keypoint files.
        slots: Trainings at a time.
        seconds: Time for all.
        options: Further options of every training.
    """

    def __init__(self, out: Path, files: Path, slots: int, seconds: float,
                 options: Sequence[str] = ()) -> None:
        self.runs = out / "runs"
        self.records = out / "records.tar.gz"
        self.files = files
        self.slots = slots
        self.end = time.monotonic() + seconds
        self.options = options
        self.under_way: dict[Training, tuple[subprocess.Popen[bytes], float]] = {}
        self.took: dict[str, float] = {}
        self.runs.mkdir(parents=True, exist_ok=True)

    def run(self, trainings: Iterator[Training]) -> None:
        """Starts trainings as long as they can end in time, and waits for them."""
        waiting = [training for training in trainings if not self.is_finished(training)]
        while waiting or self.under_way:
            self._collect()
            left = self.end - time.monotonic()
            while len(self.under_way) < self.slots and waiting:
                fitting = next((t for t in waiting if self._expected(t) < left), None)
                if fitting is None:
                    waiting = []
                    break
                waiting.remove(fitting)
                self._start(fitting)
            if left <= 0:
                self._stop()
                return
            time.sleep(POLL)

    def is_finished(self, training: Training) -> bool:
        """Whether its record says so."""
        path = self.runs / training.name / "result.json"
        return path.is_file() and json.loads(path.read_text())["status"] == "finished"

    def _expected(self, training: Training) -> float:
        """Seconds that the longest training of that kind took; 0 where none has ended."""
        return self.took.get(f"{training.data.name}-{training.arm}", 0.0)

    def _start(self, training: Training) -> None:
        folder = self.runs / training.name
        last = folder / "checkpoints" / "last.ckpt"
        if last.is_file():
            options = ["--ckpt_path", str(last)]
        else:
            shutil.rmtree(folder, ignore_errors=True)
            options = self._options(training, folder)
        log = (self.runs / f"{training.name}.log").open("wb")
        process = subprocess.Popen([sys.executable, "-m", "ptl_skel", "fit", *options],
                                   stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
        log.close()
        self.under_way[training] = process, time.monotonic()

    def _options(self, training: Training, folder: Path) -> list[str]:
        options = [
            "--config", f"experiment/{training.data.experiment}.yaml",
            "--model.backbone", f"backbone/{training.arm}.yaml",
            "--data.file", str(self.files / f"{training.data.name}.h5"),
            "--data.protocol", training.protocol, "--data.on_device", "true",
            "--trainer.precision", "bf16-mixed",
            "--trainer.enable_progress_bar", "false", "--wandb", "off",
            "--seed_everything", str(training.seed), "--run_dir", str(folder)]
        return [*options, *self.options]

    def _collect(self) -> None:
        """Takes note of trainings that have ended."""
        for training, (process, started) in list(self.under_way.items()):
            if process.poll() is None:
                continue
            del self.under_way[training]
            took = time.monotonic() - started
            if process.returncode == 0:
                kind = f"{training.data.name}-{training.arm}"
                self.took[kind] = max(took, self.took.get(kind, 0.0))
            print(f"{training.name}: exit {process.returncode} after {took:.0f} s", flush=True)
            self.pack()

    def _stop(self) -> None:
        """Ends what is under way; checkpoints let the next call resume it."""
        for process, _ in self.under_way.values():
            process.terminate()
        until = time.monotonic() + GRACE
        for process, _ in self.under_way.values():
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._collect()

    def pack(self) -> None:
        """Writes the archive of finished records, whole or not at all."""
        temporary = self.records.with_suffix(".tmp")
        with tarfile.open(temporary, "w:gz") as archive:
            for training in filter(self.is_finished, plan()):
                for name in RECORD:
                    path = self.runs / training.name / name
                    if path.is_file():
                        archive.add(path, f"runs/{training.name}/{name}")
        temporary.replace(self.records)


def summary(runs: Path) -> list[str]:
    """Mean accuracy of the test over seeds and folds, by data set and arm, as Markdown."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for training in plan():
        path = runs / training.name / "result.json"
        if not path.is_file():
            continue
        result = json.loads(path.read_text())
        if result["status"] == "finished" and "test/top1" in result["metrics"]:
            key = training.data.name, training.arm
            found[key].append(result["metrics"]["test/top1"])
            seconds[key].append(result.get("training_seconds", float("nan")))
    lines = ["| data set | backbone | trainings | top-1 | spread | seconds each |",
             "| --- | --- | --- | --- | --- | --- |"]
    for (data, arm), accuracies in found.items():
        spread = f"{statistics.stdev(accuracies):.2%}" if len(accuracies) > 1 else ""
        mean = statistics.mean(seconds[data, arm])
        lines.append(f"| {data} | {arm} | {len(accuracies)} | {statistics.mean(accuracies):.2%} "
                     f"| {spread} | {mean:.0f} |")
    return lines


def main(args: Sequence[str] | None = None) -> None:
    """Runs what the time allows, and prints a summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu-out"))
    parser.add_argument("--files", type=Path, default=ROOT / ".gpu" / "data",
                        help="folder of the keypoint files; default: .gpu/data")
    parser.add_argument("--slots", type=int, default=12, help="trainings at a time; default: 12")
    parser.add_argument("--minutes", type=float, default=9.0, help="for all; default: 9")
    parser.add_argument("--first", type=int, help="only so many trainings")
    parser.add_argument("options", nargs="*", help="after --: options of every training")
    options = parser.parse_args(args)
    out = options.out.resolve()
    runner = Runner(out, options.files.resolve(), options.slots, 60 * options.minutes,
                    options.options)
    trainings = list(plan())[: options.first]
    runner.run(iter(trainings))
    lines = summary(runner.runs)
    (out / "trainings.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    finished = sum(map(runner.is_finished, trainings))
    print(f"{finished} of {len(trainings)} trainings are finished; records: {runner.records}")


if __name__ == "__main__":
    main()
