"""How far a dpkg is, by the states that its packages come to.

An upgrade begins with a walk back, ``half-configured`` and ``unpacked``, before ``half-installed``: so a package counts from
``processing:`` on, and its state only if it is the next one. A removal passes the same states, to another end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pollprog.probes.contract import STATUS
from pollprog.probes.dpkg import named_files
from pollprog.probes.patterns import LONGEST
from pollprog.probes.procio import Activity
from pollprog.status import Sample, Unit

if TYPE_CHECKING:
    from pollprog.probes import Target

__all__ = ["STEPS", "DpkgProbe"]

STEPS = 3
"""States that a package comes to."""
PROCESSING = re.compile(rb"processing: (install|upgrade|configure|remove|purge): ([a-z0-9][a-z0-9.+:-]*)")
STATE = re.compile(rb"status: ([a-z0-9][a-z0-9.+:-]*): ([a-z-]+)")
DONE = {b"installed", b"triggers-awaited", b"triggers-pending", b"config-files", b"not-installed"}
"""Where a package is at its end, by what is done with it."""


class DpkgProbe:
    """How far one dpkg is."""

    def __init__(self, target: Target) -> None:
        files = named_files(target.process.argv())
        self._total = None if files is None else files * STEPS
        self._activity = Activity(target.tree)
        self._said = 0
        self._steps: dict[bytes, int] = {}
        """By package: how many states it has come to."""
        self._removing = False

    def feed(self, stream: int, record: bytes) -> None:
        """One record of its status descriptor."""
        if stream != STATUS:
            return
        self._said += len(record)
        if found := PROCESSING.fullmatch(record[:LONGEST].rstrip()):
            step = 2 if found[1] == b"configure" else 0
            self._steps[found[2]] = max(step, self._steps.get(found[2], 0))
            self._removing = found[1] in (b"remove", b"purge")
        elif (found := STATE.fullmatch(record[:LONGEST].rstrip())) and found[1] in self._steps:
            self._come_to(found[1], found[2])

    def _come_to(self, package: bytes, state: bytes) -> None:
        step = self._steps[package]
        if step == 0 and state == b"half-installed":
            self._steps[package] = 1
        elif step == 1 and state == b"unpacked":
            self._steps[package] = 2
        elif state in DONE and (step == 2 or self._removing):
            self._steps[package] = STEPS

    def sample(self) -> Sample | None:
        """How many states all packages have come to; None before the first is begun."""
        if not self._steps:
            return None
        total = self._total and max(self._total, STEPS * len(self._steps))
        activity = self._said + self._activity.look()
        return Sample(sum(self._steps.values()), total, Unit.PARTS, source="dpkg", activity=activity)

    def close(self) -> None:
        """Nothing is held."""
