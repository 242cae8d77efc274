"""Cameras: a device, or a stream over the network, reopened when it is lost."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ptl_skel.errors import UserError
from ptl_skel.pose.video import Frame, FrameSource, find_video_stream

if TYPE_CHECKING:

    import av
    from av.container import InputContainer

_LIVE = ("rtsp://", "rtsps://", "rtmp://", "http://", "https://", "udp://", "tcp://", "srt://")
_OPEN, _READ = 5.0, 3.0  # seconds that opening and reading may take
_WAIT, _LONGEST = 0.5, 8.0  # seconds between attempts to reopen it, doubled each time


class Address(NamedTuple):
    """How FFmpeg opens a camera.

    Args:
        name: Its file or address.
        format: Name of the input format; None to detect it.
        options: Options of the format.
    """

    name: str
    format: str | None = None
    options: dict[str, str] = {}  # noqa: RUF012  # never modified


def is_camera(source: str) -> bool:
    """Whether a source is live: the number of a camera, its device, or an address."""
    return source.isdecimal() or source.startswith((*_LIVE, "/dev/video"))


def find_address(source: str, platform: str = sys.platform) -> Address:
    """How to open a camera on this system.

    Args:
        source: The number of a camera, from 0; its device; or an address.
        platform: The value of `sys.platform`.

    Raises:
        UserError: There is no camera with that number (on Windows, where cameras have names).
    """
    if source.startswith(("rtsp://", "rtsps://")):
        return Address(source, options={"rtsp_transport": "tcp"})  # udp loses packets
    if source.startswith("/dev/video"):
        return Address(source, "v4l2")
    if not source.isdecimal():
        return Address(source)
    if platform == "win32":
        return Address(f"video={_windows_name(int(source))}", "dshow")
    if platform == "darwin":
        return Address(source, "avfoundation", {"framerate": "30"})
    return Address(f"/dev/video{source}", "v4l2")


def _windows_name(number: int) -> str:
    import av

    names = [device.name for device in av.enumerate_input_devices("dshow")
             if "video" in device.media_types]
    if number >= len(names):
        raise UserError(f"there is no camera {number}; there are: "
                        + (", ".join(f"{i} ({name})" for i, name in enumerate(names)) or "none"))
    return names[number]


class CameraLostError(UserError):
    """A camera was lost and did not return in time."""


class Camera(FrameSource):
    """The frames of a camera as they arrive; use it in a ``with`` statement.

    If the camera is lost, it is reopened repeatedly, after waits that grow from 0.5 to 8 seconds.
    Damaged packets are skipped and counted. The size of the frames may change.

    Args:
        source: See `find_address`.
        patience: Seconds without a frame before giving up.
        report: Called with a message when the camera is lost, and when it is reconnected.
        options: Options for FFmpeg in addition to the usual ones, e.g. ``video_size``.

    Attributes:
        fps: Frames per second that the camera declares, 0 if it does not.
        num_damaged: Packets that were skipped so far.
        num_reconnects: How often it was lost and opened again.

    Raises:
        UserError: The camera cannot be opened the first time; PyAV is missing.
    """

    def __init__(self, source: str, *, patience: float = 20.0,
                 report: Callable[[str], None] = print,
                 options: dict[str, str] | None = None) -> None:
        self.source, self._patience, self._report = source, patience, report
        self._address = find_address(source)
        self._options = {**self._address.options, **(options or {})}
        self._closed = threading.Event()
        self.fps, self.num_damaged, self.num_reconnects = 0.0, 0, 0
        self._container: InputContainer | None = self._open()
        self._opened = time.monotonic()

    def close(self) -> None:
        """Ends the frames, possibly from another thread; at the latest when reading times out."""
        self._closed.set()

    def __iter__(self) -> Iterator[Frame]:
        """The frames, until `close`.

        Raises:
            CameraLostError: There was no frame for `patience` seconds.
        """
        number, seen = 0, time.monotonic()
        wait, reason = _WAIT, ""
        while not self._closed.is_set():
            if self._container is None:
                try:
                    self._container = self._open()
                except UserError as error:
                    reason = str(error)
            if self._container is not None:
                for frame in self._frames(self._container):
                    now = time.monotonic()
                    if reason:
                        self.num_reconnects += 1
                        self._report(f"{self.source} was reconnected after {now - seen:.1f} s")
                    seen, wait, reason = now, _WAIT, ""
                    yield Frame(number, now - self._opened, frame)
                    number += 1
                self._container = None
                if self._closed.is_set():
                    return
                if not reason:
                    reason = "it sent no more frames"
                    self._report(f"the camera {self.source} was lost; trying to reconnect")
            lost = time.monotonic() - seen
            if lost > self._patience:
                raise CameraLostError(f"no frame from {self.source} for {lost:.0f} s: "
                                      f"{reason}")
            self._closed.wait(min(wait, self._patience))
            wait = min(2 * wait, _LONGEST)

    def _open(self) -> InputContainer:
        """Opens the camera.

        Raises:
            UserError: It cannot be opened.
        """
        try:
            import av
        except ImportError as error:
            raise UserError("reading a camera needs PyAV: pip install 'ptl_skel[video]'") from error
        try:
            container = av.open(self._address.name, format=self._address.format,
                                options=self._options, timeout=(_OPEN, _READ),
                                metadata_errors="replace")
        except av.error.FFmpegError as error:
            raise UserError(f"the camera {self.source} cannot be opened: {error.strerror}"
                            ) from error
        try:
            stream = find_video_stream(container, self.source)
        except UserError:
            container.close()
            raise
        stream.thread_type = "SLICE"  # threads for whole frames delay by a frame each
        self.fps = float(stream.average_rate or 0)
        return container

    def _frames(self, container: InputContainer) -> Iterator[av.VideoFrame]:
        """The frames of a camera until it ends, fails or is closed; then it is closed."""
        import av

        try:
            packets = container.demux(container.streams.video[0])
            while not self._closed.is_set():
                try:
                    packet = next(packets)
                except (StopIteration, av.error.FFmpegError, IndexError):  # see pose.video
                    return
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    self.num_damaged += 1
                    continue
                yield from frames
        finally:
            container.close()
