"""pollprog as people run it: a process of its own, with a terminal to draw on or without one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pyte

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PATIENCE = 30.0
"""Seconds after which what should happen counts as failed."""
LONGEST = 4 * PATIENCE
"""Seconds that a program may run which is started to be talked to."""
BIN = Path(sys.executable).parent
POLLPROG = str(BIN / "pollprog")
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "POLLPROG_"))},
    "LC_ALL": "C.UTF-8",
    "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "TERM": "xterm-256color",
}
"""For whatever a test starts: pollprog is found, and nothing of the developer's own settings is."""


def pollprog(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run pollprog without a terminal, to its end, in a session of its own."""
    options = {"capture_output": True, "stdin": subprocess.DEVNULL, "env": ENVIRONMENT, **options}
    return subprocess.run([POLLPROG, *words], text=True, start_new_session=True, timeout=PATIENCE, **options)  # type: ignore[call-overload] # options are subprocess.run's


def shell(script: str, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a script of sh in which pollprog is a command, without a terminal."""
    options = {"capture_output": True, "stdin": subprocess.DEVNULL, "env": ENVIRONMENT, **options}
    command = ["sh", "-c", script, "sh", *words]
    return subprocess.run(command, text=True, start_new_session=True, timeout=PATIENCE, **options)  # type: ignore[call-overload] # as above


@contextlib.contextmanager
def started(*words: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    """pollprog running in a session of its own; whatever is left of that session at the end is killed."""
    options = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "env": ENVIRONMENT,
        **options,
    }
    with subprocess.Popen([POLLPROG, *words], text=True, start_new_session=True, **options) as process:  # type: ignore[call-overload] # options are Popen's
        too_long = threading.Timer(LONGEST, kill_session, [process.pid])  # then who reads from it finds its end
        too_long.daemon = True
        too_long.start()
        try:
            yield process
        finally:
            too_long.cancel()
            kill_session(process.pid)


def session(leader: int) -> list[int]:
    """The live processes of a session."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
                if int(fields[3]) == leader and fields[0] != b"Z":
                    found.append(int(name))
    return found


def kill_session(leader: int) -> None:
    """End every process of a session that a test started."""
    for pid in session(leader):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Terminal:
    """A pseudoterminal, what a person sees in it, and the session that runs there."""

    def __init__(self, rows: int = 10, columns: int = 60) -> None:
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        self.screen = pyte.Screen(columns, rows)
        self.seen = b""
        """Every byte that was ever shown."""
        self._stream = pyte.ByteStream(self.screen)
        self._process: subprocess.Popen[bytes] | None = None
        self.resize(rows, columns)

    def resize(self, rows: int, columns: int) -> None:
        termios.tcsetwinsize(self.slave, (rows, columns))
        self.screen.resize(rows, columns)

    def run(self, *words: str, environment: dict[str, str] | None = None, **options: object) -> subprocess.Popen[bytes]:
        """Start this as the leader of a session with this terminal; streams that are not given are the terminal."""
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), self.slave)
        control = "import fcntl,os,sys,termios;fcntl.ioctl(int(sys.argv[1]),termios.TIOCSCTTY,0);os.close(int(sys.argv[1]));os.execvp(sys.argv[2],sys.argv[2:])"
        self._process = subprocess.Popen(
            [sys.executable, "-ISc", control, str(self.slave), *words],
            env={**ENVIRONMENT, **(environment or {})},
            start_new_session=True,
            pass_fds=[self.slave],
            **{**streams, **options},  # type: ignore[arg-type] # options are Popen's
        )
        return self._process

    @property
    def leader(self) -> int:
        """The pid of what was started, which is the number of its session."""
        assert self._process is not None
        return self._process.pid

    def bash(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start an interactive bash here."""
        process = self.run(
            "bash", "--norc", "--noprofile", "-i", environment={"PS1": "$ ", "HISTFILE": "", **environment}
        )
        self.wait(lambda rows: rows[0].endswith("$"))
        return process

    def type(self, text: str) -> None:
        """What a person types; \\x03 is Ctrl-C."""
        os.write(self.master, text.encode())

    def read(self) -> None:
        """Take and show what was written so far."""
        while select.select([self.master], [], [], 0)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            self.seen += data
            self._stream.feed(data)

    def rows(self) -> list[str]:
        self.read()
        return [row.rstrip() for row in self.screen.display]

    def wait(self, condition: Callable[[list[str]], object]) -> list[str]:
        """The rows as soon as they are as they should be."""
        end = time.monotonic() + PATIENCE
        while not condition(rows := self.rows()):
            assert time.monotonic() < end, "\n".join(rows)
            select.select([self.master], [], [], 0.05)
        return rows

    def wait_end(self) -> int:
        """Wait until what was started has ended, reading what it writes; its exit status as Popen has it."""
        assert self._process is not None
        end = time.monotonic() + PATIENCE
        while (status := self._process.poll()) is None:
            assert time.monotonic() < end, "\n".join(self.rows())
            self.read()
            time.sleep(0.005)
        self.read()
        return status

    def settings(self) -> list[object]:
        return termios.tcgetattr(self.slave)

    def stop_output(self, *, background: bool) -> None:
        """``stty tostop``: whoever writes from the background is stopped."""
        settings = termios.tcgetattr(self.slave)
        settings[3] = settings[3] | termios.TOSTOP if background else settings[3] & ~termios.TOSTOP
        termios.tcsetattr(self.slave, termios.TCSANOW, settings)

    def hang_up(self) -> None:
        """The person closes the window."""
        self.read()
        os.close(self.master)
        self.master = -1

    def close(self) -> None:
        if self._process is not None:
            kill_session(self._process.pid)
            self._process.wait()
        for descriptor in (self.slave, self.master):
            if descriptor >= 0:
                os.close(descriptor)


def has_terminal(rows: Sequence[str]) -> bool:
    """Whether a bar is in the bottom row."""
    return "%" in rows[-1] or "elapsed" in rows[-1] or "[" in rows[-1]


COUNTING = """
import os, signal, sys
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
def count(number, _):
    os.write(log, signal.Signals(number).name.encode() + b"\\n")
for name in sys.argv[2:]:
    signal.signal(getattr(signal, name), count)
os.write(log, b"pid %d\\n" % os.getpid())
while True:
    signal.pause()
"""


class Counting:
    """A command that writes down each signal that it gets, and does not end by itself."""

    def __init__(self, log: Path, *signals: str) -> None:
        self.log = log
        self.words = [sys.executable, "-I", "-S", "-c", COUNTING, str(log), *signals]

    def lines(self) -> list[str]:
        return self.log.read_text().split("\n")[:-1] if self.log.exists() else []

    def wait_started(self) -> int:
        """Wait until it counts; its pid."""
        end = time.monotonic() + PATIENCE
        while not self.lines():
            assert time.monotonic() < end, "the command did not start"
            time.sleep(0.005)
        return int(self.lines()[0].split()[1])

    def counted(self) -> list[str]:
        return self.lines()[1:]

    def wait_counted(self, number: int) -> list[str]:
        """Wait until it got so many signals, in the order they came."""
        end = time.monotonic() + PATIENCE
        while len(self.counted()) < number:
            assert time.monotonic() < end, self.lines()
            time.sleep(0.005)
        return self.counted()


def pipe_size(descriptor: int) -> int:
    """How many bytes a pipe holds at the most."""
    return fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)
