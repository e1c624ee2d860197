"""What comes from a server: of an even pace, on this machine."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from cases import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cases import Scratch

WHEEL = "paced-1.0-py3-none-any.whl"
PIP = f"{sys.executable} -m pip --isolated --disable-pip-version-check"
SPEEDS = r"(?m)^.* [kMG]?B/s.*$"
SECONDS = 7


def cases(scratch: Scratch) -> Iterator[Tool]:
    """Of one file each."""
    scratch.random("random", 128)
    wheel(scratch.path)
    with served(scratch.path) as address:
        source = f"--no-cache-dir --no-deps --index-url {address}/simple"
        yield Tool("curl", f"curl -o out {address}/random", "steady", "out", "rm -f out", r"(?s).+")
        yield Tool("curl", f"curl -s -o out {address}/random", "steady", "out", "rm -f out")
        yield Tool("wget", f"wget -O out {address}/random", "steady", "out", "rm -f out", r"(?s).+")
        yield Tool("evidence", f"wget -q -O out {address}/random", "unknown", "out", "rm -f out")
        yield Tool("pip", f"{PIP} download {source} -d out paced", "steady", "out", "rm -rf out", SPEEDS)
        yield Tool("pip", f"{PIP} install {source} --target out paced", "parts", "out/paced", "rm -rf out", SPEEDS)
    scratch.random("random", 2048)
    with nbd(scratch.path):
        yield Tool("nbdcopy", "nbdcopy --requests=4 nbd+unix:///?socket=socket out", "steady", "out", "rm -rf out")


class Answer(BaseHTTPRequestHandler):
    """A file of the server's folder, which takes `SECONDS`; or the index of the packages."""

    server: Server

    def do_GET(self) -> None:
        if self.path.startswith("/simple/"):
            data, pieces = f'<a href="/{WHEEL}">{WHEEL}</a>'.encode(), 1
        else:
            data, pieces = (self.server.folder / self.path[1:]).read_bytes(), SECONDS * 20
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if pieces == 1 else "application/octet-stream")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        began = time.monotonic()
        for number in range(pieces):
            self.wfile.write(data[len(data) * number // pieces : len(data) * (number + 1) // pieces])
            time.sleep(max(0.0, began + SECONDS * number / pieces - time.monotonic()))

    def log_message(self, *_: object) -> None:
        """Nothing is written down."""


class Server(ThreadingHTTPServer):
    """Serves the files of a folder."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.folder = folder


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of this folder."""
    with Server(folder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def nbd(folder: Path) -> Iterator[None]:
    """A server of the file ``random`` on the socket ``socket``: a pause for each read, as nbdkit's ``rate`` has a burst before."""
    words = ["nbdkit", "--foreground", "--unix", "socket", "--filter=delay", "file", "random", "delay-read=5ms"]
    server = subprocess.Popen(words, cwd=folder)
    try:
        while not (folder / "socket").exists():
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait()


def wheel(folder: Path) -> None:
    """Make a package of what is in ``random``."""
    with zipfile.ZipFile(folder / WHEEL, "w") as package:
        package.write(folder / "random", "paced/data")
        for name, text in {
            "METADATA": "Metadata-Version: 2.1\nName: paced\nVersion: 1.0\n",
            "WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }.items():
            package.writestr(f"paced-1.0.dist-info/{name}", text)
