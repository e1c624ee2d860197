"""How far a check of checksums is: what it has read, and how much there is of what its lists name."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from pollprog.probes.keptfile import read_kept
from pollprog.probes.procio import Activity
from pollprog.status import Bound, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pollprog.probes import Target

__all__ = ["SumsProbe", "names_in"]

LARGEST = 64 << 20
"""Bytes of the largest list that is read."""
LINE = re.compile(rb"[0-9a-fA-F]{8,128} [ *](.+)|[A-Za-z0-9/-]{1,16} \((.+)\) = [0-9a-fA-F]{8,128}")
OWN = 1 << 20
"""Bytes by which what it reads of itself, and of the lists, may go beyond what they name."""


class SumsProbe:
    """The probe."""

    def __init__(self, target: Target) -> None:
        self._process = target.process
        self._given = target.total
        self._lists = [target.process.inside(word) for word in target.process.argv()[1:] if not word.startswith("-")]
        self._total: int | None = None
        self._activity = Activity(target.tree)

    def survey(self) -> Iterator[int] | None:
        """The walk through the lists."""
        return self._walk() if self._lists else None

    def _walk(self) -> Iterator[int]:
        total = 0
        for path in self._lists:
            for name in names_in(read_kept(path, LARGEST) or b""):
                total += size_of(self._process.inside(os.fsdecode(name)))
                yield total
        self._lists, self._total = [], total or None

    def sample(self) -> Sample | None:
        """What it has read; None where nobody knows of how much, or it is more than that."""
        total = self._given or self._total
        io = self._process.io()
        if io is None or (total is None and not self._lists):
            return None
        if total is not None and io.rchar > total + OWN:
            return None
        current = io.rchar if total is None else min(io.rchar, total)
        return Sample(current, total, source="sums", bound=Bound.ESTIMATE, activity=self._activity.look())

    def close(self) -> None:
        """Nothing is held."""


def names_in(data: bytes) -> Iterator[bytes]:
    """The names that stand in a list, in either of its forms; what is written otherwise is passed over."""
    for line in data.splitlines():
        if found := LINE.fullmatch(line):
            yield found[1] or found[2]


def size_of(path: str) -> int:
    """The size of a regular file; 0 of what is none, or not there."""
    try:
        info = os.stat(path)
    except (OSError, ValueError):
        return 0
    return info.st_size if stat.S_ISREG(info.st_mode) else 0
