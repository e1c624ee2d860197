"""How much a ddrescue has rescued: what its map says, and what it has written since the map was written."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from pollprog.probes.keptfile import KeptFile
from pollprog.status import Bound, Sample

if TYPE_CHECKING:
    from pollprog.probes import Target

__all__ = ["DdrescueProbe", "parse_map"]

HEAD = re.compile(rb"# (?:Mapfile|Rescue Logfile)\. Created by GNU ddrescue .*")
STATUS = re.compile(rb"0x[0-9A-F]{1,16}\s+([?*/+-])(?:\s+[0-9]{1,9})?")
ROW = re.compile(rb"0x([0-9A-F]{1,16})\s+0x([0-9A-F]{1,16})\s+([?*/+-])")
PHASES = {b"?": "copying", b"*": "trimming", b"/": "scraping", b"-": "retrying", b"+": ""}
"""What it is at, by the mark of what it works on. A plus: the work is over."""
LARGEST = 16 << 20
"""Bytes of the largest map that is read: half a million of areas."""


class DdrescueProbe:
    """The probe. `path`: the map, as it was typed; `whole`: all that is in it is to be rescued."""

    def __init__(self, target: Target, path: str, *, whole: bool) -> None:
        self._process = target.process
        self._total = target.total
        self._whole = whole
        self._file = KeptFile(
            target, target.process.inside(path), self._parse, source="ddrescue", bound=Bound.ESTIMATE, most=LARGEST
        )
        self._extent = 0
        """The end of the map, as it was seen: one that ends before is only half written."""
        self._changes = 0
        self._base = 0
        """What had been written when the map was seen to be new."""
        self._done = 0
        self._phase = ""

    def _parse(self, data: bytes) -> Sample | None:
        said = parse_map(data)
        if said is None or said.total is None or said.total < self._extent:
            return None
        self._extent = said.total
        return said

    def sample(self) -> Sample | None:
        """How much is rescued; None where there is no map."""
        said = self._file.sample()
        if said is None:
            return None
        io = self._process.io()
        written = self._base if io is None else io.wchar
        if self._file.changes != self._changes:
            self._changes, self._base = self._file.changes, written
        self._done = max(self._done, min(said.current + max(0, written - self._base), self._extent))
        self._phase = said.phase or self._phase
        total = self._total or (said.total if self._whole else None)
        return replace(said, current=self._done, total=total, phase=self._phase)

    def close(self) -> None:
        """Nothing is held."""


def parse_map(data: bytes) -> Sample | None:
    """What a map says: how much is rescued, of how much; None for what is no map, or no whole one."""
    lines = data.split(b"\n")
    if not HEAD.fullmatch(lines[0]) or lines.pop():
        return None
    rows = [line for line in lines if not line.startswith(b"#")]
    status = STATUS.fullmatch(rows[0].rstrip()) if rows else None
    if status is None or len(rows) < 2:
        return None
    done = whole = 0
    end: int | None = None
    for row in rows[1:]:
        found = ROW.fullmatch(row.rstrip())
        if found is None:
            return None
        at, size = int(found[1], 16), int(found[2], 16)
        if end not in (None, at):
            return None
        end = at + size
        whole += size
        if found[3] == b"+":
            done += size
    return Sample(done, whole, phase=PHASES[status[1]]) if whole else None
