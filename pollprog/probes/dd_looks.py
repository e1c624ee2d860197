"""What the descriptors of a dd tell of how far it is.

The best that there is: the position in the input, if that can be sought in; else that in the output; else what was written, of
which the kernel keeps count. A dd gets descriptors 0 and 1 from whoever starts it, and puts in their place what ``if=`` and
``of=`` name; until then they tell nothing. At its end it closes them, and what was known is told on.
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from pollprog.status import Bound, Sample

if TYPE_CHECKING:
    from pollprog.probes.dd_arguments import Arguments
    from pollprog.process import Process

__all__ = ["Looks"]

MEMORY_DEVICES = 1
"""Major number of /dev/zero, /dev/urandom and their like."""
POSITION, OUTPUT, WRITTEN = "dd:input-position", "dd:output-position", "dd:written"
RANK = (WRITTEN, OUTPUT, POSITION)


class Looks:
    """Looks at one dd. `total`: what the user said, or None."""

    def __init__(self, process: Process, arguments: Arguments, total: int | None) -> None:
        self._process = process
        self._arguments = arguments
        self._total = total
        self._opened: set[int] = set()
        self._start: int | None = None
        self._guessed = False
        self._source = WRITTEN
        self._last: Sample | None = None

    def look(self, ticks: int) -> Sample | None:
        """One look, of the best kind that there was so far. None: nothing can be seen, or nothing is copied yet."""
        io = self._process.io()
        if io is None:
            return None
        activity = ticks + io.rchar + io.wchar
        arguments = self._arguments
        rest = None
        if (file := self._process.file(0) if self.opened(0) else None) is not None:
            start = self._begun_at(file.position)
            current, source, rest = file.position - start, POSITION, max(file.size - start, 0) or None
        elif (file := self._process.file(1) if self._output_counts() else None) is not None:
            current, source = file.position - arguments.seek, OUTPUT
        else:
            current, source = io.wchar, WRITTEN
        if RANK.index(source) < RANK.index(self._source) or current < 0:
            return self._last and replace(self._last, activity=activity)
        self._source = source
        if source == WRITTEN and not current:
            return None  # its files may not be open yet
        total, bound = arguments.total(rest), Bound.ESTIMATE if self._guessed else Bound.EXACT
        if rest is None and total is not None and not (arguments.full_blocks or self._input_never_ends()):
            bound = Bound.LOWER  # blocks are counted, and one that comes short counts as much as a whole one
        if self._total is not None:
            total = self._total
        self._last = Sample(current, total, source=source, bound=bound, activity=activity)
        return self._last

    def opened(self, fd: int) -> bool:
        """Whether this descriptor is what dd was told, and not any more what it got when it was started.

        Asked before the descriptor is looked at: it never changes back.
        """
        path = self._arguments.output if fd else self._arguments.input
        if path is None or fd in self._opened:
            return True
        try:
            named = os.stat(self._process.inside(path))
        except (OSError, ValueError):
            return False
        there = self._process.stream(fd)
        if there is None or not os.path.samestat(named, there):
            return False
        self._opened.add(fd)
        return True

    def _output_counts(self) -> bool:
        """Whether it is known where in its output dd began."""
        return self._arguments.output is not None and not self._arguments.appends and self.opened(1)

    def _begun_at(self, position: int) -> int:
        """Where in its input it began. Standard input may have been read from before; the kernel's count tells roughly."""
        if self._start is None:
            self._start = self._arguments.skip
            io = self._process.io()  # after the position: it has read that much at least, unless it began elsewhere
            if self._arguments.input is None and io is not None and position - io.rchar > self._arguments.skip:
                self._start, self._guessed = position - io.rchar, True
        return self._start

    def _input_never_ends(self) -> bool:
        """Whether the input is /dev/zero or one of its like, which read short for a signal alone."""
        info = self._process.stream(0)
        return info is not None and stat.S_ISCHR(info.st_mode) and os.major(info.st_rdev) == MEMORY_DEVICES
