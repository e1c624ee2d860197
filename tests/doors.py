"""A daemon behind its socket, and plain connections to it: some lines of socket code, and our wire format."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from children import wait_until

from pollprog.varlink import OPERATIONS, Framer, encode_call, parse_reply

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PATIENCE = 30.0
"""Seconds after which what should happen counts as failed."""
QUICK = "[daemon]\ninitial_delay = 0.1\ninterval = 0.1\ngrace = 1.0\n"
"""The first status comes soon, the others soon after, and nobody waits long for what ignores SIGTERM."""


class Reply(NamedTuple):
    """One reply to a call."""

    parameters: dict[str, Any]
    continues: bool
    error: str | None
    at: float
    """When it came, on the monotonic clock."""

    @property
    def status(self) -> Any:
        return self.parameters["status"]


class Refused(Exception):
    """The reply was an error."""

    def __init__(self, name: str, parameters: dict[str, Any]) -> None:
        super().__init__(name, parameters)
        self.name = name.rpartition(".")[2]
        self.parameters = parameters


class Line:
    """One connection."""

    def __init__(self, path: str | Path | socket.socket) -> None:
        if isinstance(path, socket.socket):
            self.socket = path
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(str(path))
        self.socket.settimeout(PATIENCE)
        self._framer = Framer(1 << 22)

    def send(self, method: str, /, *, more: bool = True, oneway: bool = False, **parameters: Any) -> None:
        name = method if "." in method else f"{OPERATIONS}.{method}"
        self.socket.sendall(encode_call(name, parameters, more=more and not oneway, oneway=oneway))

    def reply(self) -> Reply:
        """The next one."""
        while (message := self._framer.next()) is None:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError("the daemon has hung up")
            self._framer.feed(data)
        told = parse_reply(message)
        return Reply(json.loads(bytes(told.parameters)), told.continues, told.error, time.monotonic())

    def replies(self) -> list[Reply]:
        """All that come yet to this call."""
        found = [self.reply()]
        while found[-1].continues:
            found.append(self.reply())
        return found

    def until(self, **wanted: Any) -> Reply:
        """The first that continues and whose status has these members."""
        while True:
            reply = self.reply()
            assert reply.continues, f"{reply} came before a status with {wanted}"
            if wanted.items() <= reply.status.items():
                return reply

    def talk(self, method: str, /, **parameters: Any) -> list[Reply]:
        """A call with ``more``, and all replies to it."""
        self.send(method, **parameters)
        return self.replies()

    def call(self, method: str, /, **parameters: Any) -> dict[str, Any]:
        """A call with one reply. Refused."""
        self.send(method, more=False, **parameters)
        (reply,) = self.replies()
        if reply.error is not None:
            raise Refused(reply.error, reply.parameters)
        return reply.parameters

    def is_silent(self) -> bool:
        """Whether nothing has come that was not read."""
        return not self._framer.unread and not select.select([self.socket], [], [], 0)[0]

    def close(self) -> None:
        self.socket.close()


class Door:
    """A daemon that runs in its own process."""

    def __init__(self, process: subprocess.Popen[str], path: Path, log: Path) -> None:
        self.process = process
        self.path = path
        self._log = log
        self._lines: list[Line] = []

    def line(self) -> Line:
        """Another connection."""
        line = Line(self.path)
        self._lines.append(line)
        return line

    def call(self, method: str, /, **parameters: Any) -> dict[str, Any]:
        """A call with one reply, on a connection of its own. Refused."""
        line = self.line()
        try:
            return line.call(method, **parameters)
        finally:
            line.close()

    def job(self, job: str) -> dict[str, Any]:
        """A job as it is now."""
        found: dict[str, Any] = self.call("Get", job=job)["job"]
        return found

    def state(self, job: str) -> str:
        """Where it stands."""
        return str(self.job(job)["state"])

    def wait(self, job: str) -> dict[str, Any]:
        """A job when it is over."""
        found: dict[str, Any] = self.call("Follow", job=job)["job"]
        return found

    def wait_for(self, job: str, state: str) -> None:
        """Return when it is there, and in this state."""

        def is_there() -> bool:
            try:
                return self.state(job) == state
            except Refused:
                return False

        wait_until(is_there)

    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text()

    def end(self, number: int = signal.SIGTERM) -> None:
        """Ask it to end, and make sure that it does so in order."""
        self.process.send_signal(number)
        assert self.process.wait(PATIENCE) == 0, self.log()
        assert not self.path.exists()

    def hang_up(self) -> None:
        for line in self._lines:
            line.close()


@contextmanager
def door(
    folder: Path,
    configuration: str = QUICK,
    *,
    path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator[Door]:
    """``pollprog daemon`` on a socket in this folder, from when it answers; it ends in order behind the test."""
    home = folder / "daemon"
    home.mkdir(mode=0o700, exist_ok=True)
    sock, log, file = path or home / "sock", home / "log", home / "config.toml"
    file.write_text(configuration)
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "pollprog", "daemon", "--socket", str(sock), "--config", str(file)],
            stdout=said, stderr=said, text=True, env={**os.environ, **(environment or {})}, **options,
        )  # fmt: skip
    one = Door(process, sock, log)
    try:
        wait_until(lambda: "listening on" in one.log() or process.poll() is not None)
        assert process.poll() is None, one.log()
        yield one
        one.hang_up()
        if process.poll() is None:
            one.end()
    finally:
        one.hang_up()
        process.kill()
        process.wait()


def is_alive(pid: int) -> bool:
    """Whether something of that number runs; what has ended and is not reaped does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def pids_in(file: Path, count: int) -> list[int]:
    """The numbers that a command has written to a file, when they are so many."""
    wait_until(lambda: file.exists() and len(file.read_text().split()) >= count)
    return [int(word) for word in file.read_text().split()]
