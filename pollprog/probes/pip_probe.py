"""How far a pip is with the file that it gets: by the size of that, or by what its bar says."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pollprog.probes.procio import Activity
from pollprog.status import Bound, Sample

if TYPE_CHECKING:
    from pollprog.probes import Target

__all__ = ["PipProbe"]

LONGEST = 4096
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
BEGINS = re.compile(rb" *Downloading ([^ ]{1,2000}) \(([0-9]{1,6}(?:\.[0-9])?) (bytes|kB|MB|GB)\)")
BAR = re.compile(rb" *[^ 0-9]{1,400} *([0-9]{1,6}(?:\.[0-9])?)/([0-9]{1,6}(?:\.[0-9])?) (bytes|kB|MB|GB)(?: .*)?")
RAW = re.compile(rb"Progress ([0-9]{1,18}) of ([0-9]{1,18})")
INSTALLS = re.compile(rb" *(?:Installing collected packages|Building wheels? for .*): .*|Saved .*")
SCALES = {b"bytes": 1, b"kB": 10**3, b"MB": 10**6, b"GB": 10**9}


class PipProbe:
    """The probe of one pip."""

    def __init__(self, target: Target) -> None:
        self._tree = target.tree
        self._activity = Activity(target.tree)
        self._name = ""
        """The file that it gets."""
        self._said: Sample | None = None
        """What its bar shows of that."""
        self._total = 0

    def feed(self, stream: int, record: bytes) -> None:
        """One line, or one state of the bar."""
        if stream != 1 or len(record) > LONGEST:
            return
        line = ESCAPES.sub(b"", record).rstrip()
        if found := BEGINS.fullmatch(line):
            self._name = os.path.basename(os.fsdecode(found[1]))
            self._total, self._said = in_bytes(found[2], found[3]), None
        elif INSTALLS.fullmatch(line):
            self._name, self._total, self._said = "", 0, None
        elif self._name and (found := RAW.fullmatch(line)):
            self._keep(int(found[1]), int(found[2]), Bound.EXACT)
        elif self._name and (found := BAR.fullmatch(line)):
            self._keep(in_bytes(found[1], found[3]), in_bytes(found[2], found[3]), Bound.ESTIMATE)

    def _keep(self, current: int, total: int, bound: Bound) -> None:
        old = self._said
        if (
            total > 0
            and current <= total
            and (old is None or (old.total, old.bound) != (total, bound) or current >= old.current)
        ):
            self._said = Sample(current, total, bound=bound)

    def sample(self) -> Sample | None:
        """How much has come of the present file; None where there is none."""
        if not self._name or not self._total:
            return None
        said = self._said
        if said is None or said.bound is not Bound.EXACT:
            written = self._written()
            if written is not None:
                said = Sample(min(written, self._total), self._total, bound=Bound.ESTIMATE)
        if said is None:
            return None
        return Sample(
            said.current, said.total, phase=self._name, source="pip", bound=said.bound, activity=self._activity.look()
        )

    def _written(self) -> int | None:
        """The size of the file that it writes; None if it has none of that name open."""
        for process, _ in self._tree.look():
            for file in process.files():
                if file.writes and os.path.basename(process.path(file)) == self._name:
                    return file.position
        return None

    def close(self) -> None:
        """Nothing is held."""


def in_bytes(figure: bytes, scale: bytes) -> int:
    """What pip means by ``24.0 MB``."""
    return int(float(figure) * SCALES[scale])
