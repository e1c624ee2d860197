"""How far an xz is with the files that it was given: what it answers when it is asked."""

from __future__ import annotations

import os
import re
import stat
from signal import SIGUSR1
from typing import TYPE_CHECKING

from pollprog.probes.asking import Asker
from pollprog.probes.procio import Activity
from pollprog.probes.xz import TOOL
from pollprog.status import Bound, Sample

if TYPE_CHECKING:
    from pollprog.probes import Target

__all__ = ["XzProbe"]

LONGEST = 4096
TITLE = re.compile(rb"[^\r\n]* \(([0-9]{1,6})/([0-9]{1,6})\)")
ANSWER = re.compile(rb" *([0-9]{1,3})(?:[.,]([0-9]))? % .*")


class XzProbe:
    """How far one xz is. `interval`: the least number of seconds between two signals."""

    def __init__(self, target: Target, *, interval: float = 0.1) -> None:
        self._asker = Asker(target, TOOL, SIGUSR1, 2, interval=interval)
        self._total = target.total
        self._activity = Activity(target.tree)
        self._sizes = sizes_of(target)
        self._file = 1
        """The number of the file that it is at."""
        self._done: int | None = None

    def feed(self, stream: int, record: bytes) -> None:
        """Which file it is at, and how far it is with that."""
        if stream != 2 or len(record) > LONGEST:
            return
        if title := TITLE.fullmatch(record):
            if int(title[2]) == len(self._sizes) >= int(title[1]) > self._file:
                self._file = int(title[1])
        elif self._sizes and (answer := ANSWER.fullmatch(record)):
            share = min(int(answer[1]) * 10 + int(answer[2] or 0), 1000)
            done = sum(self._sizes[: self._file - 1]) + self._sizes[self._file - 1] * share // 1000
            self._done = max(self._done or 0, done)

    def sample(self) -> Sample | None:
        """What it said last; None before that."""
        if self._sizes:
            self._asker.ask()
        if self._done is None:
            return None
        total = self._total or sum(self._sizes)
        return Sample(min(self._done, total), total, source="xz", bound=Bound.LOWER, activity=self._activity.look())

    def close(self) -> None:
        """Nothing is held."""


def sizes_of(target: Target) -> list[int]:
    """The sizes of the files that it was given, in bytes. Some are gone once they are done, so this is asked at first."""
    sizes = []
    for word in target.process.argv()[1:]:
        if not word.startswith("-"):
            try:
                info = os.stat(target.process.inside(word))
            except (OSError, ValueError):
                continue
            if stat.S_ISREG(info.st_mode) and info.st_size:
                sizes.append(info.st_size)
    return sizes
