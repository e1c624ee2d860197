"""How far a curl is: what it has written of the length that the server's headers say; else what its meter says."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from pollprog.inherited import inherited
from pollprog.probes.contract import STATUS
from pollprog.probes.procio import Activity
from pollprog.status import Bound, Sample, Unit

if TYPE_CHECKING:
    from pollprog.probes import Target

__all__ = ["CurlProbe"]

LONGEST = 1024
ANSWER = re.compile(rb"HTTP/[0-9.]{1,3} ([0-9]{3})(?: (.*))?")
"""With which the headers of an answer begin. Of those between, as of a redirection, nothing is kept."""
PROXY = b"connection established"
"""How a proxy answers, for which something else comes behind."""
LENGTH = re.compile(rb"content-length: *([0-9]{1,18}) *", re.IGNORECASE)
RANGE = re.compile(rb"content-range: *bytes +[0-9]{1,18}-([0-9]{1,18})/(?:[0-9]{1,18}|\*) *", re.IGNORECASE)
PACKED = re.compile(rb"content-encoding: *(?!identity *$).*", re.IGNORECASE)
COUNT = rb"([0-9]{1,6}(?:\.[0-9]{1,2})?[kMGTP]?)"
METER = re.compile(
    rb" *([0-9]{1,3}) +" + COUNT + rb" +([0-9]{1,3}) +" + COUNT + rb" +([0-9]{1,3}) +" + COUNT
    # speeds, times and the present speed
    + rb"(?: +[0-9.]{1,7}[kMGTP]?){2}(?: +[0-9:dh -]{1,9}){3} +[0-9.]{1,7}[kMGTP]?"
)  # fmt: skip
HEAD = re.compile(rb" +% Total +% Received % Xferd .*")
"""Printed before each transfer."""
BAR = re.compile(rb"#* +([0-9]{1,3})[.,]([0-9])%")
SCALES = b"kMGTP"


class CurlProbe:
    """The probe of one curl."""

    def __init__(self, target: Target) -> None:
        self._process = target.process
        self._total = target.total
        self._activity = Activity(target.tree)
        words = target.process.argv()
        self._resumes = any(word.startswith(("-C", "--cont")) for word in words)
        self._unpacks = any(word.startswith(("--comp", "--tr-e")) for word in words)
        self._answer = 0
        """The status of the answer whose headers are being heard, or were last."""
        self._length: int | None = None
        self._ends: int | None = None
        """Where the range that is sent ends in the whole."""
        self._packed = False
        self._transfers = 0
        self._base: int | None = 0
        """What was written before this transfer; None if that cannot be told."""
        self._tables = 0
        self._meter: Sample | None = None
        self._given = frozenset(inherited())
        """Files that it has from us: it writes its words there, if anything."""

    # -- what it says

    def feed(self, stream: int, record: bytes) -> None:
        """A line of the headers, or what its meter shows."""
        if len(record) > LONGEST:
            return
        if stream == STATUS:
            self._take_header(record)
        elif stream == 2:
            self._take_meter(record)

    def _take_header(self, line: bytes) -> None:
        if begins := ANSWER.fullmatch(line):
            if self._is_sent():
                self._base = None if self._base is None or self._length is None else self._base + self._length
            self._answer = 0 if (begins[2] or b"").lower().strip() == PROXY else int(begins[1])
            self._length, self._ends, self._packed = None, None, False
            self._transfers += self._is_sent()
        elif found := LENGTH.fullmatch(line):
            self._length = int(found[1])
        elif found := RANGE.fullmatch(line):
            self._ends = int(found[1]) + 1
        elif PACKED.fullmatch(line):
            self._packed = True

    def _is_sent(self) -> bool:
        """Whether this answer brings what was asked for."""
        return 200 <= self._answer < 300

    def _take_meter(self, record: bytes) -> None:
        phase = f"transfer {self._tables}" if self._tables > 1 else ""
        if HEAD.fullmatch(record):
            self._tables += 1
            self._meter = None
        elif found := METER.fullmatch(record):
            share, received, sent = int(found[1]), int(found[3]), int(found[5])
            total, current = in_bytes(found[2]), in_bytes(found[4]) + in_bytes(found[6])
            # where the length is not known, the first figure is 100 and the shares of both ways are 0
            if max(received, sent) and current <= total and abs(current * 100 // total - share) <= 1:
                self._keep(Sample(current, total, phase=phase, bound=Bound.ESTIMATE))
        elif (found := BAR.fullmatch(record)) and int(found[1]) <= 100:
            self._keep(Sample(int(found[1]) * 10 + int(found[2]), 1000, Unit.PARTS, phase))

    def _keep(self, said: Sample) -> None:
        old = self._meter
        if old is None or (old.total, old.phase) != (said.total, said.phase) or said.current >= old.current:
            self._meter = said

    # -- how far that is

    def sample(self) -> Sample | None:
        """By the headers, or by the meter; None where nobody knows a length."""
        said = self._by_headers() or self._meter
        if said is None:
            return None
        if said is self._meter:
            said = self._nearer(said)
        total = said.total if self._total is None or said.unit is not Unit.BYTES else self._total
        return Sample(said.current, total, said.unit, said.phase, "curl", said.bound, self._activity.look())

    def _by_headers(self) -> Sample | None:
        if not self._is_sent() or self._length is None or (self._packed and self._unpacks):
            return None
        length = self._length
        phase = f"transfer {self._transfers}" if self._transfers > 1 else ""
        written = self._written()
        if written is not None:
            length = self._ends if self._resumes and self._ends is not None else length
            return Sample(written, length, phase=phase) if written <= length else None
        io = self._process.io()
        if io is None or self._base is None:
            return None
        # what it prints beside is little
        return Sample(min(max(0, io.wchar - self._base), length), length, phase=phase, bound=Bound.ESTIMATE)

    def _written(self) -> int | None:
        """How far it has come in the file that it has opened and writes; None if there is none."""
        files = [file for file in self._process.files() if file.fd > 2 and file.inode and file.writes]
        opened = [file for file in files if file.key not in self._given]
        named = [file for file in opened if not self._process.path(file).startswith("/memfd:")]
        return max((file.position for file in named), default=None)

    def _nearer(self, said: Sample) -> Sample:
        """What the meter said, which it does once a second, as far as its file has grown since."""
        written = None if self._resumes or self._unpacks or said.unit is not Unit.BYTES else self._written()
        if written is None or said.total is None or not said.current <= written <= said.total:
            return said
        return replace(said, current=written)

    def close(self) -> None:
        """Nothing is held."""


def in_bytes(figure: bytes) -> int:
    """What the meter means by ``24.0M``."""
    power = SCALES.find(figure[-1:]) + 1 if figure[-1:].isalpha() else 0
    return int(float(figure.rstrip(SCALES)) * 1024**power)
