"""Every exception that pollprog raises on purpose.

::

    PollprogError
    ├── UsageError            what was typed is wrong; exit status 2
    ├── CommandNotFound       nothing of that name; exit status 127
    ├── CommandNotExecutable  it is there and cannot be run; exit status 126
    ├── ProcessError          a process that cannot be watched: gone, a kernel thread, another user's
    └── CopyError             our own loop could not finish; says how far it came
        └── Cancelled         because somebody asked it to stop

The text of each is one line, for a person, and says what to do.
"""

from __future__ import annotations

__all__ = [
    "Cancelled",
    "CommandNotExecutable",
    "CommandNotFound",
    "CopyError",
    "PollprogError",
    "ProcessError",
    "UsageError",
]


class PollprogError(Exception):
    """The base of all the others: catch this one to catch what pollprog raises."""

    exit_status = 125
    """What ``pollprog`` exits with when this reaches the command line."""


class UsageError(PollprogError):
    """What was typed, or passed, is not something that can be asked for."""

    exit_status = 2


class CommandNotFound(PollprogError):
    """There is no command of that name."""

    exit_status = 127


class CommandNotExecutable(PollprogError):
    """The command is there and cannot be run: no permission, a directory, a missing interpreter."""

    exit_status = 126


class ProcessError(PollprogError):
    """A process that cannot be watched: it is gone, is the kernel's own, or belongs to somebody else."""


class CopyError(PollprogError):
    """A copy that could not be finished. ``written`` is how many bytes had been copied by then."""

    exit_status = 1

    def __init__(self, message: str, *, written: int = 0) -> None:
        super().__init__(message)
        self.written = written


class Cancelled(CopyError):
    """A copy that stopped because it was asked to."""

    exit_status = 130
