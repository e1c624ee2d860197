"""How far a shred is: what it has written in all, and where it is in the file of the moment."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from pollprog.probes.procio import Activity
from pollprog.probes.shred import parse
from pollprog.sizes import parse_size
from pollprog.status import Sample

if TYPE_CHECKING:
    from pollprog.probes import Target
    from pollprog.process import OpenFile

__all__ = ["ShredProbe"]


class ShredProbe:
    """The probe of one shred."""

    def __init__(self, target: Target) -> None:
        self._process = target.process
        self._total = target.total
        self._activity = Activity(target.tree)
        self._passes, size, self._exact, self._names = parse(target.process.argv()) or (0, "", False, [])
        self._given = parse_size(size) if size else None
        self._files: dict[tuple[int, int], int] | None = None
        """How much is written to each, in each pass, in their order; by what tells one file from another."""
        self._told = 0
        self._phase = ""
        self._last: Sample | None = None

    def sample(self) -> Sample | None:
        """What it has written; None before it writes, and where its counters or its files are hidden."""
        io = self._process.io()
        file = next((file for file in self._process.files() if file.writes and file.fd > 2), None)
        if self._files is None and file is not None and io is not None:
            self._files = self._find(file)
        if not self._files or io is None:  # it is ending, or not there yet
            return self._last
        total = sum(self._files.values()) * self._passes
        if file is not None and file.key in self._files:
            before = 0
            for key, size in self._files.items():
                if key == file.key:
                    break
                before += size * self._passes
            self._look(file, size, before, io.wchar)
        if not total or not self._told:
            return None
        whole = total if self._total is None else self._total
        self._last = Sample(
            min(self._told, total), whole, phase=self._phase, source="shred", activity=self._activity.look()
        )
        return self._last

    def _look(self, file: OpenFile, size: int, before: int, written: int) -> None:
        if not size or file.position > size:
            return
        over = min(max(0, round((written - before - file.position) / size)), self._passes - 1)
        told = before + over * size + file.position
        if told < self._told:  # it has gone back to the beginning, and is about to go over it again
            return
        self._told = told
        name = f"{os.path.basename(self._process.path(file))}, " if len(self._files or ()) > 1 else ""
        self._phase = f"{name}pass {over + 1} of {self._passes}"

    def _find(self, present: OpenFile) -> dict[tuple[int, int], int] | None:
        """The files that are named, as far as they are there; of one alone, the one that is open."""
        if len(self._names) == 1:
            info = self._process.stream(present.fd)
            return None if info is None else {present.key: self._size(info, present.size)}
        found: dict[tuple[int, int], int] = {}
        for name in self._names:
            try:
                info = os.stat(self._process.inside(name))
            except OSError:
                return None
            key = info.st_dev, info.st_ino
            if not stat.S_ISREG(info.st_mode) or key in found:
                return None
            found[key] = self._size(info, info.st_size)
        return found

    def _size(self, info: os.stat_result, size: int) -> int:
        """How much is written in each pass: whole blocks of a file, if not told otherwise."""
        if self._given is not None:
            return self._given
        if self._exact or not stat.S_ISREG(info.st_mode):
            return size
        return -(-size // info.st_blksize) * info.st_blksize

    def close(self) -> None:
        """Nothing is held."""
