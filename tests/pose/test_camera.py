"""Cameras that are lost, reconnected, or do not exist."""

import http.server
import multiprocessing
import socket
import threading
import time

import av
import pytest
from videos import SIZE, push, walking

from ptl_skel.errors import UserError
from ptl_skel.pose import camera as module
from ptl_skel.pose.camera import Address, Camera, CameraLostError, find_address, is_camera


class Server:
    """Sends a transport stream over HTTP to whoever asks, and can be ended and begun again."""

    def __init__(self, content):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "video/mp2t")
                self.end_headers()
                self.wfile.write(outer.content)

            def log_message(self, *_):
                pass

        self.content, self._handler, self.port = content, Handler, 0
        self.start()

    def start(self):
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_WAIT", 0.05)
    monkeypatch.setattr(module, "_LONGEST", 0.1)
    one = Server(walking(tmp_path / "a.ts", 30).read_bytes())
    yield one
    one.stop()


def test_a_lost_camera_is_reconnected(server):
    said, seen = [], 0
    with Camera(f"http://127.0.0.1:{server.port}/a.ts", patience=5, report=said.append) as camera:
        for frame in camera:
            assert (frame.number, frame.size) == (seen, SIZE)
            seen += 1
            if seen == 20:
                server.stop()
                threading.Timer(0.4, server.start).start()
            if seen == 50:
                break
    assert camera.num_reconnects == 1
    assert "was lost" in said[0]
    assert "was reconnected after" in said[1]
    assert len(said) == 2
    assert camera.fps == 25


def test_a_camera_that_stays_lost_is_given_up(server):
    with Camera(f"http://127.0.0.1:{server.port}/", patience=0.5, report=lambda _: None) as camera:
        frames = iter(camera)
        assert next(frames).number == 0
        server.stop()
        began = time.monotonic()
        with pytest.raises(CameraLostError, match=r"no frame from http://.* for \d s: the "
                           "camera .* cannot be opened"):
            list(frames)
    assert time.monotonic() - began < 10
    server.start()  # the fixture ends it


def test_a_camera_is_closed_from_another_thread(server):
    with Camera(f"http://127.0.0.1:{server.port}/", report=lambda _: None) as camera:
        for frame in camera:
            if frame.number == 40:  # it has been opened again
                threading.Thread(target=camera.close).start()
    assert frame.number >= 40


def test_damage_does_not_end_the_frames(server):
    content = bytearray(server.content)
    for place in range(2000, len(content), 300):
        content[place] ^= 0x55
    server.content = bytes(content)
    with Camera(f"http://127.0.0.1:{server.port}/", report=lambda _: None) as camera:
        for frame in camera:
            if frame.number > 60:
                break
    assert frame.size == SIZE


def test_rtsp():
    """Without a server: the reader listens, and another process pushes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"rtsp://127.0.0.1:{free.getsockname()[1]}/live"
    # Another process: in one, FFmpeg's two sides wait for each other.
    pusher = multiprocessing.get_context("spawn").Process(target=push, args=(address,), daemon=True)
    pusher.start()
    try:
        with Camera(address, patience=0.1, report=lambda _: None,
                    options={"rtsp_flags": "listen", "listen_timeout": "10"}) as camera:
            frame = next(frame for frame in camera if frame.number == 15)
    finally:
        pusher.kill()
        pusher.join()
    assert frame.size == SIZE
    assert camera.fps == 30


def test_cameras_that_are_not_there():
    for source in ("http://127.0.0.1:9/", "rtsp://127.0.0.1:9/x", "/dev/video97"):
        with pytest.raises(UserError, match=f"the camera {source} cannot be opened"):
            Camera(source)


@pytest.mark.parametrize(("source", "platform", "address"), [
    ("0", "linux", Address("/dev/video0", "v4l2")),
    ("/dev/video2", "linux", Address("/dev/video2", "v4l2")),
    ("1", "darwin", Address("1", "avfoundation", {"framerate": "30"})),
    ("1", "win32", Address("video=Second", "dshow")),
    ("rtsp://x/y", "linux", Address("rtsp://x/y", None, {"rtsp_transport": "tcp"})),
    ("http://x/y", "win32", Address("http://x/y")),
])
def test_addresses(monkeypatch, source, platform, address):
    class Device:
        def __init__(self, name, *types):
            self.name, self.media_types = name, types

    monkeypatch.setattr(av, "enumerate_input_devices", lambda _: [
        Device("First", "video"), Device("Sound", "audio"), Device("Second", "video")])
    assert find_address(source, platform) == address
    assert is_camera(source)
    assert not is_camera("video.mp4")


def test_a_camera_that_windows_does_not_have(monkeypatch):
    monkeypatch.setattr(av, "enumerate_input_devices", lambda _: [])
    with pytest.raises(UserError, match="there is no camera 3; there are: none"):
        find_address("3", "win32")
