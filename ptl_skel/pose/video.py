"""Reads videos frame by frame with PyAV: bounded memory, frames are scaled when decoded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from ptl_skel.errors import MissingFileError, UserError

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

Image = NDArray[np.uint8]
"""RGB, ``(H, W, 3)``."""

_QUARTER = 90  # degrees
_JUMP = 1.0  # seconds; if times go back by more, another recording begins


class VideoError(UserError):
    """A file cannot be used as a video; the message says why."""


@dataclass(frozen=True)
class Frame:
    """A frame of a video; it is converted to an image on demand.

    Args:
        number: Index of the frame, from 0.
        time: Seconds since the first frame of a video, or since a camera was opened; never earlier
            than the frame before.
        decoded: The frame as FFmpeg decoded it.
    """

    number: int
    time: float
    decoded: av.VideoFrame

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the upright frame: phones store it rotated."""
        height, width = self.decoded.height, self.decoded.width
        return (width, height) if self._quarters % 2 else (height, width)

    @property
    def _quarters(self) -> int:
        """How many quarter turns to the left make the frame upright."""
        return round(self.decoded.rotation / _QUARTER) % 4

    def to_image(self, side: int | None = None) -> Image:
        """The frame as an RGB image ``(H, W, 3)``.

        Args:
            side: Longer side of the image, px; None for the size of the frame. Frames are only
                scaled down, by averaging over areas.
        """
        return np.rot90(_to_image(self.decoded, side), self._quarters)


class FrameSource(AbstractContextManager["FrameSource"]):
    """A source of frames: a video or a camera; a ``with`` statement closes it.

    Attributes:
        fps: Frames per second; 0 if not known.
        num_damaged: Damaged packets that were skipped so far.
    """

    fps: float
    num_damaged: int

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Ends the frames."""

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """The following frames."""


class Video(FrameSource):
    """A video file, read frame by frame; use it in a ``with`` statement.

    Damaged packets are skipped and counted.

    Args:
        path: The file.

    Attributes:
        fps: Frames per second, 0 if the file does not specify it.
        num_frames: Number of frames that the file declares, 0 if it does not.
        duration: Seconds that the file declares, 0 if it does not.
        num_damaged: Packets that were skipped so far.

    Raises:
        MissingFileError: There is no such file.
        VideoError: The file is not a video, is truncated, or contains no frames.
        UserError: PyAV is missing.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise MissingFileError(f"the video {self.path} does not exist")
        if not self.path.is_file():
            raise VideoError(f"{self.path} is not a file; give a video")
        self._container = _open_file(self.path)
        try:
            self._stream = find_video_stream(self._container, str(self.path))
        except UserError:
            self._container.close()
            raise
        self._stream.codec_context.thread_count = 1  # a second thread would not help
        self.fps = float(self._stream.average_rate or 0)
        self.num_frames = self._stream.frames
        self.duration = _declared_duration(self._container, self._stream)
        self.num_damaged = 0

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """The following frames, in display order.

        Raises:
            VideoError: The file cannot be read any further, e.g. because of a disk failure, or none
                of its frames can be decoded.
        """
        import av

        start = None
        number, last = 0, 0.0
        for packet in _packets(self._container, self._stream, self.path):
            try:
                decoded = packet.decode()
            except av.error.FFmpegError:  # damage may look like a feature that FFmpeg lacks
                self.num_damaged += 1
                continue
            for frame in decoded:
                time = frame.time
                if time is None:  # the file has no time stamps
                    time = number / self.fps if self.fps else 0.0
                start = time if start is None else start
                if time - start < last - _JUMP:  # recordings were joined, and each begins anew
                    start = time - last - (1 / self.fps if self.fps else 0.0)
                last = max(last, time - start)
                yield Frame(number, last, frame)
                number += 1
        if not number:
            raise VideoError(f"no frame of {self.path} can be decoded: it is damaged or empty")


def _packets(container: InputContainer, stream: VideoStream, path: Path) -> Iterator[Any]:
    """The packets of a stream, up to an unreadable rest."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.EOFError):
            return
        except IndexError:  # PyAV at the end, if damage looked like further streams
            last = av.Packet()  # makes the decoder return the frames that it holds back
            last.stream = stream
            yield last
            return
        except av.error.InvalidDataError:  # the file is truncated
            return
        except av.error.FFmpegError as error:
            raise VideoError(f"{path} cannot be read any further: {error.strerror}") from error
        yield packet


def _declared_duration(container: InputContainer, stream: VideoStream) -> float:
    import av

    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _open_file(path: Path) -> InputContainer:
    try:
        import av
    except ImportError as error:
        raise UserError("reading a video needs PyAV: pip install 'ptl_skel[video]'") from error
    try:
        # Titles and the like may be in any encoding.
        return av.open(path, metadata_errors="replace")
    except av.error.InvalidDataError as error:
        raise VideoError(f"{path} is not a video, or was cut off before its index") from error
    except av.error.FFmpegError as error:
        raise VideoError(f"{path} cannot be read: {error.strerror}") from error


def find_video_stream(container: InputContainer, name: str) -> VideoStream:
    """The first video stream in a container.

    Raises:
        VideoError: There is no video stream, or no decoder for it.
    """
    if not container.streams.video:
        kinds = sorted({stream.type for stream in container.streams})
        raise VideoError(f"{name} has no video stream, only {', '.join(kinds) or 'empty streams'}")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise VideoError(f"{name} has a format that this FFmpeg cannot decode; convert "
                         "it to H.264")
    return stream


def scale_image(image: Image, side: int | None) -> Image:
    """An RGB image ``(H, W, 3)`` scaled down so that its longer side is `side`, as in `Frame`."""
    if side is None or max(image.shape[:2]) <= side:
        return image
    import av

    return _to_image(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24"), side)


def _to_image(decoded: av.VideoFrame, side: int | None) -> Image:
    height, width = decoded.height, decoded.width
    if side is not None and max(height, width) > side:
        scale = side / max(height, width)
        height, width = max(1, round(height * scale)), max(1, round(width * scale))
    convert = partial(decoded.reformat, width=width, height=height, format="rgb24",
                      interpolation="AREA")
    try:
        image = convert()
    except OSError:  # the colour matrix is unknown, e.g. because of damage
        image = convert(src_colorspace="DEFAULT", dst_colorspace="DEFAULT")
    return cast("Image", image.to_ndarray())


def to_jpeg(image: Image) -> bytes:
    """An RGB image ``(H, W, 3)`` as the content of a JPEG file."""
    import av

    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.height, encoder.width = image.shape[:2]
    encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1, 1)
    encoder.options = {"qscale": "3"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
    return b"".join(bytes(packet) for packet in
                    (*encoder.encode(frame.reformat(format="yuvj420p")), *encoder.encode(None)))
