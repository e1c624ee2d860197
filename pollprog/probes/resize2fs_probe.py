"""How far a resize2fs is: the pass and the bar that it prints."""

from __future__ import annotations

import re
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from pollprog.phases import Steps
from pollprog.probes.procio import Activity
from pollprog.probes.resize2fs import Bar
from pollprog.status import Sample

if TYPE_CHECKING:
    from pollprog.probes import Target

__all__ = ["PASSES", "Resize2fsProbe"]

PASSES = {
    "Extending the inode table": 5,
    "Relocating blocks": 70,
    "Scanning inode table": 15,
    "Updating inode references": 5,
    "Moving inode table": 5,
}
"""Each pass with its share of the time."""
LINE = re.compile(rb"([A-Z][a-z ]{1,40}[a-z]) *-{40}\x08{40}(X{0,40})\r?")


class Resize2fsProbe:
    """The probe of one resize2fs."""

    def __init__(self, target: Target) -> None:
        bar = target.claims.get(1)
        self._bar = bar if isinstance(bar, Bar) else None
        self._process = target.process
        self._stood: int | None = None
        """Bytes that were in the log before the first look, perhaps of another run."""
        self._activity = Activity(target.tree)
        self._steps = Steps(PASSES)

    def feed(self, stream: int, record: bytes) -> None:
        """A record ends with its pass, which is too late."""

    def sample(self) -> Sample | None:
        """How many places of the bar are full; before the first one, and where it is not heard, None."""
        found = LINE.fullmatch(self._logged() if self._bar is None else self._bar.line)
        step = self._steps.plan.get(found[1].decode()) if found else self._steps.step
        if step is None:
            return None
        self._steps.step = step
        told = self._steps.of(Sample(len(found[2]) if found else 0, 40), step)
        return replace(told, source="resize2fs", activity=self._activity.look())

    def _logged(self) -> bytes:
        """The line that is being printed into a file; nothing where that goes elsewhere."""
        info, file = self._process.stream(1), self._process.file(1)
        if info is None or file is None or not stat.S_ISREG(info.st_mode) or not file.writes:
            return b""
        if self._stood is None:
            self._stood = file.size
        if file.size <= self._stood:
            return b""
        start = max(0, file.size - Bar.LONGEST)
        try:
            return self._process.read(file, start, file.size - start).rpartition(b"\n")[2]
        except OSError:
            return b""

    def close(self) -> None:
        """Nothing is held."""
