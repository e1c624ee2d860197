"""Services for clients to talk to: the real daemon in a process of its own, and others that say whatever a test wants."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
from doors import Line

from pollprog.messages import StatusMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = 30.0
"""Seconds after which what should happen counts as failed."""
QUICK = "[daemon]\ninitial_delay = 0.1\ninterval = 0.1\ngrace = 2.0\n"
"""The first status comes soon, and the others soon after."""
SERVE = """
import sys
from pollprog.config import parse
from pollprog.daemon import main
main(parse(sys.argv[2], "test.toml"), sys.argv[1])
"""


class Daemon:
    """The real one."""

    def __init__(self, folder: Path, configuration: str = QUICK) -> None:
        folder.chmod(0o700)
        self.path = folder / "sock"
        self.address = f"unix:{self.path}"
        self.configuration = configuration
        self.process: subprocess.Popen[str]
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        words = [sys.executable, "-c", SERVE, str(self.path), self.configuration]
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert self.process.stderr is not None
        said = self.process.stderr.readline()
        assert "listening" in said, said + self.process.stderr.read()

    def call(self, method: str, /, **parameters: Any) -> dict[str, Any]:
        """A call with one reply, without a client that has to be started."""
        line = Line(self.path)
        try:
            return line.call(method, **parameters)
        finally:
            line.close()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """As nobody wants it."""
        self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()

    def stop(self) -> None:
        """In order, and no later than it says."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            finally:
                self.kill()
        elif self.process.stderr is not None:
            self.process.stderr.close()


@contextlib.contextmanager
def speaking(folder: Path, *talks: Callable[[socket.socket], object]) -> Iterator[str]:
    """The address of a service that does the first of these with its first connection, and so on; the last again and again."""
    path = folder / "other"
    failed: list[BaseException] = []
    threads: list[threading.Thread] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def talk(number: int, sock: socket.socket) -> None:
            try:
                with sock:
                    sock.settimeout(PATIENCE)
                    talks[min(number, len(talks) - 1)](sock)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client has had enough of it
            except BaseException as error:
                failed.append(error)

        def accept() -> None:
            for number in range(1000):
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                threads.append(threading.Thread(target=talk, args=(number, sock)))
                threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"unix:{path}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join(PATIENCE)
                assert not thread.is_alive()
            os.unlink(path)
    assert not failed, failed


def heard(sock: socket.socket) -> dict[str, object]:
    """The next call; one that nothing follows yet."""
    data = b""
    while not data.endswith(b"\0"):
        chunk = sock.recv(65536)
        if not chunk:
            raise ConnectionResetError
        data += chunk
    call: dict[str, object] = msgspec.json.decode(data[:-1])
    return call


def reply(**parameters: object) -> bytes:
    return msgspec.json.encode({"parameters": parameters}) + b"\0"


def status(current: int, total: int | None = 100, **rest: object) -> bytes:
    """A status, as the daemon sends it."""
    given: dict[str, object] = {"job": "x", "seq": current + 1, "state": "running", "unit": "items", "elapsed": 2.0}
    message = StatusMessage(**{**given, "current": current, "total": total, **rest})  # type: ignore[arg-type] # as given
    return msgspec.json.encode({"parameters": {"status": message}, "continues": True}) + b"\0"


def until_closed(sock: socket.socket) -> None:
    """Wait until the client goes away."""
    while sock.recv(65536):
        pass


def wait(condition: Callable[[], object]) -> None:
    """Wait until it is so, with a bound."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)
