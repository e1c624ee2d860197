"""Every exception that pollprog raises on purpose.

::

    PollprogError
    ├── UsageError              what was typed is wrong; exit status 2
    │   └── ConfigurationError  the configuration file is wrong; names the line
    ├── CommandNotFound         nothing of that name; exit status 127
    ├── CommandNotExecutable    it is there and cannot be run; exit status 126
    ├── ProcessError            a process or other work that cannot be watched: gone, a kernel thread, another user's; exit status 1
    ├── Busy                    a call runs on this handle already
    ├── Unreachable             nobody, or a stranger, at this address; exit status 1, as for all below
    │   └── ConnectionLost      there was somebody
    ├── ProtocolError           what the other side said is no message of ours
    └── OperationError          what was asked for could not be done
        ├── PathNotAbsolute, NoSuchFile, PermissionDenied, IsDirectory, NotDirectory, NotAFile, SameFile, DestinationExists
        ├── OperationFailed     it began, and could not be finished; says how far it came
        │   ├── NoSpace         the file system, or the quota, is full
        │   └── Cancelled       because somebody asked it to stop
        ├── CommandFailed       the command behind the operation ended badly; exit status: its own, 128+N for signal N, 1 if unknown
        ├── NoSuchJob, JobExists, JobOver, TooBusy
        ├── InternalError       a fault of pollprog's own, or of somebody's operation; exit status 125
        └── MethodNotFound, InterfaceNotFound, InvalidParameter, MethodNotImplemented, ExpectedMore

The text of each is one line, for a person, and says what to do. The annotations of a class are its parameters: attributes in
Python, and typed parameters where the error crosses the wire.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = [
    "Busy",
    "Cancelled",
    "CommandFailed",
    "CommandNotExecutable",
    "CommandNotFound",
    "ConfigurationError",
    "ConnectionLost",
    "DestinationExists",
    "ExpectedMore",
    "InterfaceNotFound",
    "InternalError",
    "InvalidParameter",
    "IsDirectory",
    "JobExists",
    "JobOver",
    "MethodNotFound",
    "MethodNotImplemented",
    "NoSpace",
    "NoSuchFile",
    "NoSuchJob",
    "NotAFile",
    "NotDirectory",
    "OperationError",
    "OperationFailed",
    "PathNotAbsolute",
    "PermissionDenied",
    "PollprogError",
    "ProcessError",
    "ProtocolError",
    "SameFile",
    "TooBusy",
    "Unreachable",
    "UsageError",
]

OURS, PYTHONS = (os.path.join(os.path.dirname(path), "") for path in (__file__, os.__file__))
"""Where our own code is, and that of Python."""


class PollprogError(Exception):
    """The base of all the others: catch this one to catch what pollprog raises."""

    exit_status = 125
    """What ``pollprog`` exits with when this reaches the command line."""

    def __init__(self, message: str = "", **parameters: Any) -> None:
        super().__init__(message)
        for name, value in parameters.items():
            setattr(self, name, value)


class UsageError(PollprogError):
    """What was typed, or passed, is not something that can be asked for."""

    exit_status = 2


class ConfigurationError(UsageError):
    """The configuration file says something that cannot be. The text names the file and the line."""


class CommandNotFound(PollprogError):
    """There is no command of that name."""

    exit_status = 127


class CommandNotExecutable(PollprogError):
    """The command is there and cannot be run: no permission, a directory, a missing interpreter."""

    exit_status = 126


class ProcessError(PollprogError):
    """A process, or other work, that cannot be watched: it is gone, is the kernel's own, belongs to somebody else, or cannot be asked."""

    exit_status = 1


class Busy(PollprogError):
    """A call runs on this handle already."""


class Unreachable(PollprogError):
    """Nobody answers at this address, or somebody who is not pollprog."""

    exit_status = 1
    address: str = ""


class ConnectionLost(Unreachable):
    """The connection ended before the reply came."""


class ProtocolError(PollprogError):
    """What the other side sent is not a message that can follow."""

    exit_status = 1


# --- what operations answer with


class OperationError(PollprogError):
    """What was asked for could not be done."""

    exit_status = 1


class PathNotAbsolute(OperationError):
    """A path that begins elsewhere than at the root would mean another file for each who reads it."""

    path: str = ""


class NoSuchFile(OperationError):
    """There is nothing of that name, or no directory in which it could be."""

    path: str = ""


class PermissionDenied(OperationError):
    """The file, or a directory on the way there, is closed to us."""

    path: str = ""


class IsDirectory(OperationError):
    """A directory stands where a file was asked for."""

    path: str = ""


class NotDirectory(OperationError):
    """Something else stands where a directory was asked for."""

    path: str = ""


class NotAFile(OperationError):
    """It is a FIFO, a socket or a device, where a file with an end was asked for."""

    path: str = ""


class SameFile(OperationError):
    """Source and destination are one file."""

    source: str = ""
    destination: str = ""


class DestinationExists(OperationError):
    """Something has that name already, and nobody said that it may be replaced."""

    path: str = ""


class OperationFailed(OperationError):
    """It began, and could not be finished."""

    path: str = ""
    """The file that it failed at."""
    errno: str = ""
    """What the kernel said, as in ``EIO``; empty if it was not the kernel."""
    offset: int = 0
    """Where in the destination the first byte was written."""
    written: int = 0
    """How many bytes had been written by then, from `offset` on. A file that the call had made itself is gone again."""


class NoSpace(OperationFailed):
    """The file system, or the quota, is full."""


class Cancelled(OperationFailed):
    """It stopped because it was asked to."""

    exit_status = 130


class CommandFailed(OperationError):
    """The command behind an operation ended with another status than 0."""

    exit: int | None = None
    """Its exit code; None if a signal ended it, or nobody knows."""
    signal: int | None = None
    output: str = ""
    """The last of what it printed."""

    def __init__(self, message: str = "", **parameters: Any) -> None:
        super().__init__(message, **parameters)
        if self.signal is not None and 0 < self.signal < 128:
            self.exit_status = 128 + self.signal
        elif self.exit is not None and 0 < self.exit < 256:
            self.exit_status = self.exit


class NoSuchJob(OperationError):
    """There is no job of that id, or none that the caller may see."""

    job: str = ""


class JobExists(OperationError):
    """Another job has that id."""

    job: str = ""


class JobOver(OperationError):
    """The job has ended, and cannot be paused, resumed or cancelled any more."""

    job: str = ""


class TooBusy(OperationError):
    """As many jobs run, or as many connections are open, as may be."""

    limit: int = 0


class InternalError(OperationError):
    """A fault of pollprog's own, or of somebody's operation. The daemon's log says more."""

    exit_status = 125


class MethodNotFound(OperationError):
    """There is no method of that name."""

    method: str = ""


class InterfaceNotFound(OperationError):
    """There is no interface of that name."""

    interface: str = ""


class InvalidParameter(OperationError):
    """A parameter is missing, unknown, or of another type than it has to be."""

    parameter: str = ""


class MethodNotImplemented(OperationError):
    """The method is described, and cannot be called here."""

    method: str = ""


class ExpectedMore(OperationError):
    """The method answers with several messages, and has to be called so."""


def visible(text: str) -> str:
    """A stranger's words within a text of ours, on one line of a terminal or a log: a mark stands for each letter that cannot be seen."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def fault(error: BaseException) -> str:
    """What a plugin raised, in a few words: for whoever writes it, with its file and the line."""
    place = "" if isinstance(error, SyntaxError) else raised_in(error)
    return f"{type(error).__name__}: {error}{place}"


def raised_in(error: BaseException) -> str:
    """`` (FILE, line N)``: the innermost place in code that is neither ours nor Python's; nothing if there is none."""
    found = ""
    trace = error.__traceback__
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename
        inside = path.startswith(PYTHONS) and "-packages" not in path
        if not path.startswith((OURS, "<")) and not inside:
            found = f" ({os.path.basename(path)}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return found


def leaves(error: BaseException) -> Iterator[BaseException]:
    """What is in an exception group, at any depth; of another exception, itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error
