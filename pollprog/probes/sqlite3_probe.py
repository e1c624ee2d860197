"""How far a sqlite3 is that copies a database, or makes it anew.

A backup writes each page of its source; where it writes over an old database, each of the old pages goes into a journal beside it first. A VACUUM reads
each page that is in use, and writes what is left of it to a temporary file. Then it writes that back, behind a journal or into a log of
the same size.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pollprog.phases import Steps
from pollprog.probes.procio import Activity
from pollprog.status import Bound, Sample

if TYPE_CHECKING:
    from pollprog.probes import Target
    from pollprog.probes.sqlite3 import Work
    from pollprog.process import Io, OpenFile

__all__ = ["SqliteProbe", "in_use"]

MAGIC = b"SQLite format 3\0"
CHATTER = 1 << 20
"""Bytes that may be written otherwise."""
WEIGHTS = {"copying": 1, "writing back": 2}


class SqliteProbe:
    """The probe of one sqlite3."""

    def __init__(self, target: Target, work: Work | None) -> None:
        self._process = target.process
        self._target_total = target.total
        self._work = work
        self._activity = Activity(target.tree)
        self._source: tuple[int, int] | None = None
        """Bytes in all, and of pages in use."""
        self._journal = work is not None and os.path.basename(work.output) + "-journal"
        self._steps = Steps(WEIGHTS)
        self._temporary = 0
        """The size of the temporary file."""
        self._told = 0
        self._last: Sample | None = None

    def sample(self) -> Sample | None:
        """What it has read or written; None where that cannot be told."""
        io, work = self._process.io(), self._work
        if work is None:
            return None
        if self._source is None:
            self._source = self._look_at_source(work.source)
        if self._source is None or io is None:
            return self._last
        told = self._of_backup(io) if work.kind == "backup" else self._of_vacuum(io)
        if told is not None:
            self._last = told
        return told

    def _of_backup(self, io: Io) -> Sample | None:
        size, _ = self._source or (0, 0)
        kept = sum(file.size for file in self._process.files() if self._named(file, str(self._journal)))
        self._told = max(self._told, min(io.wchar - kept, size))
        return self._say(Sample(self._told, size))

    def _of_vacuum(self, io: Io) -> Sample | None:
        _, used = self._source or (0, 0)
        read = min(io.rchar, used)
        if self._work is not None and self._work.kind == "vacuum into":
            return None if io.wchar > io.rchar + CHATTER else self._say(Sample(read, used, bound=Bound.ESTIMATE))
        temporary = max(
            (file.size for file in self._process.files() if is_temporary(file, self._process.path(file))), default=0
        )
        self._temporary = max(self._temporary, temporary)
        back = io.wchar - self._temporary
        if not self._temporary or self._temporary > io.rchar + CHATTER:  # it is in memory, or what is read is
            return None
        if back <= CHATTER:
            told = self._steps.of(Sample(read, used), self._steps.plan["copying"])
        else:
            told = self._steps.of(
                Sample(min(back, 2 * self._temporary), 2 * self._temporary), self._steps.plan["writing back"]
            )
        return Sample(told.current, told.total, told.unit, told.phase, "sqlite3", Bound.ESTIMATE, self._activity.look())

    def _say(self, sample: Sample) -> Sample | None:
        total = sample.total if self._target_total is None else self._target_total
        if not sample.current:
            return None
        return Sample(sample.current, total, sample.unit, "", "sqlite3", sample.bound, self._activity.look())

    def _named(self, file: OpenFile, name: str) -> bool:
        return file.writes and os.path.basename(self._process.path(file)) == name

    def _look_at_source(self, name: str) -> tuple[int, int] | None:
        try:
            info = os.stat(self._process.inside(name))
        except (OSError, ValueError):
            return None
        file = next((file for file in self._process.files() if file.key == (info.st_dev, info.st_ino)), None)
        if file is None:
            return None
        try:
            used = in_use(self._process.read(file, 0, 100), file.size)
        except OSError:
            return None
        return (file.size, used) if used else None

    def close(self) -> None:
        """Nothing is held."""


def is_temporary(file: OpenFile, path: str) -> bool:
    """Whether this is one of SQLite's temporary files."""
    return file.writes and os.path.basename(path).startswith("etilqs_")


def in_use(head: bytes, size: int) -> int:
    """By the first 100 bytes of a database of this size: bytes of the pages in it that are in use. 0: it is none."""
    if not head.startswith(MAGIC) or len(head) < 100:
        return 0
    page = int.from_bytes(head[16:18], "big")
    return max(0, size - int.from_bytes(head[36:40], "big") * (1 << 16 if page == 1 else page))
