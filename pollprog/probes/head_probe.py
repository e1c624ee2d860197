"""How far a head is that counts bytes: what it has written of them."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from pollprog.probes.procio import Activity
from pollprog.status import Bound, Sample

if TYPE_CHECKING:
    from pollprog.probes import Target
    from pollprog.process import Process

__all__ = ["HeadProbe", "left_in"]

MEMORY = 1
"""The major number of /dev/zero and /dev/urandom."""
ENDLESS = 1 << 62
BUFFER = 1 << 20
"""Bytes that it may have read and not written yet."""


class HeadProbe:
    """The probe. `asked`: how many bytes it is to write, and the name of its input; empty for its standard input."""

    def __init__(self, target: Target, asked: tuple[int, str]) -> None:
        self._process = target.process
        number, name = asked
        left = left_in(target.process, name)
        self._sure = left is not None
        self._total = target.total or (number if left is None else min(number, left))
        self._activity = Activity(target.tree)

    def sample(self) -> Sample | None:
        """What it has written; None before a pipe has given it anything: until then what fills that is at work."""
        io = self._process.io()
        if io is None or not self._total or not (self._sure or io.wchar):
            return None
        bound = Bound.EXACT if self._sure else Bound.ESTIMATE
        current = min(io.wchar, self._total)
        return Sample(current, self._total, source="head", bound=bound, activity=self._activity.look())

    def close(self) -> None:
        """Nothing is held."""


def left_in(process: Process, name: str) -> int | None:
    """How much its input had when it began, as far as that has an end; None of what may end at any moment, as a pipe."""
    try:
        info = os.stat(process.inside(name)) if name else process.stream(0)
    except (OSError, ValueError):
        return None
    if info is not None and stat.S_ISCHR(info.st_mode) and os.major(info.st_rdev) == MEMORY:
        return ENDLESS
    if info is None or not stat.S_ISREG(info.st_mode):
        return None
    if name:
        return info.st_size
    io = process.io()
    place = next((file.position for file in process.files() if file.fd == 0), 0)
    began = place - (io.wchar if io is not None else 0)
    return max(0, info.st_size - (began if began > BUFFER else 0))
