"""Start a command exactly as ``exec`` from the shell would.

The command gets every descriptor that we inherited, the environment as it came to us (the interpreter may have changed its
own copy: PEP 538), the signal mask and the ignored signals that we got, our process group, argv[0] as typed, and a script
without ``#!`` goes to /bin/sh. SIGPIPE and SIGXFSZ get their default action: the interpreter ignores them for itself, and
nobody can ask it what they were before. What differs is only what a tool asked for: a stream of its own to listen to, or one
descriptor more for the program to write its status to; and that glibc's posix_spawn ignores signals 32 and 33, which are
the C library's own and no program's.

This module is on the path to the command's first instruction, so it imports what the interpreter has loaded anyhow.
"""

from __future__ import annotations

import errno
import os
import signal
import time

from pollprog.errors import CommandNotExecutable
from pollprog.inherited import inherited
from pollprog.surroundings import claimable, here, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Protocol

    from pollprog.ending import Ended
    from pollprog.inherited import Before
    from pollprog.streams import Ear

    Words = Callable[[Sequence[str], int], Sequence[str]]
    """Makes the words that tell a program to write its status to the descriptor with this number."""

    class Printed(Protocol):
        """What a command prints into a file of ours."""

        def records(self) -> list[tuple[int, bytes]]:
            """(stream, record) of what was printed since this was last asked."""

    class Filter(Protocol):
        """Decides which bytes of a claimed stream pass on, and when.

        It may have a method ``whole``: whether a record that was begun is all there, though nothing stands behind it yet.
        """

        def passing(self, data: bytes) -> bytes:
            """Take what the command wrote; give what goes on to where the user sent it. No data: none came for a while."""

        def end(self) -> bytes:
            """What is left to pass on when the stream has ended."""


__all__ = ["Command", "Launched", "claimable", "launch", "resolve", "status_file"]

INTERPRETERS = (signal.SIGPIPE, signal.SIGXFSZ)
"""What Python ignores for itself."""


class Command:
    """What is to be run, or what is found running: its words, and the streams that a tool listens to."""

    __slots__ = ("argv", "claims", "executable", "joined", "status", "terminals")

    def __init__(
        self,
        argv: Sequence[str],
        *,
        executable: str | None = None,
        claims: Mapping[int, Filter] | None = None,
        joined: Mapping[int, tuple[int, ...]] | None = None,
        status: Words | None = None,
        terminals: Iterable[int] = (),
    ) -> None:
        self.argv = tuple(argv)
        self.executable = executable
        """The path of the program behind a running process; None for what is yet to be started."""
        self.claims = dict(claims or {})
        """The filter of each stream that is heard before it is passed on."""
        self.joined = dict(joined or {})
        """By claimed stream: all the streams that are heard as that one, because the user sent them to one place."""
        self.status = status
        """How the program is told to write its status to a descriptor, if it is to."""
        self.terminals = frozenset(terminals)
        """The claimed streams that are a pseudoterminal for the command, wherever the user sent them."""

    @property
    def name(self) -> str:
        """The program's name as typed, without its folder."""
        return os.path.basename(self.argv[0]) if self.argv else ""

    def claiming(self, stream: int, through: Filter) -> Command:
        """The same command with one more stream heard, if that stream may be claimed at all."""
        if not claimable(stream):
            return self
        return self._with(claims={**self.claims, stream: through})

    def hearing(self, stream: int, through: Filter) -> Command:
        """The same command with this stream heard, wherever it goes but into a file; a terminal, too.

        Where standard output and standard error are one, both are heard, as `stream`. In the place of a terminal the command gets a
        pseudoterminal, and cannot tell.
        """
        streams = here().together(stream)
        if not streams:
            return self if here().is_terminal(stream) else self.claiming(stream, through)
        return self._with(claims={**self.claims, stream: through}, joined={**self.joined, stream: streams})

    def hearing_as_terminal(self, stream: int, through: Filter) -> Command:
        """The same command with this stream heard, which goes elsewhere than to a terminal: the command gets a pseudoterminal there.

        For a program that tells its progress to terminals only, writes nothing else there than elsewhere, and reads nothing from
        this stream; `through` takes out all of that progress. Of a job nothing is heard so.
        """
        if here().ours or here().is_terminal(stream) or not claimable(stream):
            return self
        return self._with(claims={**self.claims, stream: through}, terminals={*self.terminals, stream})

    def with_words(self, words: Sequence[str]) -> Command:
        """The same command with other words."""
        return self._with(argv=words)

    def behind(self, place: int) -> Command:
        """The command that these words are from there on, before anything is claimed of it."""
        return Command(self.argv[place:], executable=self.executable)

    def below(self, before: Sequence[str]) -> Command:
        """The same command, started by one that has these words in front of it, and becomes it."""
        made, status = self.with_words((*before, *self.argv)), self.status
        if status is None:
            return made
        return made.with_status(lambda argv, fd: (*before, *status(argv[len(before) :], fd)))

    def with_status(self, words: Words) -> Command:
        """The same command, which is given one descriptor more, and by these words told to write its status there.

        The descriptor is an unnamed file in memory that nobody but us reads. So the program never waits for us, nothing happens to
        it if we end, and it works wherever its streams go. Where there can be no such file, nothing is added.
        """
        words(self.argv, 3)  # what is wrong with it shows before anything is started
        return self._with(status=words)

    def _with(
        self,
        *,
        argv: Sequence[str] | None = None,
        claims: Mapping[int, Filter] | None = None,
        joined: Mapping[int, tuple[int, ...]] | None = None,
        status: Words | None = None,
        terminals: Iterable[int] | None = None,
    ) -> Command:
        return Command(
            self.argv if argv is None else argv,
            executable=self.executable,
            claims=self.claims if claims is None else claims,
            joined=self.joined if joined is None else joined,
            status=status or self.status,
            terminals=self.terminals if terminals is None else terminals,
        )


class Launched:
    """A command that was started, and is our child. Until it is reaped, nobody else can have its number."""

    __slots__ = (
        "_ended",
        "_pidfd",
        "aside",
        "before",
        "command",
        "ears",
        "ends",
        "pid",
        "printed",
        "started",
        "status",
    )

    def __init__(
        self,
        command: Command,
        pid: int,
        ends: Mapping[int, int],
        status: int | None = None,
        before: Before | None = None,
    ) -> None:
        self.started = time.monotonic()
        self.command = command
        self.pid = pid
        self.ends = dict(ends)
        """The reading end of each claimed stream."""
        self.ears: Sequence[Ear] = ()
        """Who reads them, once somebody does."""
        self.printed: Printed | None = None
        """What it prints, where that is a file of ours: then nobody has to read it for the command to go on."""
        self.aside: frozenset[tuple[int, int]] = frozenset()
        """Device and inode of files that it was given and that are not its work: for what it says."""
        self.before: Before = before or {}
        """What stood in the files that it has inherited, before it was started."""
        self.status = status
        """The file that it writes its status to, under the number that it knows, too; or None."""
        if status is not None:
            info = os.fstat(status)
            self.aside = frozenset({(info.st_dev, info.st_ino)})
        self._ended: Ended | None = None
        self._pidfd: int | None = None

    @property
    def pidfd(self) -> int:
        """What can be waited for. OSError where the kernel refuses one; the command does not need it."""
        if self._pidfd is None:
            self._pidfd = os.pidfd_open(self.pid)
        return self._pidfd

    def reap(self) -> Ended | None:
        """How it ended; None while it runs."""
        if self._ended is None:
            try:
                result = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG)
            except ChildProcessError:  # somebody in this process waits for any child at all
                self._ended = None, None
            else:
                if result is None:
                    return None
                exited = result.si_code == os.CLD_EXITED
                self._ended = (result.si_status, None) if exited else (None, result.si_status)
        return self._ended

    def send(self, number: int) -> bool:
        """Send it a signal. False if it has ended, or is somebody else's by now, as sudo is."""
        if self._ended is not None:
            return False
        try:
            os.kill(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def is_stopped(self) -> bool:
        """Whether it stands still: stopped by a signal, or held by a debugger."""
        return is_stopped(self.pid)

    def has_stopped(self) -> bool:
        """Whether a signal has stopped it, in whatever pid namespace /proc is."""
        try:
            told = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return told is not None

    def was_stopped(self) -> bool:
        """Whether it was stopped, and went on, since this was last asked."""
        try:
            told = os.waitid(os.P_PID, self.pid, os.WCONTINUED | os.WNOHANG)
        except ChildProcessError:
            return False
        return told is not None

    def close(self) -> None:
        """Give back the descriptors."""
        for end in self.ends.values():
            os.close(end)
        self.ends.clear()
        if self.status is not None:
            os.close(self.status)
            self.status = None
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def is_stopped(pid: int) -> bool:
    """Whether the process with this number stands still."""
    try:
        if os.readlink("/proc/self") != str(os.getpid()):
            return False  # /proc is that of another pid namespace, and so would the answer be
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False


# --- starting


def launch(command: Command, *, mask: Iterable[int] | None = None) -> Launched:
    """Start `command`. `mask`: the signals that it finds blocked (default: those blocked now).

    Raises CommandNotFound or CommandNotExecutable with a line that names the command.
    """
    path = resolve(command.argv[0])
    start = Start(signal.pthread_sigmask(signal.SIG_BLOCK, ()) if mask is None else mask)
    ends: dict[int, int] = {}
    status = None
    before = inherited()
    try:
        for stream in command.claims:
            ends[stream], writer = claimed(stream, terminal=stream in command.terminals)
            start.streams |= dict.fromkeys(command.joined.get(stream, (stream,)), writer)
        if command.status is not None and (status := status_file()) is not None:
            command = command.with_words(command.status(command.argv, status))
            os.set_inheritable(status, True)  # noqa: FBT003 # it takes no keyword
        pid = start_program(start, path, command.argv)
        if status is not None:
            os.set_inheritable(status, False)  # noqa: FBT003 # as above
    except BaseException:
        for end in (*ends.values(), *(() if status is None else (status,))):
            os.close(end)
        raise
    finally:
        for writer in set(start.streams.values()):
            os.close(writer)
    return Launched(command, pid, ends, status, before)


def claimed(stream: int, *, terminal: bool = False) -> tuple[int, int]:
    """Our end of a stream that is heard, and the command's: a pipe, or in the place of a terminal, or for a `terminal`, another one."""
    if terminal or os.isatty(stream):
        from pollprog.stand_in import stand_in

        return stand_in(stream)
    return os.pipe()


def status_file() -> int | None:
    """A new file in memory for what a program says of itself; its number is no other descriptor's, and so free in the child.

    None where the kernel has none to give, and where the user has limited how long a file may become.
    """
    try:
        with open("/proc/self/limits", "rb") as file:
            limited = next(line for line in file if line.startswith(b"Max file size")).split()[3] != b"unlimited"
        return None if limited else os.memfd_create("pollprog status")
    except (OSError, StopIteration, IndexError):
        return None


class Start:
    """What a new program finds beside its words."""

    __slots__ = ("environment", "mask", "streams")

    def __init__(self, mask: Iterable[int]) -> None:
        self.mask = set(mask)
        self.environment = original_environment()
        self.streams: dict[int, int] = {}
        """Our descriptor for each stream that is not the inherited one."""

    def __call__(self, path: str, argv: tuple[str, ...]) -> int:
        """Start it; its pid. OSError if the kernel refuses."""
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            return self.fork(path, argv)
        return os.posix_spawn(
            path,
            argv,
            self.environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, writer, stream) for stream, writer in self.streams.items()],
            setsigmask=self.mask,
            setsigdef=INTERPRETERS,
        )

    def fork(self, path: str, argv: tuple[str, ...]) -> int:
        """The same for one who came to us with SIGCHLD ignored, and hands that on.

        We must not ignore it ourselves, or the kernel forgets the exit status; and posix_spawn can make no signal ignored.
        """
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)
                handled = [signal.SIGINT] if callable(signal.getsignal(signal.SIGINT)) else []
                for number in (*INTERPRETERS, *handled):
                    signal.signal(number, signal.SIG_DFL)
                for stream, end in self.streams.items():
                    os.dup2(end, stream)
                signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)
                os.execve(path, argv, self.environment)
            except OSError as error:
                os.write(writer, str(error.errno).encode())
            finally:
                os._exit(127)
        os.close(writer)
        with open(reader, "rb") as file:  # which ends with the exec
            failed = file.read()
        if failed:
            os.waitpid(pid, 0)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # for the next try
            raise OSError(int(failed), os.strerror(int(failed)))
        return pid


def start_program(start: Start, path: str, argv: tuple[str, ...]) -> int:
    """Start `path`, or /bin/sh on it where the kernel does not know its format; the errors of either, in words."""
    try:
        try:
            return start(path, argv)
        except OSError as error:
            if error.errno != errno.ENOEXEC or b"\0" in first_line(path):
                raise
            return start("/bin/sh", ("/bin/sh", path, *argv[1:]))
    except FileNotFoundError as error:
        line = first_line(path)
        interpreter = repr(os.fsdecode(line[2:].strip(b" \t"))) if line.startswith(b"#!") else "what loads it"
        raise CommandNotExecutable(f"{argv[0]}: cannot be run: {interpreter} is not there") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CommandNotExecutable(f"{argv[0]}: cannot be run: {reason}") from error


def first_line(path: str) -> bytes:
    """The beginning of a file, as far as the kernel looks for ``#!``; nothing where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(255).partition(b"\n")[0]
    except OSError:
        return b""


def original_environment() -> Mapping[bytes, bytes]:
    """The environment as it was when we were started, before the interpreter added to it.

    An entry that is no variable, for want of a name or an equals sign, is left out, as shells do.
    """
    try:
        with open("/proc/self/environ", "rb") as file:
            block = file.read()
    except OSError:
        return dict(os.environb)
    entries = (entry.partition(b"=") for entry in block.split(b"\0"))
    return {name: value for name, equals, value in entries if name and equals}
