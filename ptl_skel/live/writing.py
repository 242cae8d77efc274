"""Writes annotated videos and events; both remain readable after a crash."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from PIL import Image as Pillow

from ptl_skel.errors import UserError
from ptl_skel.pose.video import Image

_CLOCK = 90_000  # ticks of time stamps per second
_GIF_STEP = 10  # hundredths of a second between images
_FRAGMENT = 15  # frames in each fragment of the file


class VideoWriter:
    """An MP4 file in H.264; use it in a ``with`` statement.

    The file consists of fragments, each playable without the next one.

    Args:
        path: Where to write; must end in .mp4.
        fps: Approximate frames per second; each frame has its own time stamp.

    Raises:
        UserError: PyAV is missing, or the file cannot be written.
    """

    def __init__(self, path: Path, fps: float) -> None:
        try:
            import av
        except ImportError as error:
            raise UserError("writing a video needs PyAV: pip install 'ptl_skel[video]'"
                            ) from error
        self._av, self._path = av, path
        self._fps = Fraction(fps if fps > 0 else 30).limit_denominator(1001)
        self._stream: Any = None
        self._last = -1
        self._broken = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Python writes the file, since FFmpeg reports a full disk late or not at all.
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise self._failed(error) from error
        self._container = av.open(
            self._file, "w", format="mp4",
            options={"movflags": "frag_keyframe+empty_moov+default_base_moof"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close(quietly=error is not None)

    def write(self, image: Image, time: float) -> None:
        """Adds an image ``(H, W, 3)``, scaled to the size of the first one.

        Args:
            image: RGB.
            time: Seconds; an image that is not later than the last one is shown right after it.

        Raises:
            UserError: The file cannot be written, e.g. because the disk is full.
        """
        if self._stream is None:
            self._stream = self._start(image)
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
        frame = frame.reformat(width=self._stream.width, height=self._stream.height,
                               format="yuv420p")
        self._last = max(round(time * _CLOCK), self._last + 1)
        frame.pts, frame.time_base = self._last, Fraction(1, _CLOCK)
        self._mux(self._stream.encode(frame))

    def close(self, *, quietly: bool = False) -> None:
        """Writes the rest and closes the file.

        Args:
            quietly: Ignore errors, because another one is being raised.

        Raises:
            UserError: The disk is full, or fails.
        """
        if self._file.closed:
            return
        try:
            if self._stream is not None and not self._broken:
                self._mux(self._stream.encode(None))
            self._container.close()
        except (OSError, UserError, self._av.error.FFmpegError) as error:
            if isinstance(error, UserError) and not quietly:
                raise
            if not self._broken and not quietly:
                raise self._failed(error) from error
        finally:
            self._file.close()

    def _start(self, image: Image) -> Any:
        stream: Any = self._container.add_stream("libx264", rate=self._fps)
        stream.height, stream.width = (side // 2 * 2 for side in image.shape[:2])  # even
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "24", "g": str(_FRAGMENT)}
        stream.codec_context.time_base = Fraction(1, _CLOCK)
        stream.codec_context.thread_count = 1
        return stream

    def _mux(self, packets: Any) -> None:
        try:
            for packet in packets:
                self._container.mux(packet)
        except OSError as error:
            self._broken = True  # FFmpeg raises another error at every further call
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> UserError:
        written = "; the part written so far can be played" if self._last >= 0 else ""
        return UserError(f"{_not_written('--out', self._path, error)}{written}")


class GifWriter:
    """A GIF for web pages; use it in a ``with`` statement. For short videos: it is kept in memory.

    Args:
        path: Where to write.

    Raises:
        UserError: The file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._images: list[Pillow.Image] = []
        self._times: list[int] = []  # hundredths of a second, the unit of GIFs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if not self._images:
            return
        # One palette for all images, so that unchanged areas take no bytes.
        some = [np.asarray(each) for each in self._images[:: max(1, len(self._images) // 8)]]
        palette = Pillow.fromarray(np.concatenate(some)).quantize(128)
        first, *others = (each.quantize(palette=palette, dither=Pillow.Dither.NONE)
                          for each in self._images)
        shown = np.diff([*self._times, self._times[-1] + _GIF_STEP])
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            first.save(self._path, save_all=True, append_images=others,
                       duration=(10 * shown).tolist(), loop=0, optimize=True)
        except OSError as failed:
            raise UserError(_not_written("--out", self._path, failed)) from failed

    def write(self, image: Image, time: float) -> None:
        """Adds an image ``(H, W, 3)``; only the first in each tenth of a second is kept."""
        now = round(100 * time)
        if self._times and now // _GIF_STEP <= self._times[-1] // _GIF_STEP:
            return
        self._times.append(now)
        whole = Pillow.fromarray(image)
        self._images.append(whole.resize(self._images[0].size if self._images else whole.size))


class EventWriter:
    """A file with one JSON object per line, each written at once; use it in a ``with`` statement.

    Args:
        path: Where to write.

    Raises:
        UserError: The file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = path.open("wb", buffering=0)
        except OSError as error:
            raise UserError(_not_written("--json", self._path, error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._file.close()

    def write(self, event: dict[str, Any]) -> None:
        """Adds a line.

        Raises:
            UserError: The disk is full, or fails.
        """
        try:
            self._file.write(json.dumps(event).encode() + b"\n")
        except OSError as error:
            raise UserError(_not_written("--json", self._path, error)) from error


def _not_written(flag: str, path: Path, error: Exception) -> str:
    return f"{flag} {path} cannot be written: {getattr(error, 'strerror', None) or error}"
