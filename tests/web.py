"""A web server of our own on this machine, which takes its time where a test wants to see how far somebody is."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PIECE = 1 << 16


class Web(ThreadingHTTPServer):
    """Its paths: ``/SIZE/NAME``, of zeroes or what `files` has of that name, and before that ``/slow``, ``/unsized``, ``/moved`` or several of them; ``/slow/slow`` is slower."""

    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = files
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.over = threading.Event()


class Answer(BaseHTTPRequestHandler):
    """One answer; a slow one comes in a hundred pieces, over a second and a half."""

    server: Web

    def do_GET(self) -> None:
        found = re.fullmatch(r"((?:/[a-z]+)*)/(\d+)/([\w.-]+)", self.path)
        if found is None:
            self.send_error(404)
            return
        how, body = found[1].split("/")[1:], self.server.files.get(found[3]) or bytes(int(found[2]))
        size = len(body)
        if "moved" in how:
            self.send_response(302)
            self.send_header("Location", self.path.replace("/moved", "", 1))
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()
            return
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Connection", "close")
        if "unsized" not in how:
            self.send_header("Content-Length", str(size - start))
        self.end_headers()
        piece = max(1, -(-(size - start) // 100)) if "slow" in how else PIECE
        while start < size and not self.server.over.is_set():
            self.wfile.write(body[start : start + piece])
            start += piece
            if "slow" in how:
                self.server.over.wait(0.016 * how.count("slow"))

    def log_message(self, *_: object) -> None:
        """Nothing is written down."""


@contextmanager
def web(**files: bytes) -> Iterator[str]:
    """The address of a server that runs meanwhile; `files`: what some names stand for."""
    with Web(files) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.address
        finally:
            server.over.set()
            server.shutdown()
            thread.join()
