"""Where a command is going to run, for the tools that prepare it: which of its streams may be heard, its environment, its program.

Usually all of that is our own, for the command inherits it. A job's command is given other things than the daemon has itself, so while
it is prepared, `within` says what those are: for the thread in which that is done, and for no other.

This module is on the path to a command's start, so it imports what the interpreter has loaded anyhow.
"""

from __future__ import annotations

import os
import stat
from _thread import _local  # threading itself is not loaded before a command is started

from pollprog.errors import CommandNotExecutable, CommandNotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    T = TypeVar("T")

__all__ = ["Surroundings", "claimable", "here", "resolve", "within"]


FULL = os.makedev(1, 7)
"""/dev/full."""


class Surroundings:
    """What a command will find that inherits all that we have."""

    __slots__ = ()
    ours = False
    """What the command prints comes to us alone: people read its last lines, as far as the filters pass them."""

    def claimable(self, stream: int) -> bool:
        """Whether a tool may hear this stream before it goes on to where the user sent it.

        Not where anything else that the command inherits may be the same open file description: the order of what is written
        through both would be lost. Not standard output into a file, which some commands look at and seek in. Not a stream that
        the user closed, nor one that takes nothing: what is written there has to fail at once.
        """
        try:
            ours = os.fstat(stream)
            if not os.get_inheritable(stream) or (stream == 1 and stat.S_ISREG(ours.st_mode)) or is_full(stream, ours):
                return False
            others = beside(stream)
        except OSError:
            return False
        return all((theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino) for _, theirs in others)

    def together(self, stream: int) -> tuple[int, ...]:
        """The streams, of 1 and 2, that are one with this one, itself among them, if they may be heard as one; else none of them.

        What is written through both then keeps its order. If that is a terminal, the command may read from it, too; nothing else that it
        inherits may be one.
        """
        try:
            ours = os.fstat(stream)
            if not os.get_inheritable(stream) or stat.S_ISREG(ours.st_mode) or is_full(stream, ours):
                return ()
            others = beside(stream)
        except OSError:
            return ()
        terminal = self.is_terminal(stream)
        found = [stream]
        for other, theirs in others:
            same = (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)
            if same and other in (1, 2):
                found.append(other)
            elif (same or (terminal and os.isatty(other))) and not (terminal and other == 0):
                return ()
        return tuple(found)

    def is_terminal(self, stream: int) -> bool:
        """Whether this stream is a terminal."""
        return os.isatty(stream)

    def stat(self, stream: int) -> os.stat_result:
        """What stands behind this stream. OSError where nothing does."""
        return os.fstat(stream)

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment."""
        return os.environ

    def program(self, name: str) -> str:
        """The path of the program that will run for this word. CommandNotFound, CommandNotExecutable."""
        return resolve(name)


def is_full(stream: int, info: os.stat_result) -> bool:
    """Whether nothing can be written there for want of space: /dev/full, or a file on a full disk. OSError."""
    if stat.S_ISCHR(info.st_mode):
        return info.st_rdev == FULL
    return stat.S_ISREG(info.st_mode) and not os.fstatvfs(stream).f_bavail


class Present(_local):
    """The surroundings that hold in one thread."""

    surroundings = Surroundings()


present = Present()


def within(surroundings: Surroundings, call: Callable[[], T]) -> T:
    """What `call` returns, which prepares a command for other surroundings than our own."""
    before, present.surroundings = present.surroundings, surroundings
    try:
        return call()
    finally:
        present.surroundings = before


def here() -> Surroundings:
    """Those for which a command is prepared in this thread."""
    return present.surroundings


def claimable(stream: int) -> bool:
    """Whether a tool may hear this stream of the command that is being prepared."""
    return here().claimable(stream)


def beside(stream: int) -> list[tuple[int, os.stat_result]]:
    """What the command inherits beside this stream. OSError where that cannot be listed."""
    found = []
    for other in [int(name) for name in os.listdir("/proc/self/fd") if int(name) != stream]:
        try:
            if os.get_inheritable(other):
                found.append((other, os.fstat(other)))
        except OSError:
            continue
    return found


# --- which program


def resolve(name: str) -> str:
    """The path of the program that the shell would run for this word."""
    if not name:
        raise CommandNotFound("'': command not found; an empty word names no command")
    if "/" in name:
        try:
            os.stat(name)
        except FileNotFoundError as error:
            raise CommandNotFound(f"{name}: no such file or directory") from error
        except PermissionError as error:
            raise CommandNotExecutable(f"{name}: permission denied on the way there") from error
        except OSError as error:
            raise CommandNotExecutable(f"{name}: {(error.strerror or str(error)).lower()}") from error
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
