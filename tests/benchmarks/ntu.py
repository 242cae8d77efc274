"""NTU RGB+D at full scale: what parsing, the whole command and the pickle of HRNet poses take.

``make bench-ntu``, or ``python tests/benchmarks/ntu.py [parser] [tree] [pickle]``. Files of the
synthetic data set stand for the real ones, under official names. `tree` wants 2 GB of disk,
`pickle` 4 GB.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from preprocessing.core.runner import keep_freed_memory
from preprocessing.datasets.ntu.bodies import split_by_id
from preprocessing.datasets.ntu.facts import MISSING_SAMPLES
from preprocessing.datasets.ntu.protocols import Edition, Sample, complete, official_splits
from preprocessing.datasets.ntu.text import PIXELS, read_recording
from preprocessing.synthetic.dataset import write_dataset
from ptl_skel.storage import KeypointFile

WHOLE = 56_880
_CHUNK = 16  # files
# Performers by setup: as many as there are, though not those.
PAIRS = [Sample(1 + number % 17, 1, 1 + number // 17, 1, 1) for number in range(158)]
MORE_PAIRS = [Sample(18 + number % 15, 1, 41 + number // 15, 1, 61) for number in range(160)]

Floats = NDArray[np.float64]


_BODY = ("id", "edges", "left", "left_sure", "right", "right_sure", "restricted", "lean_x",
         "lean_y", "tracking")
_JOINT = ("x", "y", "z", "depth_x", "depth_y", "colour_x", "colour_y", "qw", "qx", "qy", "qz",
          "state")


def read_line_by_line(content: bytes) -> Floats:
    """Pixels and states, ``(M, T, 25, 3)``, read as scripts do: line by line, value by value."""
    file = io.StringIO(content.decode())
    frames = []
    for _ in range(int(file.readline())):
        bodies = []
        for _ in range(int(file.readline())):
            body: dict[str, Any] = dict(zip(_BODY, file.readline().split(), strict=True))
            body["joints"] = []
            for _ in range(int(file.readline())):
                values = map(float, file.readline().split())
                body["joints"].append(dict(zip(_JOINT, values, strict=True)))
            bodies.append(body)
        frames.append(bodies)
    ids = list(dict.fromkeys(body["id"] for bodies in frames for body in bodies))
    keypoints = np.zeros((len(ids), len(frames), 25, 3))
    for t, bodies in enumerate(frames):
        for body in bodies:
            for v, joint in enumerate(body["joints"]):
                keypoints[ids.index(body["id"]), t, v] = (joint["colour_x"], joint["colour_y"],
                                                          joint["state"])
    return keypoints


def read_lists(content: bytes) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Joints ``(B, 25, 12)``, frames and IDs: the least that a loop over lines can do."""
    lines = iter(content.decode().splitlines())
    joints, frames, ids = [], [], []
    for frame in range(int(next(lines))):
        for _ in range(int(next(lines))):
            ids.append(int(next(lines).split()[0]))
            frames.append(frame)
            joints.append([[float(value) for value in next(lines).split()]
                           for _ in range(int(next(lines)))])
    return np.array(joints), np.array(frames), np.array(ids)


def read_vectorised(content: bytes) -> Floats:
    """Pixels and states, ``(M, T, 25, 3)``, by the parser of this package."""
    recording = read_recording(content)
    values = recording.values(PIXELS)
    bodies = split_by_id(recording.body)
    keypoints = np.zeros((len(bodies), recording.num_frames, 25, 3))
    for person, rows in enumerate(bodies):
        keypoints[person, recording.frame[rows], :, :2] = values[rows]
        keypoints[person, recording.frame[rows], :, 2] = recording.states[rows]
    return keypoints


def synthetic_files() -> list[bytes]:
    """Contents of files of the synthetic data set: 42 frames on average, 98 bytes a joint."""
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder) / "files", subjects=3, replications=1)
        return [path.read_bytes() for path in sorted(Path(folder).glob("*/*.skeleton"))]


def lifelike(contents: list[bytes]) -> list[bytes]:
    """The same as long as real ones, which have 70 frames on average, and orientations.

    Each is there twice, one time after the other (4 million frames in 56,880 files, arXiv
    1604.02808). The zeros that stand for the orientation of a joint become numbers in 19 of 25
    joints: those at the ends of limbs have none.
    """
    rng = np.random.default_rng(0)
    numbers = itertools.cycle([" {:.7g} {:.7g} {:.7g} {:.7g} ".format(*four).encode()
                               for four in rng.uniform(-1, 1, (997, 4))])
    long = []
    for content in contents:
        frames, _, rest = content.partition(b"\r\n")
        first, *others = (rest + rest).split(b" 0 0 0 0 ")
        joined = [first]
        for joint, other in enumerate(others):
            joined += (b" 0 0 0 0 " if joint % 25 >= 19 else next(numbers)), other
        long.append(b"%d\r\n%b" % (2 * int(frames), b"".join(joined)))
    return long


def bench_parser(table: Table, rounds: int) -> None:
    """Parsers by turns on the same files, in CPU time of one process."""
    short = synthetic_files()[::3]
    keep_freed_memory()  # as the command does
    for kind, contents in (("short", short), ("as long as real ones", lifelike(short))):
        size = statistics.mean(map(len, contents)) / 1000
        compare_parsers(table, f"{len(contents)} files, {kind}, {size:.0f} kB", contents, rounds)


def compare_parsers(table: Table, what: str, contents: list[bytes], rounds: int) -> None:
    """Rows of the table: the median, and the middle half of the ratios."""
    parsers = {"vectorised": read_vectorised, "line by line, a dictionary a joint":
               read_line_by_line, "line by line, lists alone": read_lists}
    for content in contents:
        np.testing.assert_array_equal(read_vectorised(content), read_line_by_line(content))
    spent: dict[str, list[float]] = {name: [] for name in parsers}
    for _ in range(rounds):
        # As in the command, each has a few files in a row: what was just run is in the caches.
        for start in range(0, len(contents), _CHUNK):
            chunk = contents[start : start + _CHUNK]
            for name, parse in parsers.items():
                began = time.thread_time_ns()
                for content in chunk:
                    parse(content)
                spent[name].append((time.thread_time_ns() - began) / len(chunk) / 1e6)
    for name, times in spent.items():
        low, ratio, high = np.percentile(np.divide(times, spent["vectorised"]), (25, 50, 75))
        table.add_row(f"parse {name}", f"{statistics.median(times):.2f} ms a file",
                      f"{what}, {rounds} rounds" if name == "vectorised" else
                      f"{ratio:.1f} times as long ({low:.1f} to {high:.1f})")


def write_tree(folder: Path, contents: list[bytes], number: int) -> int:
    """Writes that many samples under official names; returns their bytes."""
    total = 0
    for sample, content in itertools.islice(
            zip(complete(PAIRS), itertools.cycle(contents), strict=False), number):
        path = folder / f"S{sample.setup:03}" / f"{sample}.skeleton"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        total += len(content)
    return total


# Runs a command as its only child. Tells the largest memory of that process and of its workers, and
# the CPU time of all of them.
_MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(done.returncode, used.ru_maxrss, used.ru_utime + used.ru_stime)
"""


def run_command(*arguments: str) -> tuple[float, float, float]:
    """Runs `ptl-skel preprocess`: seconds, MB of its largest process, seconds of CPU."""
    command = (sys.executable, "-c", _MEASURE, sys.executable, "-m", "ptl_skel", "preprocess",
               *arguments)
    began = time.monotonic()
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    assert told[0] == "0", arguments
    return time.monotonic() - began, int(told[1]) / 1e3, float(told[2])


def bench_tree(table: Table, number: int) -> None:
    """The real command on folders of files, with one worker and with two."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contents = lifelike(synthetic_files())
        for count, workers in ((number // 5, 2), (number, 1), (number, 2)):
            tree = folder / f"{count}"
            size = write_tree(tree, contents, count)
            seconds, memory, used = run_command(
                "ntu", str(tree), "--out", str(folder / "out.h5"), "--workers", str(workers),
                "--overwrite")
            table.add_row(f"ntu, {count:,} files, --workers {workers}", f"{seconds:.1f} s",
                          f"{count / seconds:.0f} files/s, {size / seconds / 1e6:.0f} MB/s; "
                          f"largest process {memory:.0f} MB; {used:.1f} s of CPU; {WHOLE:,} files "
                          f"in {seconds * WHOLE / count / 60:.1f} min, of CPU "
                          f"{used * WHOLE / count / 60:.1f} min")
        seconds, _, _ = run_command("ntu", str(tree), "--out", str(folder / "out.h5"))
        table.add_row("the same again", f"{seconds:.1f} s", "nothing to do")


def write_pickle(path: Path, edition: Edition) -> None:
    """A pickle in the structure of ntu60_hrnet.pkl: float16, one or two persons, both protocols."""
    rng = np.random.default_rng(0)
    pairs = PAIRS if edition == 60 else PAIRS + MORE_PAIRS
    names = [str(s) for s in complete(pairs) if str(s) not in MISSING_SAMPLES]
    annotations = []
    for name in names:
        frames = int(np.clip(rng.lognormal(4.3, 0.4), 32, 300))
        shape = 1 + int(rng.uniform() < 0.2), frames, 17
        annotations.append({
            "frame_dir": name, "label": int(name[-3:]) - 1, "img_shape": (1080, 1920),
            "original_shape": (1080, 1920), "total_frames": frames,
            "keypoint": rng.random((*shape, 2), np.float32).astype(np.float16) * 1000,
            "keypoint_score": rng.random(shape, np.float32).astype(np.float16)})
    split = {f"{protocol}_{'train' if part == 'train' else 'val'}": ids
             for protocol, parts in official_splits(names, edition).items()
             for part, ids in parts.items()}
    with path.open("wb") as file:
        pickle.dump({"split": split, "annotations": annotations}, file, protocol=4)


def bench_pickle(table: Table, edition: Edition) -> None:
    """The source `pyskl` on a pickle of full size."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"ntu{edition}_hrnet.pkl"
        child = os.fork()  # in a process of its own: what it takes is not measured with the rest
        if child == 0:
            write_pickle(path, edition)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        size = path.stat().st_size / 1e6
        out = Path(folder) / "out.h5"
        seconds, memory, used = run_command("pyskl", str(path), "--out", str(out))
        table.add_row(f"pyskl, {path.name}, {size:.0f} MB", f"{seconds:.1f} s",
                      f"{len(KeypointFile(out)):,} clips; {used:.1f} s of CPU; largest "
                      f"process {memory:.0f} MB: the pickle and {memory - size:.0f} MB "
                      "(target: 500)")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    known = ("parser", "tree", "pickle")
    parser.add_argument("what", nargs="*", metavar="parser|tree|pickle",
                        help="what to measure; default: all")
    parser.add_argument("--files", type=int, default=5000, help="of the tree")
    parser.add_argument("--rounds", type=int, default=10, help="of the parsers")
    options = parser.parse_args()
    if not set(options.what) <= set(known):
        parser.error(f"choose from {', '.join(known)}")
    what = options.what or known
    table = Table("what", "time", "", title="NTU RGB+D")
    if "parser" in what:
        bench_parser(table, options.rounds)
    if "tree" in what:
        bench_tree(table, options.files)
    if "pickle" in what:
        bench_pickle(table, 60)
        bench_pickle(table, 120)
    Console().print(table)


if __name__ == "__main__":
    main()
