"""What `kill -9` leaves behind: commands are killed at random moments and given again.

``python tests/benchmarks/kill.py [preprocess] [fit] [ddp] [sweep]``. Each command is killed
`--kills` times, at moments spread over the time that it takes undisturbed. Where it comes to its
end in between, the outcome is checked and the next kills are those of a new beginning. The
outcome has to be that of a command that nobody killed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from rich.console import Console
from rich.table import Table

from ptl_skel.runs.record import read_metrics, read_result

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests"))
EPOCHS = 25
SWEPT_EPOCHS = 6
SEEDS = (0, 1, 2)


@dataclass
class Case:
    """A command that is killed.

    Attributes:
        command: Its words, the same each time; it writes to a place below the working folder.
        check: Takes the folders of an undisturbed and of a killed command; what is wrong.
        look: Makes, for each beginning, what takes the folder after each kill; what is wrong.
    """

    command: Sequence[str]
    check: Callable[[Path, Path], list[str]]
    look: Callable[[], Callable[[Path], list[str]]] = lambda: lambda folder: []


def main() -> None:
    """Prints a row for each case; exit code 1 if an outcome is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE",
                        help="preprocess, fit, ddp, sweep; default: all")
    parser.add_argument("--kills", type=int, default=20, metavar="N", help="default: 20 a case")
    parser.add_argument("--seed", type=int, default=0, help="of the moments; default: 0")
    options = parser.parse_args()
    table = Table("case", "undisturbed", "kills", "commands", "brought to an end", "outcome")
    wrong = False
    with tempfile.TemporaryDirectory() as folder:
        cases = make_cases(Path(folder))
        for name in options.cases or cases:
            row, complaints = run_case(cases[name], Path(folder) / name, options.kills,
                                       random.Random(f"{options.seed} {name}"))
            print(name, *row, *complaints, sep=", ", file=sys.stderr, flush=True)
            table.add_row(name, *row, "\n".join(dict.fromkeys(complaints)) or "as undisturbed")
            wrong |= bool(complaints)
    Console(width=120).print(table)
    sys.exit(wrong)


def make_cases(folder: Path) -> dict[str, Case]:
    """The cases; what they read is written into the folder."""
    tiny = importlib.import_module("tiny")
    keypoints = tiny.write_clips(folder / "tiny.h5", tiny.tiny_clips())
    config = folder / "tiny.yaml"
    config.write_text(json.dumps(tiny.CONFIG))
    skeletons = folder / "skeletons"
    python = sys.executable
    preprocess = [python, "-m", "ptl_skel", "preprocess"]
    subprocess.run([*preprocess, "synthetic", str(skeletons), "--subjects", "6"], check=True,
                   env=environment(), stdout=subprocess.DEVNULL)
    fit = [python, "-m", "ptl_skel", "fit", "--config", str(config), "--data.file",
           str(keypoints)]
    run = [*fit, "--trainer.max_epochs", str(EPOCHS), "--run_dir", "run", "--ckpt_path", "last"]
    sweep = folder / "sweep.yaml"
    sweep.write_text(yaml.safe_dump({
        "project": "kill", "method": "grid", "command": [
            "${interpreter}", *fit[1:], "--config", "${args_json_file}"],
        "parameters": {"seed_everything": {"values": list(SEEDS)},
                       "trainer.max_epochs": {"value": SWEPT_EPOCHS}}}))
    return {
        "preprocess": Case([*preprocess, "ntu", str(skeletons), "--out", "clips.h5", "--workers",
                            "1"], check_bytes),
        "fit": Case(run, lambda whole, killed: check_run(whole / "run", killed / "run", EPOCHS)),
        "ddp": Case([*run, "--trainer.devices", "2", "--trainer.strategy", "ddp"],
                    lambda whole, killed: check_run(whole / "run", killed / "run", EPOCHS)),
        "sweep": Case([python, "-m", "ptl_skel", "sweep", str(sweep), "--out", "sweep"],
                      check_sweep,
                      FinishedCells),
    }


def run_case(case: Case, folder: Path, kills: int, moments: random.Random,
             ) -> tuple[list[str], list[str]]:
    """Kills a command, and checks what the last command of each beginning left.

    Returns:
        Seconds undisturbed, kills, commands and how many came to their end; what is wrong.
    """
    whole = folder / "whole"
    whole.mkdir(parents=True)
    begin = time.monotonic()
    process = start(case.command, whole)
    if process.wait():
        return ["", "", "", ""], [f"undisturbed: {last_line(whole)}"]
    seconds = time.monotonic() - begin
    complaints: list[str] = []
    killed = commands = ended = 0
    place, look = folder / "killed", case.look()
    while killed < kills or place.exists():
        place.mkdir(exist_ok=True)
        process = start(case.command, place)
        commands += 1
        try:
            code = process.wait(moments.uniform(0, seconds) if killed < kills else 10 * seconds)
        except subprocess.TimeoutExpired:
            # The process alone, or all that it has started.
            moments.choice((os.kill, os.killpg))(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
            complaints += look(place)
            if killed > kills:
                complaints.append("the last command did not come to its end")
                break
            continue
        complaints += ([f"exit code {code}: {last_line(place)}"] if code else
                       [*look(place), *case.check(whole, place)])
        ended += 1
        end_session(process.pid)
        shutil.rmtree(place)
        look = case.look()
    return [f"{seconds:.1f} s", str(killed), str(commands), str(ended)], complaints


def start(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """The command in a session of its own."""
    with (folder / "said.txt").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment(), start_new_session=True,
                                stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def environment() -> dict[str, str]:
    """This repository's code, and one thread: the tensors are too small to share."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def end_session(process: int) -> None:
    """Kills what a command that has ended left running."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)


def check_bytes(whole: Path, killed: Path) -> list[str]:
    """The keypoint file is the same byte for byte, and nothing lies beside it."""
    same = (whole / "clips.h5").read_bytes() == (killed / "clips.h5").read_bytes()
    left = sorted({path.name for path in killed.iterdir()}
                  - {path.name for path in whole.iterdir()})
    return ["another keypoint file"] * (not same) + [f"{name} is left" for name in left]


def check_run(whole: Path | None, killed: Path, epochs: int) -> list[str]:
    """The record says finished, each epoch is there once, and the weights are the same."""
    wrong = []
    if (status := read_result(killed)["status"]) != "finished":
        wrong.append(f"{killed.name} is {status}")
    trained = [int(row["epoch"]) for row in read_metrics(killed) if "train/loss" in row]
    if trained != list(range(epochs)):
        wrong.append(f"{killed.name} has the epochs {trained}")
    if whole is not None:
        one, other = (torch.load(run / "checkpoints/last.ckpt", map_location="cpu",
                                 weights_only=True)["state_dict"] for run in (whole, killed))
        if one.keys() != other.keys() or any(not torch.equal(one[key], other[key]) for key in one):
            wrong.append(f"{killed.name} has other weights")
    others = sorted(path.name for path in killed.parent.iterdir()
                    if path.is_dir() and path.name.startswith(f"{killed.name}-"))
    return [*wrong, *(f"{name} lies beside {killed.name}" for name in others)]


def check_sweep(whole: Path, killed: Path) -> list[str]:
    """Each cell is listed once and finished, with the record of a run."""
    cells = json.loads((killed / "sweep/sweep.json").read_text())["cells"]
    found = [(cell["name"], cell["state"]) for cell in cells]
    if found != [(f"sweep-seed{seed}", "finished") for seed in SEEDS]:
        return [f"sweep.json has {found}"]
    return [line for name, _ in found
            for line in check_run(whole / "sweep" / name, killed / "sweep" / name, SWEPT_EPOCHS)]


class FinishedCells:
    """Remembers the records of finished cells: a cell that is run again writes another."""

    def __init__(self) -> None:
        self.seen: dict[Path, int] = {}

    def __call__(self, folder: Path) -> list[str]:
        """Names of cells that were run again after they had finished."""
        wrong = []
        records = sorted(folder.glob("sweep/*/result.json"))
        for path in records:
            if json.loads(path.read_text())["status"] == "finished":
                written = path.stat().st_mtime_ns
                if self.seen.setdefault(path, written) != written:
                    wrong.append(f"{path.parent.name} was run again")
            elif path in self.seen:
                wrong.append(f"{path.parent.name} was run again")
        return wrong


def last_line(folder: Path) -> str:
    """The last line that a command printed."""
    lines = (folder / "said.txt").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"


if __name__ == "__main__":
    main()
