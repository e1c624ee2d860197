"""Start a command exactly as ``exec`` from the shell would.

The command gets every descriptor that we inherited, the environment as it came to us (the interpreter may have changed its
own copy: PEP 538), the signal mask and the ignored signals that we got, the default action for SIGPIPE and SIGXFSZ (which
the interpreter ignores for itself), our process group, argv[0] as typed, and a script without ``#!`` goes to /bin/sh.
What differs is only what a tool asked for: a stream of its own to listen to.

This module is on the path to the command's first instruction, so it imports what the interpreter has loaded anyhow.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import time

from pollprog.errors import CommandNotExecutable, CommandNotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol

    class Filter(Protocol):
        """Decides which bytes of a claimed stream pass on, and when."""

        def passing(self, data: bytes) -> bytes:
            """Take what the command wrote; give what goes on to where the user sent it."""

        def end(self) -> bytes:
            """What is left to pass on when the stream has ended."""


__all__ = ["Command", "Launched", "claimable", "launch", "resolve"]

FIRST_FREE = 3
"""Descriptors below are the three streams."""


class Command:
    """What is to be run, or what is found running: its words, and the streams that a tool listens to."""

    __slots__ = ("argv", "claims", "executable")

    def __init__(
        self, argv: Sequence[str], *, executable: str | None = None, claims: Mapping[int, Filter] | None = None
    ) -> None:
        self.argv = tuple(argv)
        self.executable = executable
        """The path of the program behind a running process; None for what is yet to be started."""
        self.claims = dict(claims or {})
        """The filter of each stream that is heard before it is passed on."""

    @property
    def name(self) -> str:
        """The program's name as typed, without its folder."""
        return os.path.basename(self.argv[0]) if self.argv else ""

    def claiming(self, stream: int, through: Filter) -> Command:
        """The same command with one more stream heard, if that stream may be claimed at all."""
        if not claimable(stream):
            return self
        return Command(self.argv, executable=self.executable, claims={**self.claims, stream: through})


class Launched:
    """A command that was started, and is our child."""

    __slots__ = ("command", "ends", "pid", "pidfd", "started")

    def __init__(self, command: Command, pid: int, pidfd: int, ends: dict[int, int], started: float) -> None:
        self.command = command
        self.pid = pid
        self.pidfd = pidfd
        self.ends = ends
        """The reading end of each claimed stream."""
        self.started = started
        """`time.monotonic()` of the start."""

    def reap(self) -> tuple[int | None, int | None] | None:
        """How it ended, as (exit code, signal), one of them None; None while it runs; (None, None): nobody can know."""
        try:
            result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return None, None
        if result is None:
            return None
        if result.si_code == os.CLD_EXITED:
            return result.si_status, None
        return None, result.si_status

    def pass_on_rest(self) -> None:
        """Pass on what stands in the claimed streams, for a command that has ended before anybody listened."""
        for stream, end in self.ends.items():
            through = self.command.claims[stream]
            os.set_blocking(end, False)
            try:
                while data := os.read(end, 65536):
                    os.write(stream, through.passing(data))
            except BlockingIOError:
                pass  # somebody else holds it open
            os.write(stream, through.end())

    def close(self) -> None:
        """Give back the descriptors."""
        for end in (self.pidfd, *self.ends.values()):
            os.close(end)


def launch(command: Command, *, mask: set[signal.Signals] | None = None) -> Launched:
    """Start `command`. `mask`: the signals that it finds blocked (default: those blocked now).

    Raises CommandNotFound or CommandNotExecutable with a line that names the command.
    """
    path = resolve(command.argv[0])
    environment = original_environment()
    actions: list[tuple[int, int, int]] = []
    ends: dict[int, int] = {}
    writing: list[int] = []
    for stream in command.claims:
        reader, writer = os.pipe()
        ends[stream] = reader
        writing.append(writer)
        actions.append((os.POSIX_SPAWN_DUP2, writer, stream))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ()) if mask is None else mask

    def spawn(program: str, argv: tuple[str, ...]) -> int:
        return os.posix_spawn(
            program,
            argv,
            environment,
            file_actions=actions,
            setsigmask=blocked,
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
        )

    try:
        pid = spawn_or_script(spawn, path, command.argv)
    except BaseException:
        for end in ends.values():
            os.close(end)
        raise
    finally:
        for end in writing:
            os.close(end)
    started = time.monotonic()
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(
            signal.SIGCHLD, signal.SIG_DFL
        )  # the command has it ignored, as we got it; we need its exit status
    return Launched(command, pid, os.pidfd_open(pid), ends, started)


def spawn_or_script(spawn: Callable[[str, tuple[str, ...]], int], path: str, argv: tuple[str, ...]) -> int:
    """Start `path`, or /bin/sh on it where the kernel does not know its format; the errors of either, in words."""
    try:
        try:
            return spawn(path, argv)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            return spawn("/bin/sh", ("/bin/sh", path, *argv[1:]))
    except FileNotFoundError as error:
        raise CommandNotExecutable(f"{argv[0]}: its interpreter, named in the first line, is not there") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CommandNotExecutable(f"{argv[0]}: cannot be run: {reason}") from error


def resolve(name: str) -> str:
    """The path of the program that the shell would run for this word."""
    if not name:
        raise CommandNotFound("'': command not found; an empty word names no command")
    if "/" in name:
        if not os.path.exists(name):
            raise CommandNotFound(f"{name}: no such file")
        check_executable(name)
        return name
    refused: CommandNotExecutable | None = None
    for folder in os.environ.get("PATH", os.defpath).split(":"):
        path = os.path.join(folder or ".", name)
        if os.path.isfile(path):
            try:
                check_executable(path)
            except CommandNotExecutable as error:
                refused = refused or error
            else:
                return path
    if refused is not None:
        raise refused
    hint = f"; for the one in this folder type ./{name}" if os.path.isfile(name) else ""
    raise CommandNotFound(f"{name}: command not found{hint}")


def check_executable(path: str) -> None:
    """Raise CommandNotExecutable, saying why, where `path` is not a program that we may run."""
    if os.path.isdir(path):
        raise CommandNotExecutable(f"{path}: is a directory")
    if not os.access(path, os.X_OK):
        raise CommandNotExecutable(f"{path}: permission denied; if it is a program, chmod +x it")


def original_environment() -> Mapping[bytes, bytes]:
    """The environment as it was when we were started, before the interpreter added to it."""
    try:
        with open("/proc/self/environ", "rb") as file:
            block = file.read()
    except OSError:
        return dict(os.environb)
    return dict(entry.split(b"=", 1) for entry in block.split(b"\0") if b"=" in entry)


def claimable(stream: int) -> bool:
    """Whether a tool may put a pipe between the command and where the user sent this stream.

    Not where anything else that the command inherits may be the same open file description: the order of what is written
    through both would be lost. Not standard output into a file, which some commands look at and seek in.
    """
    try:
        ours = os.fstat(stream)
        others = [int(name) for name in os.listdir("/proc/self/fd") if int(name) != stream]
    except OSError:
        return False
    if stream == 1 and stat.S_ISREG(ours.st_mode):
        return False
    for other in others:
        try:
            if other >= FIRST_FREE and not os.get_inheritable(other):
                continue
            theirs = os.fstat(other)
        except OSError:
            continue
        if (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino):
            return False
    return True
