"""A daemon of our own, with a configuration and packages of a test's, and calls of its operations over the wire."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pollprog.varlink import Framer, encode_call, parse_reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 30.0
"""Seconds after which what should happen counts as failed."""
INTERFACE = "org.pollprog.operations"


class Serving:
    """A daemon that runs."""

    def __init__(self, process: subprocess.Popen[str], path: Path, log: Path) -> None:
        self.process = process
        self.path = path
        self._log = log

    def log(self) -> list[str]:
        """What it has said so far, by line."""
        return self._log.read_text().splitlines()

    def conversation(self, method: str, parameters: dict[str, Any] | None = None, *, more: bool = True) -> list[Any]:
        """Every reply to a call: dicts, the last one with ``error`` in it if it is one."""
        name = method if "." in method else f"{INTERFACE}.{method}"
        replies = []
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self.path))
            client.sendall(encode_call(name, parameters, more=more))
            framer = Framer()
            while True:
                while (message := framer.next()) is None:
                    data = client.recv(1 << 16)
                    assert data, "the daemon has hung up"
                    framer.feed(data)
                reply = parse_reply(message)
                told = json.loads(bytes(reply.parameters))
                replies.append(told if reply.error is None else {"error": reply.error, **told})
                if not reply.continues:
                    return replies

    def call(self, method: str, /, **parameters: Any) -> Any:
        """The one reply to a call without ``more``."""
        (reply,) = self.conversation(method, parameters, more=False)
        return reply

    def description(self) -> str:
        """The interface, as it describes it."""
        told = self.conversation("org.varlink.service.GetInterfaceDescription", {"interface": INTERFACE}, more=False)
        return str(told[0]["description"])


@contextmanager
def serving(
    folder: Path, configuration: Path | str = "", *, packages: Path | None = None, delay: float = 0.0
) -> Iterator[Serving]:
    """``pollprog daemon`` with this configuration, a file or its text, and with the packages of a folder."""
    home = folder / "daemon"
    home.mkdir(mode=0o700)
    if isinstance(configuration, str):
        (home / "config.toml").write_text(configuration)
        configuration = home / "config.toml"
    sock, log = home / "socket", home / "log"
    words = ["--socket", str(sock), "--config", str(configuration), "--initial-delay", str(delay), "--interval", "0.1"]
    environment = {**os.environ, "PYTHONPATH": str(packages or "")}
    with open(log, "wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "pollprog", "daemon", *words], env=environment, stdout=file, stderr=file, text=True
        )
    try:
        wait_for_listening(process, log)
        yield Serving(process, sock, log)
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()


def wait_for_listening(process: subprocess.Popen[str], log: Path) -> None:
    """Return when it serves."""
    import time

    until = time.monotonic() + PATIENCE
    while "listening on" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.02)


def package(folder: Path, name: str, source: str, *, entry_points: str | None = None) -> None:
    """Put an installed package there: a module, and what says that it brings operations."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(source)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points or f"[pollprog.operations]\n{name} = {name}\n")
