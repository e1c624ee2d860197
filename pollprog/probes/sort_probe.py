"""How far a sort is: what it has read, whether it puts that by, and what it has written of the same length."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from pollprog.phases import Steps
from pollprog.probes.procio import Activity
from pollprog.probes.sort import parse
from pollprog.status import Bound, Sample

if TYPE_CHECKING:
    from pollprog.probes import Target
    from pollprog.process import OpenFile

__all__ = ["SortProbe"]

IN_MEMORY = {"reading": 35, "sorting": 30, "writing": 35}
"""Reading takes less than that, but then nothing is seen until it writes, and it stands in the middle of that."""
PUT_BY = {"sorting": 70, "writing": 30}
"""It is sorted as it is read; what is written is merged."""
SMALLEST = 1 << 20
"""Nobody waits for less. It is also what it may read of its own, and what it writes before it counts as put by."""


class SortProbe:
    """The probe of one sort."""

    def __init__(self, target: Target) -> None:
        self._process = target.process
        self._total = target.total or size_of(target)
        self._activity = Activity(target.tree)
        self._in_memory, self._put_by = Steps(IN_MEMORY), Steps(PUT_BY)
        self._puts_by = False
        self._wrote = 0
        output = self._process.file(1)
        self._stood = output.size if output is not None and output.flags & os.O_APPEND else 0
        """What was in its output before it."""

    def sample(self) -> Sample | None:
        """How much it has read, or written; None where nobody knows of how much."""
        io = self._process.io()
        if io is None or self._total is None or self._total < SMALLEST:
            return None
        if io.rchar < self._total:
            self._puts_by = self._puts_by or io.wchar >= SMALLEST
            step, done = "sorting" if self._puts_by else "reading", io.rchar
        else:
            done = self._wrote = max(self._wrote, self._written(self._process.file(1), io.wchar))
            step = "writing" if done else "sorting"
            if done > self._total + SMALLEST:
                return None
            if not done and self._puts_by:
                done = self._total
        steps = self._put_by if self._puts_by else self._in_memory
        told = steps.of(Sample(min(done, self._total), self._total), steps.plan[step])
        return replace(told, source="sort", bound=Bound.ESTIMATE, activity=self._activity.look())

    def _written(self, output: OpenFile | None, wchar: int) -> int:
        """What is in its output by now; of a pipe that is known only if nothing was put by."""
        if output is None or not output.writes:
            return 0 if self._puts_by else wchar
        return output.size - self._stood if output.flags & os.O_APPEND else output.position

    def close(self) -> None:
        """Nothing is held."""


def size_of(target: Target) -> int | None:
    """How much it has to read; None where that includes a pipe, or what it may have begun to write over."""
    output = None if target.launched else target.process.stream(1)
    total = 0
    for word in parse(target.process.argv())[1] or ["-"]:
        try:
            info = target.process.stream(0) if word == "-" else os.stat(target.process.inside(word))
        except (OSError, ValueError):
            return None
        if info is None or not stat.S_ISREG(info.st_mode) or (output is not None and os.path.samestat(info, output)):
            return None
        total += info.st_size
    return total
