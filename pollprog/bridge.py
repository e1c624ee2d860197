"""The far side of a link: bytes between standard streams and the socket of a daemon, which is started if there is none.

``pollprog dial-stdio`` is what ssh runs over there. It looks at no byte. Each direction has a thread that waits in plain reads and
writes, so neither holds up the other, and nothing is set on streams that are not ours alone. The rules:

1. The end of standard input is passed on as such: replies to what was asked before still come.
2. When the daemon has closed, or nobody is left to read standard output, it is over, whatever the other direction does.
3. A daemon that it starts is nobody's child: a session of its own, nothing of ours held open. So a link that is cut takes nothing with
   it. It ends by itself when it has been idle for a while. Of two that are started at the same time one gets the lock, and the
   other goes; whoever gets it is connected to.

What ends with the login whatever it does is what systemd-logind is told to kill: see KillUserProcesses in docs/remote.md.
"""

from __future__ import annotations

import atexit
import os
import select
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from pollprog.addresses import Unix, default_path
from pollprog.dialing import dial, nobody_listens
from pollprog.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["IDLE", "bridged", "dial_stdio", "pump"]

CHUNK = 1 << 16
"""Bytes passed on at a time."""
IDLE = 60.0
"""Seconds without anybody and without a job until a daemon of ours ends that has nothing to tell."""
PATIENCE = 20.0
"""Seconds within which it has to listen."""
MOMENT = 1.0
"""The same for another one, if ours has ended."""
WORDS = 5.0
"""Seconds in which the last words of a service can be passed on when the process ends."""
LOOK = 0.02
"""Seconds between two attempts to connect to it."""


def dial_stdio(path: str, *, idle: float = IDLE) -> None:
    """``pollprog dial-stdio``: pass bytes on until it is over. Unreachable."""
    with reached(Unix(path), idle) as sock:
        pump(0, 1, sock)


def reached(address: Unix, idle: float) -> socket.socket:
    """A stream to the daemon at this address, which is started if there is none."""
    until = time.monotonic() + PATIENCE
    daemon: subprocess.Popen[bytes] | None = None
    ended = False
    while True:
        try:
            sock = dial(address)
            break
        except Unreachable as error:
            folder = os.path.dirname(address.path)
            if not nobody_listens(error) or (address.path != default_path() and not os.path.isdir(folder)):
                raise  # what somebody mistyped is no place for a daemon
            daemon = daemon or started(address.path, idle)
            if daemon.poll() is not None and not ended:
                # It has said why it cannot; or another was quicker, and is there in a moment.
                ended, until = True, min(until, time.monotonic() + MOMENT)
            if time.monotonic() >= until:
                raise Unreachable(complaint(address, daemon), address=str(address)) from error
        time.sleep(LOOK)
    if daemon is not None:
        let_go(daemon)
    return sock


def started(path: str, idle: float) -> subprocess.Popen[bytes]:
    """A daemon that outlives us. What it says until it listens can be read."""
    words = [sys.executable, "-P", "-m", "pollprog", "daemon", "--socket", path, "--idle", str(idle)]
    return subprocess.Popen(
        words,
        cwd="/",
        env=surroundings(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def surroundings(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a daemon, without what is true of this login only."""
    return {name: value for name, value in environment.items() if not name.startswith(("SSH_", "SYSTEMD_VARLINK_"))}


def complaint(address: Unix, daemon: subprocess.Popen[bytes]) -> str:
    """Why the daemon that was started is not there."""
    assert daemon.stderr is not None
    os.set_blocking(daemon.stderr.fileno(), False)
    said = (daemon.stderr.read() or b"").decode("utf-8", "replace").strip()
    last = said.splitlines()[-1].removeprefix("pollprog: ") if said else "it said nothing"
    return f"a daemon was started for {address}, and does not listen: {last}"


def let_go(daemon: subprocess.Popen[bytes]) -> None:
    """It is on its own."""
    assert daemon.stderr is not None
    daemon.stderr.close()
    daemon.returncode = 0  # which keeps Popen from a warning that nobody has waited for it


# --- bytes


def pump(source: int, sink: int, sock: socket.socket) -> None:
    """Pass on what is read from `source` to the socket, and what comes from there to `sink`, until it is over."""
    threading.Thread(target=send_all, args=(source, sock), name="pollprog pump", daemon=True).start()
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    poll.register(sink, 0)  # which says only that nobody reads it any more
    try:
        while True:
            for descriptor, event in poll.poll():
                if descriptor == sink and event & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
                    return
            data = sock.recv(CHUNK)
            if not data:
                return
            write_all(sink, data)
    except OSError:  # one of them has gone
        return


def send_all(source: int, sock: socket.socket) -> None:
    """From the one into the other, to its end."""
    try:
        while data := read_some(source):
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        try:
            sock.shutdown(socket.SHUT_RDWR)  # so the other thread ends
        except OSError:
            pass


def read_some(source: int) -> bytes:
    """What has come; nothing at the end. Whether or not reads wait here."""
    while True:
        try:
            return os.read(source, CHUNK)
        except BlockingIOError:
            wait_for(source, select.POLLIN)


def write_all(sink: int, data: bytes) -> None:
    """All of it, whether or not writes wait here."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(sink, rest) :]
        except BlockingIOError:
            wait_for(sink, select.POLLOUT)


def wait_for(descriptor: int, event: int) -> None:
    """Wait until it can be used."""
    poll = select.poll()
    poll.register(descriptor, event)
    poll.poll()


def bridged() -> socket.socket:
    """Our standard input and output as a connected socket of AF_UNIX, for who serves one connection and no other.

    They are taken away from whatever else would use them: what is printed by mistake does not get between the messages.
    """
    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for stream in range(2):
        os.dup2(null, stream)
    os.close(null)
    ours, theirs = socket.socketpair()

    def pass_on() -> None:
        with theirs:
            pump(source, sink, theirs)
        os.close(sink)

    thread = threading.Thread(target=pass_on, name="pollprog bridge", daemon=True)
    thread.start()
    atexit.register(thread.join, WORDS)
    return ours
