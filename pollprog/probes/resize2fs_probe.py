"""How far a resize2fs is: the pass and the bar that it prints."""

from __future__ import annotations

import re
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
        self._activity = Activity(target.tree)
        self._steps = Steps(PASSES)

    def feed(self, stream: int, record: bytes) -> None:
        """A record ends with its pass, which is too late."""

    def sample(self) -> Sample | None:
        """How many places of the bar are full; before the first one, and where it is not heard, None."""
        found = None if self._bar is None else LINE.fullmatch(self._bar.line)
        step = self._steps.plan.get(found[1].decode()) if found else self._steps.step
        if step is None:
            return None
        self._steps.step = step
        told = self._steps.of(Sample(len(found[2]) if found else 0, 40), step)
        return replace(told, source="resize2fs", activity=self._activity.look())

    def close(self) -> None:
        """Nothing is held."""
