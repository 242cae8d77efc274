"""Runs a source: reads its inputs in worker processes, stores their clips in order, reports."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from preprocessing.core.source import LeftOut, Source
from preprocessing.inspect.check import overview
from ptl_skel.storage import Clip, ClipWriter, KeypointFile, UpToDate

# Inputs a worker reads before it hands over: evens out long and short ones, bounds the memory.
_CHUNK = 16
_REASONS = 5
_KEPT = 32 * 2**20  # bytes; no array of an official file is larger
_NUMBER = re.compile(r"\d+")
class Skipped(NamedTuple):
    """An input that gave no clip."""

    reason: str
    is_loss: bool


Outcome = list[Clip] | Skipped | OSError
"""What became of an input: its clips, why it gave none, or why the run cannot go on."""


def run(source: Source, out: Path, *, workers: int | None = None, overwrite: bool = False) -> None:
    """Writes the keypoint file of a source, or goes on where the same run was interrupted.

    The file is the same whatever the number of workers and however often it was interrupted. Where
    the same run has finished it, nothing is done.

    Args:
        source: Where the clips come from.
        out: The HDF5 file to write.
        workers: Processes that read; 0 or 1 reads in this one, None takes one per CPU.
        overwrite: Replace an existing `out`.

    Raises:
        FileExistsError: `out` exists, or an unfinished file of another job does.
        ValueError: Nothing usable was found, or a split names an unknown clip.
        OSError: An input cannot be read, or `out` cannot be written.
    """
    try:
        _write(source, out, workers, overwrite)
    except UpToDate as done:
        print(done)


def _write(source: Source, out: Path, workers: int | None, overwrite: bool) -> None:
    began = time.monotonic()
    keys = source.keys()
    # Other inputs than last time are another job: their clips would end up in another order.
    job = {**source.job, "keys": _digest(keys)}
    with ClipWriter(out, source.header, job, overwrite=overwrite) as writer:
        remaining = [key for key in keys if key not in writer.done]
        count = os.cpu_count() or 1 if workers is None else workers
        with (_progress() as progress,
              contextlib.closing(_outcomes(source, remaining, count)) as outcomes):
            task = progress.add_task(source.header.dataset, total=len(keys),
                                     completed=len(keys) - len(remaining))
            for key, outcome in zip(remaining, outcomes, strict=True):
                _store(writer, key, outcome)
                progress.advance(task)
        writer.finish(source.splits([clip["id"] for clip in writer.index]))
    _print_summary(out, writer, time.monotonic() - began)


def check_loss(out: Path, max_loss: float, *, strict: bool = False) -> None:
    """Warns where many inputs of a keypoint file were flawed.

    Args:
        out: The keypoint file.
        max_loss: The most, in percent.
        strict: Raise instead.

    Raises:
        ValueError: With `strict`, there are more.
    """
    file = KeypointFile(out)
    if file.num_lost * 100 <= max_loss * file.num_inputs:
        return
    told = (f"{file.num_lost:,} of {file.num_inputs:,} inputs "
            f"({file.num_lost / file.num_inputs:.1%}) are flawed, more than --max_loss "
            f"{max_loss:g} %; {out.with_suffix('.skipped.csv')} says why")
    if strict:
        raise ValueError(told)
    print(f"warning: {told}", file=sys.stderr)


def _digest(keys: Sequence[str]) -> str:
    names = "\n".join(keys).encode(errors="surrogateescape")  # names of files can be any bytes
    return hashlib.sha256(names).hexdigest()


def _store(writer: ClipWriter, key: str, outcome: Outcome) -> None:
    if isinstance(outcome, OSError):
        raise outcome
    if isinstance(outcome, Skipped):
        writer.skip(key, outcome.reason, is_loss=outcome.is_loss)
        return
    try:
        writer.add(key, outcome)
    except ValueError as error:
        writer.skip(key, str(error))


def _read(source: Source, key: str) -> Outcome:
    try:
        return source.read(key) or Skipped("it holds no clip", is_loss=True)
    except OSError as error:
        return error
    except ValueError as error:
        return Skipped(str(error), is_loss=not isinstance(error, LeftOut))


def _outcomes(source: Source, keys: Sequence[str], workers: int) -> Generator[Outcome, None, None]:
    """The outcome of each key, in the order of the keys."""
    if workers > 1:
        yield from _outcomes_in_parallel(source, keys, workers)
    else:
        keep_freed_memory()
        for key in keys:
            yield _read(source, key)


def _outcomes_in_parallel(source: Source, keys: Sequence[str], workers: int) -> Iterator[Outcome]:
    """Worker w reads every w-th chunk of keys; its pipe is emptied when their turn comes.

    A full pipe holds its worker back, so that no more than a few chunks wait in memory; a worker
    whose pipe has lost its reader ends, however this process died.
    """
    # Not fork: the progress bar runs a thread, and a forked copy of it may hold a lock for ever.
    context = multiprocessing.get_context("spawn")
    chunks = [keys[start : start + _CHUNK] for start in range(0, len(keys), _CHUNK)]
    processes, receivers = [], []
    try:
        with _interrupts_ignored():
            for worker in range(min(workers, len(chunks))):
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(
                    target=_work, args=(source, chunks[worker::workers], sender), daemon=True)
                process.start()
                sender.close()
                processes.append(process)
                receivers.append(receiver)
        for number, chunk in enumerate(chunks):
            try:
                outcomes = receivers[number % workers].recv()
            except (EOFError, OSError) as error:
                raise ChildProcessError(
                    f"a worker process ended while it read {chunk[0]} to {chunk[-1]}, perhaps for "
                    "want of memory; the same command with --workers 1 goes on from there"
                ) from error
            yield from outcomes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.join()


def keep_freed_memory() -> None:
    """Lets glibc reuse the blocks that one input took for the next one.

    Otherwise the kernel maps and clears fresh pages for each: a fourth of the time of NTU files.
    Does nothing on other systems.
    """
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            m_trim_threshold, m_mmap_threshold = -1, -3
            libc.mallopt(m_mmap_threshold, _KEPT)
            libc.mallopt(m_trim_threshold, _KEPT)


def _work(source: Source, chunks: Sequence[Sequence[str]], sender: Connection) -> None:
    keep_freed_memory()
    with contextlib.suppress(BrokenPipeError):
        for chunk in chunks:
            sender.send([_read(source, key) for key in chunk])


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started meanwhile ignore Ctrl-C: they end silently when their parent says so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _progress() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                    TimeRemainingColumn(), console=Console(stderr=True))


def _print_summary(out: Path, writer: ClipWriter, seconds: float) -> None:
    table = overview(KeypointFile(out))
    reports = {"skipped": writer.skipped, "repaired": writer.repaired}
    for what, reasons in reports.items():
        table.add_row(what, _counted(reasons))
    table.add_row("flawed", f"{writer.num_lost:,} of {writer.num_inputs:,}")
    table.add_row("time", f"{seconds:.1f} s")
    Console().print(table)
    for what, reasons in reports.items():
        if reasons:
            print(f"What was {what} and why: {out.with_suffix(f'.{what}.csv')}")


def _counted(reasons: Mapping[str, str]) -> str:
    """How many, and the most frequent reasons; those that differ in numbers alone are one."""
    counts = Counter(_NUMBER.sub("N", reason) for reason in reasons.values())
    return "\n".join([f"{len(reasons):,}", *(f"{count:,}: {reason}" for reason, count
                                             in counts.most_common(_REASONS))])
