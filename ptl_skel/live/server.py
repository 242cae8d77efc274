"""A small web page with the annotated stream: MJPEG, and the labels as JSON."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self

from ptl_skel.errors import UserError
from ptl_skel.pose.video import Image, to_jpeg

_BOUNDARY = "frame"
_WAIT = 1.0  # seconds between checks for the end of the stream
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>ptl-skel live</title>
<link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{margin:0;background:#14181e;color:#dfe3e8;font:16px system-ui,sans-serif}
main{max-width:1100px;margin:auto;padding:12px}img{width:100%;display:block;background:#000}
table{border-collapse:collapse;margin-top:12px}td,th{text-align:left;padding:4px 24px 4px 0}
.unknown{color:#8a919b}</style></head>
<body><main><img src="/stream" alt="the stream with skeletons and labels">
<p id="facts"></p><table><thead><tr><th>person<th>label<th>probability<th>earlier</tr></thead>
<tbody></tbody></table></main><script>
const body = document.querySelector("tbody");
async function refresh() {
  try {
    const state = await (await fetch("/state")).json();
    document.getElementById("facts").textContent = state.facts;
    body.replaceChildren(...state.people.map(person => {
      const row = document.createElement("tr");
      if (person.label === null) row.className = "unknown";
      for (const text of [person.person ?? "scene", person.label ?? "unknown",
                          Math.round(100 * person.probability) + " %", person.earlier.join(", ")]) {
        row.insertCell().textContent = text;
      }
      return row;
    }));
  } catch { document.getElementById("facts").textContent = "The stream has ended."; return; }
  setTimeout(refresh, 500);
}
refresh();
</script></body></html>
"""


class PageServer:
    """Serves the page; use it in a ``with`` statement.

    Args:
        host: Address to listen on.
        port: Port; 0 for any free one.

    Attributes:
        url: URL of the page.

    Raises:
        UserError: It cannot listen on this address.
    """

    def __init__(self, host: str, port: int) -> None:
        feed = self._feed = _Feed()
        handler = type("Handler", (_Handler,), {"feed": feed})
        try:
            self._server = _Server((host, port), handler)
        except (OSError, OverflowError) as error:
            raise UserError(f"--serve cannot listen at {host}:{port}: {error}; give "
                            "--serve another port, or 0 for any free one") from error
        self._server.daemon_threads = True
        self.url = f"http://{host}:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._feed.end()
        self._server.shutdown()
        self._server.server_close()

    def show(self, image: Image, state: dict[str, Any]) -> None:
        """Shows an RGB image ``(H, W, 3)`` and the state of the table."""
        self._feed.set(image, state)


class _Feed:
    """The newest image; it becomes a JPEG once, and only if someone watches."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._image: Image | None = None
        self._jpeg = b""
        self._encoded = self._number = 0
        self.over = False
        self.state: dict[str, Any] = {"facts": "", "people": []}

    def set(self, image: Image, state: dict[str, Any]) -> None:
        with self._changed:
            self._image, self.state = image, state
            self._number += 1
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self.over = True
            self._changed.notify_all()

    def after(self, number: int) -> tuple[int, bytes]:
        """The newest image after that number as a JPEG; empty if there was none for a second."""
        with self._changed:
            self._changed.wait_for(lambda: self.over or self._number > number, _WAIT)
            if self._image is None or self._number <= number:
                return number, b""
            if self._encoded != self._number:
                self._jpeg, self._encoded = to_jpeg(self._image), self._number
            return self._number, self._jpeg


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints no traceback if the browser has closed the connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    feed: ClassVar[_Feed]

    def log_message(self, format: str, *args: Any) -> None:
        """Does nothing."""

    def do_GET(self) -> None:  # the name that the base class calls
        """Responds to a request of the browser."""
        if self.path == "/":
            self._send(_PAGE.encode(), "text/html; charset=utf-8")
        elif self.path == "/state":
            self._send(json.dumps(self.feed.state).encode(), "application/json")
        elif self.path == "/stream":
            self._stream()
        else:
            self.send_error(404)

    def _send(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        boundary = f"--{_BOUNDARY}\r\n".encode()
        number = 0
        self.wfile.write(boundary)
        while not self.feed.over:
            number, jpeg = self.feed.after(number)
            if jpeg:  # browsers show an image when they receive the boundary after it
                self.wfile.write(b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
                                 b"%s\r\n%s" % (len(jpeg), jpeg, boundary))
