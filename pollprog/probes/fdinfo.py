"""``fdinfo``: how far a process has come in a file that it reads, or writes, from its beginning to its end.

The kernel tells the position of every descriptor. It says how far the process has read, not how far it has got with what it
read: a process of several threads reads ahead, so there the position is an upper bound. It does not move for ``pread``, for
mapped memory, nor within one call of ``copy_file_range``, which ``cp`` uses.

Each file is a phase of its own, under its name: ``current`` starts again with the next one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pollprog.errors import UsageError
from pollprog.probes.procio import Activity
from pollprog.status import Bound, Sample

if TYPE_CHECKING:
    from pollprog.probes import Target
    from pollprog.process import OpenFile

__all__ = ["FdInfo", "probe"]


class FdInfo:
    """The position in one open file of the target's process."""

    __slots__ = ("_activity", "_chosen", "_fd", "_target")

    def __init__(self, target: Target, fd: int | None) -> None:
        self._target = target
        self._fd = fd
        self._chosen: OpenFile | None = None
        self._activity = Activity(target.tree)

    def sample(self) -> Sample | None:
        """Where the process is in the file; None where the descriptor is closed, no file, or hidden from us."""
        process = self._target.process
        file = self._choice() if self._fd is None else process.file(self._fd)
        if file is None:
            return None
        try:
            threads = process.stat().threads
        except (OSError, ValueError):
            return None
        ends = (
            file.reads or not file.inode
        )  # what is read has an end, and so has a block device, which has no inode here
        current, total = file.position, self._target.total
        if total is None and ends:
            current, total = min(current, file.size), file.size or None
        return Sample(
            current,
            total,
            phase=_shown(os.path.basename(process.path(file))),
            source=f"fdinfo:{file.fd}",
            bound=Bound.UPPER if threads > 1 else Bound.EXACT,
            activity=self._activity.look(),
        )

    def _choice(self) -> OpenFile | None:
        """The file that was chosen before, as long as it is open; else the largest that is open for reading."""
        process = self._target.process
        if self._chosen is not None:
            file = process.file(self._chosen.fd)
            if file is not None and file.key == self._chosen.key:
                return file
        read = [file for file in process.files() if file.reads and file.size]
        self._chosen = max(read, key=lambda file: file.size, default=None)
        return self._chosen

    def close(self) -> None:
        """Nothing is held: the process is its owner's."""


def _shown(name: str) -> str:
    """A file name as text that can be sent anywhere: what is no UTF-8 in it is replaced."""
    return os.fsencode(name).decode("utf-8", "replace")


def probe(target: Target, argument: str | None) -> FdInfo:
    """``fdinfo[:FD]``; without an argument the largest file that the process reads. UsageError if FD is no number."""
    if argument is None:
        return FdInfo(target, None)
    if not (argument.isascii() and argument.isdigit() and len(argument) < 10):
        raise UsageError(f"{argument!r} is not a descriptor; say fdinfo:3, or fdinfo for the largest file that is read")
    return FdInfo(target, int(argument))
