"""``filesize``: how much there is in one output file, which may not be there yet.

A file that was there before the command began, and that nobody has touched since, is the old one: there is nothing to say.
One that takes its place, by rename or otherwise, is looked at afresh.

A file has two sizes, where its end is and what is allocated, and one of them may be there in full from the start: a tool
that sets the end first and then fills in (qemu-img) leaves a hole, one that allocates first and moves the end (rsync
--preallocate) leaves blocks behind the end. The smaller one is the one that moves, until the end has been seen to move more
than once: then it is the end that counts, however sparse or compressed the file is. Where both are there in full at the
first look and neither moves, nothing can be told.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from pollprog.errors import UsageError
from pollprog.probes.procio import Activity
from pollprog.probes.treesize import began
from pollprog.status import Bound, Sample

if TYPE_CHECKING:
    from pollprog.probes import Target

__all__ = ["FileSize", "probe"]

ENOUGH = 2
"""How often the end of a file has to move on until it is taken for what tells the progress: set once, it moves once."""


class FileSize:
    """The size of an output file of a process tree."""

    __slots__ = ("_activity", "_first", "_moves", "_path", "_since", "_size", "_target")

    def __init__(self, target: Target, path: str) -> None:
        self._target = target
        self._path = path
        self._since = began(target.tree.root)
        self._activity = Activity(target.tree)
        self._first: os.stat_result | None = None
        """The file as it was when it was first seen."""
        self._size = 0
        self._moves = 0

    def sample(self) -> Sample | None:
        """How much has been written; None while there is no file, only the old one, or one of which nothing can be told."""
        try:
            info = os.stat(self._path)
        except OSError:
            return None
        if not stat.S_ISREG(info.st_mode):
            return None
        size, blocks = info.st_size, info.st_blocks * 512
        first = self._first
        if first is None or (info.st_dev, info.st_ino) != (first.st_dev, first.st_ino):
            first = self._first = info
            self._size, self._moves = size, 0
        if size != self._size:
            self._moves = self._moves + 1 if size > self._size else 0
            self._size = size
        if info.st_ctime_ns == first.st_ctime_ns < self._since:
            return None
        current, total, source, bound = size, self._target.total, "filesize", Bound.EXACT
        if blocks < size and self._moves < ENOUGH:
            current, total, source, bound = blocks, total or size, "filesize:blocks", Bound.ESTIMATE
        if total is not None and current >= total and (size, blocks) == (first.st_size, first.st_blocks * 512):
            return None
        return Sample(current, total, source=source, bound=bound, activity=self._activity.look())

    def close(self) -> None:
        """Nothing is held."""


def probe(target: Target, argument: str | None) -> FileSize:
    """``filesize:FILE``, which need not be there yet. UsageError if it is something else than a regular file."""
    if not argument:
        raise UsageError("filesize needs the file that is written; say filesize:FILE")
    try:
        mode = os.stat(argument).st_mode
    except ValueError as error:
        raise UsageError(f"{argument!r} cannot be the name of a file") from error
    except OSError:
        mode = stat.S_IFREG  # it may come
    if stat.S_ISDIR(mode):
        raise UsageError(f"{argument!r} is a directory; say treesize:{argument}")
    if stat.S_ISBLK(mode):
        raise UsageError(f"{argument!r} is a block device, whose size does not grow; say fdinfo:FD, or procio:wchar")
    if not stat.S_ISREG(mode):
        raise UsageError(f"{argument!r} has no size; say procio:wchar to count what is written")
    return FileSize(target, os.path.abspath(argument))
