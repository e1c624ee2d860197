"""Starts a command for a job that has no terminal, and ends it, with all that descends from it.

It gets a session of its own, nothing to read, the directory and environment that the job says, and for what it prints a file of
ours (see `printed`). What differs from `pollprog.launch` is that nobody's shell is imitated here, and that a tool may have it print
what it likes for us to hear: no user has sent those streams anywhere.

Until `Spawned.close` the command is not reaped, so its number, that of its group and that of its session are nobody else's. What
descends from it is found in three ways: in its group, in its tree, and, when nothing is left of that, in its session. Who has left
all three before anybody looked is a daemon, and lives on.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
import shutil
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from pollprog import tools
from pollprog.errors import CommandNotExecutable, CommandNotFound, InvalidParameter, fault
from pollprog.launch import Command, Launched, first_line, status_file
from pollprog.paths import refusal
from pollprog.printed import Printed
from pollprog.process import Process, ProcessTree
from pollprog.surroundings import Surroundings, within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pollprog.ending import Ended

__all__ = ["Spawned", "spawn"]

log = logging.getLogger("pollprog")

DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)
"""How many descriptors a command may have: as many as we might when we were started, whatever we need ourselves."""
BEAT = 0.02
LONGEST_BEAT = 0.25
"""Seconds between two looks whether what was told to end has ended: so many at first, and more where that takes long."""


class Held(Launched):
    """A command that is not reaped before it is let go: until then its number stays its own."""

    __slots__ = ()

    def reap(self) -> Ended | None:
        """How it ended; None while it runs."""
        if self._ended is None:
            try:
                result = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:  # somebody in this process waits for any child at all
                self._ended = None, None
                return self._ended
            if result is not None:
                exited = result.si_code == os.CLD_EXITED
                self._ended = (result.si_status, None) if exited else (None, result.si_status)
        return self._ended


class Spawned:
    """A command of a job, with all that descends from it."""

    def __init__(
        self, command: Command, popen: subprocess.Popen[bytes], printed: Printed, status: int | None = None
    ) -> None:
        info = os.fstat(printed.descriptor)
        ends = {stream: os.dup(printed.descriptor) for stream in command.claims}
        self.launched = Held(command, popen.pid, ends, status)
        self.launched.aside |= {(info.st_dev, info.st_ino)}
        self.launched.printed = printed
        self._popen = popen
        self._printed = printed
        self._until = 0.0
        """When patience with it ends, once it was told to end."""
        self._trees: list[ProcessTree] = []
        """The command's, and those of what was found in its session."""
        self._adopt(popen.pid)

    def printed(self) -> str:
        """The last of what it printed on either stream."""
        return self._printed.tail()

    def trim(self) -> None:
        """Give back the space of what it printed, if that has become much."""
        self._printed.trim()

    # -- its end

    def send(self, number: int) -> int:
        """Send a signal to all of it; how many processes of it live."""
        live = self._live()
        with suppress(OSError):  # all of it may be a stranger's by now, as with sudo
            os.killpg(self.launched.pid, number)
        for process in live:
            with suppress(OSError, ValueError):
                if os.getpgid(process.pid) != self.launched.pid:
                    process.send(number)
        return len(live)

    def _live(self) -> list[Process]:
        live = [process for tree in self._trees for process, _ in tree.look()]
        if not live:
            self._search_session()
            live = [process for tree in self._trees for process, _ in tree.look()]
        return live

    def _search_session(self) -> None:
        """Find what has been orphaned before anybody saw it. A look at every process there is, so it comes last."""
        known = {tree.root.pid for tree in self._trees}
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) not in known:
                with suppress(OSError):
                    if os.getsid(int(name)) == self.launched.pid:
                        self._adopt(int(name))

    def _adopt(self, pid: int) -> None:
        with suppress(OSError, ValueError):  # it has ended already
            self._trees.append(ProcessTree(Process(pid)))

    async def end(self, grace: float, number: int = signal.SIGTERM) -> None:
        """Tell all of it to end, by this signal, and after `grace` seconds by SIGKILL. Returns when nothing of it lives."""
        self._until = trio.current_time() + grace
        for told in (number, signal.SIGCONT):  # what was paused would hear the first only when it goes on
            self.send(told)
        beat = BEAT
        while self.send(0) and (left := self._until - trio.current_time()) > 0:
            await trio.sleep(min(beat, left))
            beat = min(1.2 * beat, LONGEST_BEAT)
        beat = BEAT
        while self.send(signal.SIGKILL):
            await trio.sleep(beat)
            beat = min(1.2 * beat, LONGEST_BEAT)

    def hurry(self) -> None:
        """Have no more patience with what was told to end."""
        self._until = 0.0

    def close(self) -> None:
        """Let go of it. If it still lives, it is killed: nobody is there to see to it."""
        if self.launched.reap() is None:
            self.send(signal.SIGKILL)
        self._popen.wait()
        for tree in self._trees:
            tree.close()
            tree.root.close()
        self.launched.close()
        self._printed.close()


class Given(Surroundings):
    """What a job's command will find."""

    __slots__ = ("_directory", "_environment", "_source", "_streams")
    ours = True

    def __init__(
        self, streams: Sequence[int], directory: str, environment: Mapping[str, str], source: int | None
    ) -> None:
        self._streams = streams
        self._directory = directory
        self._environment = environment
        self._source = source

    def claimable(self, stream: int) -> bool:
        """Those that go to the file of ours."""
        return stream in self._streams

    def together(self, stream: int) -> tuple[int, ...]:
        """Each by itself."""
        return (stream,) if stream in self._streams else ()

    def is_terminal(self, stream: int) -> bool:  # noqa: ARG002 # whichever it is
        """None is."""
        return False

    def stat(self, stream: int) -> os.stat_result:
        """What it has to read."""
        return os.stat(os.devnull) if stream or self._source is None else os.fstat(self._source)

    @property
    def environment(self) -> Mapping[str, str]:
        """The job's."""
        return self._environment

    def program(self, name: str) -> str:
        """The program of this name, from where the command runs."""
        path = found(name, self._directory, self._environment)
        if path is None:
            raise CommandNotFound(f"{name}: command not found")
        return path


def spawn(
    argv: Sequence[str],
    *,
    directory: str,
    environment: Mapping[str, str],
    output: int | None = None,
    source: int | None = None,
    probe: str | None = None,
    prepare: bool = True,
) -> Spawned:
    """Start a command; `output` and `source`: the descriptors for its standard output and input, if not ours to choose.

    `probe`: as after ``--probe``; a tool that is named so prepares the command, whatever starts its program. Without `prepare` none
    does.

    Raises InvalidParameter for words that no command can have, CommandNotFound, CommandNotExecutable, and for the directory
    what `pollprog.paths.refusal` makes of it. Blocks as long as the directory and the program take to be found.
    """
    check(argv, directory, environment)
    given = Given((1, 2) if output is None else (2,), directory, environment, source)
    command = within(given, lambda: prepared(Command(argv), probe)) if prepare else Command(argv)
    printed = Printed()
    printed.listen(command.claims)
    status = None
    try:
        words: Sequence[str] = command.argv
        if command.status is not None and (status := status_file()) is not None:
            words = command.status(words, status)
        streams = {
            "stdin": subprocess.DEVNULL if source is None else source,
            "stdout": printed.descriptor if output is None else output,
            "stderr": printed.descriptor,
        }
        started = start(words, directory, environment, streams, status)
        return Spawned(command, started, printed, status)
    except BaseException:
        printed.close()
        if status is not None:
            os.close(status)
        raise


def prepared(command: Command, probe: str | None = None) -> Command:
    """The command as the tool that knows it would have it."""
    try:
        return tools.prepare(command, probe)[0]
    except Exception as error:  # noqa: BLE001 # a plugin may raise anything; its job goes on
        log.warning("the plugin for %s is left out: %s", command.name, fault(error))
        return command


def check(argv: Sequence[str], directory: str, environment: Mapping[str, str]) -> None:
    """Raise InvalidParameter for what the kernel could not even be told."""
    if not argv or not argv[0]:
        raise InvalidParameter("argv: there is no command in it", parameter="argv")
    for name, words in (("argv", argv), ("directory", [directory]), ("environment", environment.values())):
        if any("\0" in word for word in words):
            raise InvalidParameter(f"{name}: no word of it can have a NUL byte", parameter=name)
    for name in environment:
        if not name or "=" in name or "\0" in name:
            raise InvalidParameter(f"environment: {name!r} is not the name of a variable", parameter="environment")


def start(
    argv: Sequence[str], directory: str, environment: Mapping[str, str], streams: Mapping[str, int], status: int | None
) -> subprocess.Popen[bytes]:
    """Start it, or /bin/sh on it where the kernel does not know its format; the errors of either, in words."""
    name = argv[0]
    try:
        try:
            return run_program(argv, directory, environment, streams, status)
        except OSError as error:
            path = found(name, directory, environment)
            if error.errno != errno.ENOEXEC or path is None or b"\0" in first_line(path):
                raise
            return run_program(["/bin/sh", path, *argv[1:]], directory, environment, streams, status)
    except FileNotFoundError as error:
        if is_about(error, directory, name):
            raise refusal(error, "run a command in", os.fsencode(directory)) from error
        if found(name, directory, environment) is not None:
            raise CommandNotExecutable(f"{name}: cannot be run: what loads or interprets it is not there") from error
        raise CommandNotFound(f"{name}: command not found") from error
    except OSError as error:
        if is_about(error, directory, name):
            raise refusal(error, "run a command in", os.fsencode(directory)) from error
        reason = (error.strerror or str(error)).lower()
        raise CommandNotExecutable(f"{name}: cannot be run: {reason}") from error


def run_program(
    argv: Sequence[str], directory: str, environment: Mapping[str, str], streams: Mapping[str, int], status: int | None
) -> subprocess.Popen[bytes]:
    """Start this very program. Our descriptors are not inherited, but for its status descriptor."""
    started = subprocess.Popen(
        list(argv), cwd=directory, env=dict(environment), start_new_session=True,
        stdin=streams["stdin"], stdout=streams["stdout"], stderr=streams["stderr"],
        pass_fds=() if status is None else (status,),
    )  # fmt: skip
    if resource.getrlimit(resource.RLIMIT_NOFILE) != DESCRIPTORS:
        with suppress(OSError):  # it has ended already
            resource.prlimit(started.pid, resource.RLIMIT_NOFILE, DESCRIPTORS)
    return started


def is_about(error: OSError, directory: str, name: str) -> bool:
    """Whether it is the directory that cannot be entered, and not the program that cannot be run."""
    return bool(error.filename == directory != name)


def found(name: str, directory: str, environment: Mapping[str, str]) -> str | None:
    """The path of the program of this name."""
    if "/" in name:
        path = os.path.join(directory, name)
        return path if os.path.isfile(path) else None
    return shutil.which(name, path=environment.get("PATH", os.defpath))
