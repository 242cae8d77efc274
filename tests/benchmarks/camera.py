"""A camera in front of `ptl-skel live`: does it lose frames, and how long does a label take?

    python tests/benchmarks/camera.py model.onnx video.mp4 --seconds 60

Other options are handed to `ptl-skel live`.

Another process sends the packets of the video as they are, in real time and again and again, over
HTTP on this machine. So the program that is measured has to decode, but nothing is encoded for it.
Measure on an idle machine: the times are those of the clock.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import subprocess
import sys
import time
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import av


def main() -> None:
    """Runs `ptl-skel live` on the camera, which prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("video", type=Path, help="H.264")
    parser.add_argument("--rate", type=int, default=30, help="frames a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    options, others = parser.parse_known_args()
    if not options.video.is_file():
        parser.error(f"the video {options.video} does not exist")
    ports: multiprocessing.SimpleQueue[int] = multiprocessing.SimpleQueue()
    camera = multiprocessing.Process(
        target=serve, args=(options.video, options.rate, ports), daemon=True)
    camera.start()
    live = subprocess.Popen([
        sys.executable, "-m", "ptl_skel", "live", "--model", str(options.model), "--source",
        f"http://127.0.0.1:{ports.get()}/", *others])
    try:
        live.wait(options.seconds)
    except subprocess.TimeoutExpired:
        live.send_signal(signal.SIGINT)
        live.wait()
    camera.terminate()


def serve(video: Path, rate: int, ports: multiprocessing.SimpleQueue[int]) -> None:
    """Serves a video as a camera; says at which port."""
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            try:
                send(video, rate, self.wfile)
            except (OSError, av.error.FFmpegError):  # nobody listens any more
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    ports.put(server.server_port)
    server.serve_forever()


def send(video: Path, rate: int, file: Any) -> None:
    """Writes the packets of a video as an MPEG transport stream, for ever, each at its time."""
    step = Fraction(1, rate)
    with av.open(video) as source, av.open(
            file, "w", format="mpegts", options={"flush_packets": "1"}) as sink:
        stream = source.streams.video[0]
        copy = sink.add_stream_from_template(stream)
        if stream.average_rate is None:
            raise SystemExit(f"{video} does not say its frame rate")
        number, started = 0, time.monotonic()
        while True:
            source.seek(0)
            first = number
            for packet in source.demux(stream):
                if packet.dts is None or packet.pts is None or packet.time_base is None:
                    continue
                frames = packet.time_base * stream.average_rate  # of a tick
                lead = round((packet.pts - packet.dts) * frames)  # of the order of decoding
                packet.stream, packet.time_base = copy, step
                packet.dts, packet.pts = number, number + lead
                time.sleep(max(0.0, started + number / rate - time.monotonic()))
                sink.mux(packet)
                number += 1
            if number == first:
                raise SystemExit(f"{video} has no packets")


if __name__ == "__main__":
    main()
