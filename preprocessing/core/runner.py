"""Runs a source: reads its inputs in worker processes, and stores their clips in order."""

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
import traceback
from collections.abc import Generator, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ptl_skel.errors import UserError
from ptl_skel.storage import Clip, ClipWriter, KeypointFile, UpToDate

from .files import fingerprint
from .plausibility import EXCHANGED, check_clip, fits_only_as_given
from .source import LeftOut, Source, Unusable

_SHOWN = 5  # reasons in the summary
_KEPT = 32 * 2**20  # bytes; no array of an official file is larger
_SOME, _MANY = 0.02, 0.1  # of all clips, and of those that show the orientation
_REREAD = 100  # clips that are read again to find that out
_NUMBER = re.compile(r"\d+")


class Skipped(NamedTuple):
    """An input that gave no clip."""

    reason: str
    is_loss: bool


Outcome = list[Clip] | Skipped | Exception
"""The outcome of an input: its clips, why it gave none, or an error that stops the run."""


def run(source: Source, out: Path, *, workers: int | None = None,
        overwrite: bool = False, chunk: int = 16) -> dict[str, str]:
    """Writes the keypoint file of a source, or resumes an interrupted run.

    The file does not depend on the number of workers and on interruptions. If the same run has
    already finished it, nothing is done.

    Args:
        source: The source of the clips.
        out: The HDF5 file to write.
        workers: Number of reading processes; 0 or 1 reads in this one, None uses one per CPU.
        overwrite: Replace an existing `out`, unless splits were added to it.
        chunk: Inputs that a worker reads before it sends them. Larger chunks even out long and
            short inputs, smaller ones bound the memory; 1 if each takes long.

    Returns:
        Facts for the summary, by name; empty if there was nothing to do.

    Raises:
        UserError: `out` exists or cannot be written, an unfinished file of another job exists, or
            nothing usable was found.
        Exception: A bug in the source. A note names the input; the finished part is kept.
    """
    try:
        return _write(source, out, workers, overwrite, chunk)
    except UpToDate as done:
        print(done)
        return {}


def _write(source: Source, out: Path, workers: int | None, overwrite: bool, chunk: int
           ) -> dict[str, str]:
    began = time.monotonic()
    keys = source.keys()
    # Other inputs than last time are another job, since clips would be in another order.
    job = {**source.options, "files": fingerprint(source.files), "keys": _digest(keys)}
    if out.exists() and any(path.name == out.name and path.samefile(out) for path in source.files):
        raise UserError(f"--out {out} is a file of the input; give another name")
    if overwrite:
        _check_added_splits(out)
    with _writing(out):
        writer = ClipWriter(out, source.header, job, overwrite=overwrite)
    with writer:
        remaining = [key for key in keys if key not in writer.done]
        count = os.cpu_count() or 1 if workers is None else workers
        with (_progress() as progress,
              contextlib.closing(_outcomes(source, remaining, count, chunk)) as outcomes):
            task = progress.add_task(source.header.dataset, total=len(keys),
                                     completed=len(keys) - len(remaining))
            for key, outcome in zip(remaining, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    raise outcome
                with _writing(out):
                    _store(writer, key, outcome)
                progress.advance(task)
        _check_sides(source, writer)
        ids = [clip["id"] for clip in writer.index]
        splits, unknown = _known_clips(source.splits(ids), {*ids, *writer.skipped})
        with _writing(out):
            writer.finish(splits)
    facts = {"skipped": _counted(writer.skipped), "repaired": _counted(writer.repaired),
             "flawed": f"{writer.num_lost:,} of {writer.num_inputs:,}"}
    if unknown:
        facts["unknown clips in splits, ignored"] = "\n".join(unknown)
    return {**facts, "time": f"{time.monotonic() - began:.1f} s"}


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Reports a full disk or a missing permission as a `UserError`."""
    try:
        yield
    except UpToDate:
        raise
    except OSError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{error.filename or out} cannot be written: {error.strerror or error}; "
                        "what is finished is kept, so the same command resumes from there"
                        ) from error


def _check_sides(source: Source, writer: ClipWriter) -> None:
    """Checks that the sides of the frame are not swapped in all clips, of which some still fit.

    Raises:
        UserError: They are, or videos of both orientations have the same size. Data read so far is
            removed, since it is useless with another size.
    """
    exchanged = sum(reason.endswith(EXCHANGED) for reason in writer.skipped.values())
    if not exchanged or exchanged < _SOME * writer.num_inputs:
        return
    keys = [key for key in source.keys() if key not in writer.skipped]  # noqa: SIM118
    reread = [_read(source, key) for key in keys[:: max(1, len(keys) // _REREAD)]]
    fits = [fits_only_as_given(clip) for found in reread if isinstance(found, list)
            for clip in found]
    contradicting = len(keys) * sum(fits) / max(1, len(fits))
    if exchanged >= _MANY * (exchanged + contradicting):
        writer.discard()
        raise UserError(
            f"{exchanged:,} of {writer.num_inputs:,} clips do not fit in their frames, but would "
            "if height and width were exchanged. --frame_size is HEIGHT WIDTH, and so are sizes "
            "in the input; keypoints are x, y. Read videos of the other orientation separately")


def _check_added_splits(out: Path) -> None:
    """Checks that a file to be replaced has no split that ``ptl-skel split`` has added.

    Raises:
        UserError: It has one, which would be lost.
    """
    try:
        how_split = KeypointFile(out).how_split
    except UserError:  # there is no file, or it is not usable
        return
    added = ", ".join(f"{name} ({how})" for name, how in how_split.items() if how)
    if added:
        raise UserError(f"{out} has splits that `ptl-skel split` has added: {added}. Overwriting "
                        "the file would lose them; give another --out, or remove the file and "
                        "split the new one again")


def _digest(keys: Sequence[str]) -> str:
    names = "\n".join(keys).encode(errors="surrogateescape")  # names of files can be any bytes
    return hashlib.sha256(names).hexdigest()


def _store(writer: ClipWriter, key: str, outcome: list[Clip] | Skipped) -> None:
    if isinstance(outcome, Skipped):
        writer.skip(key, outcome.reason, is_loss=outcome.is_loss)
        return
    try:
        writer.add(key, outcome)
    except UserError as error:  # a clip that must not be stored
        writer.skip(key, str(error))


def _known_clips(splits: Mapping[str, Mapping[str, Sequence[str]]], known: set[str]
                 ) -> tuple[dict[str, dict[str, list[str]]], list[str]]:
    """The splits without nonexistent clips, and a line about these for each part."""
    kept = {protocol: {part: [clip for clip in clips if clip in known]
                       for part, clips in parts.items()} for protocol, parts in splits.items()}
    lines = []
    for protocol, parts in splits.items():
        for part, clips in parts.items():
            unknown = [clip for clip in clips if clip not in known]
            if unknown:
                lines.append(f"{protocol}/{part}: {len(unknown):,}, the first is {unknown[0]!r}")
    return kept, lines


def _read(source: Source, key: str) -> Outcome:
    try:
        clips = [check_clip(clip) for clip in source.read(key)]
        return clips or Skipped("it holds no clip", is_loss=True)
    except Unusable as error:
        return Skipped(str(error), is_loss=not isinstance(error, LeftOut))
    except Exception as error:  # raised again where the outcomes are stored
        error.add_note(f"The input was {key!r}.")
        return error


def _outcomes(source: Source, keys: Sequence[str], workers: int, chunk: int
              ) -> Generator[Outcome, None, None]:
    """The outcome of each key, in the order of the keys."""
    if workers > 1:
        yield from _outcomes_in_parallel(source, keys, workers, chunk)
    else:
        keep_freed_memory()
        for key in keys:
            yield _read(source, key)


def _outcomes_in_parallel(source: Source, keys: Sequence[str], workers: int, size: int
                          ) -> Iterator[Outcome]:
    """Worker w reads every w-th chunk of keys; its pipe is read when it is their turn.

    A full pipe blocks its worker, so that only a few chunks wait in memory; a worker whose pipe has
    lost its reader ends, however this process died.
    """
    # Not fork: the progress bar runs a thread, and a forked process may wait forever for its lock.
    context = multiprocessing.get_context("spawn")
    chunks = [keys[start : start + size] for start in range(0, len(keys), size)]
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
            except (EOFError, ConnectionError) as error:
                raise UserError(
                    f"a worker process ended while it read {chunk[0]} to {chunk[-1]}, perhaps for "
                    "lack of memory; the same command with --workers 1 resumes from there"
                ) from error
            yield from outcomes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.join()


def keep_freed_memory() -> None:
    """Lets glibc reuse memory blocks for the next input.

    Otherwise the kernel maps and clears new pages for each, a quarter of the time for NTU files.
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
            sender.send([_portable(_read(source, key)) for key in chunk])


def _portable(outcome: Outcome) -> Outcome:
    """The outcome without a traceback, which cannot be pickled; that of a bug becomes text."""
    if isinstance(outcome, Exception) and not isinstance(outcome, UserError):
        return RuntimeError("reading failed in a worker process:\n\n"
                            + "".join(traceback.format_exception(outcome)))
    return outcome


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Makes processes started meanwhile ignore Ctrl-C: their parent ends them silently."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _progress() -> Progress:
    return Progress(TextColumn("{task.description}", markup=False), BarColumn(),
                    MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True))


def _counted(reasons: Mapping[str, str]) -> str:
    """The number, and the most frequent reasons; reasons that differ only in numbers are merged."""
    alike: dict[str, list[str]] = {}
    for reason in reasons.values():
        alike.setdefault(_NUMBER.sub("", reason), []).append(reason)
    frequent = sorted(alike.values(), key=len, reverse=True)[:_SHOWN]
    return "\n".join([f"{len(reasons):,}", *(
        f"{len(group):,}: {'e.g. ' if len(set(group)) > 1 else ''}{group[0]}"
        for group in frequent)])
