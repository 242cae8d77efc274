"""Mutated inputs of every format: each must be read or refused, quickly, and rightly if read.

``python tests/benchmarks/fuzz.py [NUMBER] [SEED]`` reads NUMBER mutations of an input of each
format, 1,000 by default: bytes are changed, cut or repeated, and values, keys and words replaced.
The inputs hold real data where ``PTL_SKEL_SHARED`` names the folder of it. It fails on

- an exception that is not a `UserError`, and a crash of the process;
- more than `SECONDS` or `MEMORY` for one input;
- a file that was read and of which an independent parser says something else.

These inputs are kept in ``fuzz_failures``. Each block of inputs is a line in ``fuzz.jsonl`` when it
is done, so the same command resumes after an interruption.
"""

from __future__ import annotations

import contextlib
import copy
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from fuzz_compare import NotParsedError, compare
from fuzz_inputs import Format, formats

from preprocessing.core.plausibility import check_clip
from preprocessing.core.source import Unusable
from preprocessing.tools.recognise import recognise
from ptl_skel.errors import UserError
from ptl_skel.storage import Clip, Header, KeypointFile, valid_clip

SECONDS = 20
MEMORY = 3 * 2**30
"""Bytes of address space that reading may take beyond what the process has."""
BLOCK = 500
WORDS = ["", "x", "-1", "1e400", "nan", "inf", "9" * 30, "0", "1.5", '"', "\n", "1e308", "99999",
         "²", "0x1", "1_0", ";", "frame", "1e4"]


class TooSlowError(Exception):
    """Reading an input takes too long."""


def mutate(rng: random.Random, given: Format) -> bytes:
    """The bytes of a mutated input."""
    if given.dump is not None:
        tree = given.content
        if rng.random() < 0.7 and isinstance(tree, dict | list):
            tree = _replace(rng, tree, given.odd)
        raw = given.dump(tree)
        return raw if rng.random() < 0.5 else _twist(rng, raw)
    words = given.content.split(given.separator)
    for _ in range(rng.choice((0, 1, 3))):
        words[rng.randrange(len(words))] = rng.choice(WORDS)
    raw = given.separator.join(words).encode()
    return raw if rng.random() < 0.5 else _twist(rng, raw)


def read(given: Format, path: Path) -> tuple[Header, list[Clip]]:
    """The clips in a file, as a command reads them.

    Raises:
        UserError: The file is refused.
        Exception: A bug.
    """
    with contextlib.suppress(UserError):
        recognise(path)
    source = given.source(path)
    clips = []
    if isinstance(source, KeypointFile):
        return source.header, _valid([source.clip(i) for i in range(len(source))], source.header)
    for key in source.keys():  # noqa: SIM118  # a source is not a dictionary
        try:
            clips += [check_clip(clip) for clip in source.read(key)]
        except Unusable:  # another UserError stops a command
            continue
    clips = _valid(clips, source.header)
    source.splits([clip.id for clip in clips])
    return source.header, clips


def _valid(clips: Iterable[Clip], header: Header) -> list[Clip]:
    """The clips that may enter a keypoint file, as they enter it."""
    valid = []
    for clip in clips:
        with contextlib.suppress(UserError):
            valid.append(valid_clip(clip, header))
    return valid


def try_input(given: Format, path: Path) -> str:
    """What became of an input: ``read``, ``refused``, ``unchecked``, or what is wrong.

    Raises:
        Exception: A bug, of the reader or of the independent parser.
    """
    try:
        header, clips = read(given, path)
    except UserError:
        return "refused"
    if not clips:
        return "refused"
    try:
        return compare(clips, header, given.parse(path)) or "read"
    except NotParsedError:
        return "unchecked"


def fuzz(name: str, given: Format, numbers: Iterable[int], seed: int, failures: Path,
         seconds: int = SECONDS) -> dict[str, Any]:
    """Reads mutations of an input.

    Args:
        name: Of the format.
        given: The format.
        numbers: Which mutations.
        seed: Together with it and the name, each number is always the same input.
        failures: Folder for the inputs that fail.
        seconds: The most time for an input.

    Returns:
        How many were ``read``, ``unchecked``, ``refused`` and ``failed``, the ``slowest`` in
        seconds, and the most memory in MB.
    """
    counts: Counter[str] = Counter(read=0, unchecked=0, refused=0, failed=0)
    slowest = 0.0
    failures.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGALRM, _raise_too_slow)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / given.name
        for number in numbers:
            raw = mutate(random.Random(f"{name} {seed} {number}"), given)
            path.write_bytes(raw)
            kept = failures / f"{name} {seed} {number} {given.name}"
            kept.write_bytes(raw)  # first, so that it is there if the process crashes
            began = time.monotonic()
            signal.alarm(seconds)
            try:
                outcome = try_input(given, path)
            except Exception:  # what is looked for
                outcome = traceback.format_exc()
            finally:
                signal.alarm(0)
            slowest = max(slowest, time.monotonic() - began)
            counts[outcome if outcome in counts else "failed"] += 1
            if outcome in {"read", "unchecked", "refused"}:
                kept.unlink()
            else:
                print(f"{kept}\n{outcome}", flush=True)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {**counts, "slowest": round(slowest, 2), "memory": memory}


def _raise_too_slow(_: int, frame: FrameType | None) -> None:
    raise TooSlowError


def _replace(rng: random.Random, tree: Any, odd: tuple[Any, ...]) -> Any:
    """Replaces or removes a node, or doubles or renames it."""
    tree = copy.deepcopy(tree)
    holder: Any = None
    key: Any = None
    node = tree
    while isinstance(node, dict | list) and node and (holder is None or rng.random() < 0.85):
        holder = node
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        node = node[key]
    how = rng.random()
    if holder is None:
        return rng.choice(odd)
    if how < 0.2:
        del holder[key]
    elif how < 0.3:
        if isinstance(holder, list):
            holder.append(copy.deepcopy(node))
        else:
            holder[rng.choice(("x", "people", "keypoints"))] = holder.pop(key)
    else:
        holder[key] = rng.choice(odd)
    return tree


def _twist(rng: random.Random, raw: bytes) -> bytes:
    """Cuts off the end, removes or repeats a part, or changes some bytes."""
    how, start = rng.random(), rng.randrange(len(raw) + 1)
    end = start + rng.randrange(1, 40)
    if how < 0.25:
        return raw[:start]
    if how < 0.35:
        return raw[:start] + raw[end:]
    if how < 0.45:
        return raw[:end] + raw[start:]
    changed = bytearray(raw or b"x")
    for _ in range(rng.choice((1, 1, 2, 5))):
        changed[rng.randrange(len(changed))] = rng.choice((rng.randrange(256), *b'09-\n",e'))
    return bytes(changed)


def _fuzz_block(name: str, given: Format, numbers: range, seed: int, report: Path) -> None:
    """Reads a block in a process of its own, and adds a line to the report."""
    warnings.simplefilter("error")
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    began = time.monotonic()
    found = fuzz(name, given, numbers, seed, report.with_name("fuzz_failures"))
    line = {"format": name, "seed": seed, "first": numbers.start, "inputs": len(numbers), **found,
            "seconds": round(time.monotonic() - began, 1)}
    with report.open("a") as file:
        file.write(json.dumps(line) + "\n")


def _lines(report: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []


def main(number: int = 1_000, seed: int = 0) -> int:
    """Fuzzes all formats, one block after the other, and prints what came of it."""
    report = Path("fuzz.jsonl")
    shared = os.environ.get("PTL_SKEL_SHARED")
    done = {(line["format"], line["seed"], line["first"], line["inputs"])
            for line in _lines(report)}
    context = multiprocessing.get_context("fork")
    crashes: Counter[str] = Counter()
    inputs = formats(Path(shared) if shared else None)
    for name, given in inputs.items():
        for first in range(0, number, BLOCK):
            numbers = range(first, min(first + BLOCK, number))
            if (name, seed, first, len(numbers)) in done:
                continue
            process = context.Process(
                target=_fuzz_block, args=(name, given, numbers, seed, report))
            process.start()
            process.join()
            if process.exitcode:
                crashes[name] += 1
                print(f"{name}: the process ended with {process.exitcode}", flush=True)
        lines = [line for line in _lines(report) if line["format"] == name
                 and line["seed"] == seed]
        total = {key: sum(line[key] for line in lines)
                 for key in ("inputs", "read", "unchecked", "refused", "failed", "seconds")}
        print(f"{name:18} {total['inputs']:7,} inputs: {total['read']:,} read rightly, "
              f"{total['unchecked']} unchecked, {total['refused']:,} refused, "
              f"{total['failed']} failed, {crashes[name]} crashes; "
              f"{total['seconds']:.0f} s, slowest {max((x['slowest'] for x in lines), default=0)} "
              f"s, {max((x['memory'] for x in lines), default=0)} MB", flush=True)
    lines = [line for line in _lines(report) if line["seed"] == seed]
    print(f"{sum(line['inputs'] for line in lines):,} inputs")
    return int(bool(crashes) or any(line["failed"] for line in lines))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
