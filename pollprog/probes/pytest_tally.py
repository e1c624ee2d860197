"""Counts the tests that pytest tells of by a letter each, also those of a line that has not ended yet."""

from __future__ import annotations

import re

__all__ = ["Tally"]

COLOUR = re.compile(rb"\x1b\[[0-9;]*[mK]")
COLLECTED = re.compile(
    rb"(?:collecting \.\.\. )?collected ([0-9]{1,9}) items?(?: / [0-9]+ errors?)?(?: / ([0-9]{1,9}) deselected)?(?: / .{0,100})? *"
)
WORKERS = re.compile(rb"[0-9]{1,4} workers? \[([0-9]{1,9}) items?\] *")
"""So it stands where pytest-xdist runs them, and no file before the letters."""
FILE = rb"\S.{0,500}\.(?:py|txt|rst|md) "
LETTERS = re.compile(rb"(" + FILE + rb")?([.,FEsxXRu-]*+)(?: +(?:\[[ 0-9/%]*\]?)?)?")
ONE_EACH = b".FsxX"
"""An ``E`` may come behind another letter of the same test, an ``R`` before, and a ``,`` is a part of one."""
LONGEST = 8192
"""Bytes of the longest line that is kept."""


class Tally:
    """Passes everything on, and counts (a `pollprog.launch.Filter`)."""

    all_passes = True

    def __init__(self) -> None:
        self.total = 0
        """How many tests it has collected; 0 before that is known."""
        self._state = 0, False, b""
        """Tests of the lines that have ended; whether letters may go on without the name of a file; what has come of the next line."""
        self._over = False

    @property
    def done(self) -> int:
        """How many tests are told of, at the least."""
        counted, goes_on, rest = self._state
        return min(counted + (letters(rest, goes_on=goes_on) or 0), self.total)

    def passing(self, data: bytes) -> bytes:
        """All of it."""
        if not self._over:
            counted, goes_on, rest = self._state
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                counted, goes_on = self._take(line[-LONGEST:], counted, goes_on=goes_on)
            self._state = counted, goes_on, rest[-LONGEST:]
        return data

    def end(self) -> bytes:
        """Nothing is left."""
        return b""

    def _take(self, line: bytes, counted: int, *, goes_on: bool) -> tuple[int, bool]:
        """The first two of the state, behind this line."""
        text = COLOUR.sub(b"", line).rstrip(b"\r").rpartition(b"\r")[2]
        if not self.total:
            if found := COLLECTED.fullmatch(text):
                self.total = max(0, int(found[1]) - int(found[2] or 0))
            elif found := WORKERS.fullmatch(text):
                self.total, goes_on = int(found[1]), True
        elif text.startswith(b"="):  # what is told of the tests that failed, or how it went
            self._over = True
        elif text:
            more = letters(text, goes_on=goes_on)
            return counted + (more or 0), more is not None and text.endswith(b"]")
        return counted, goes_on


def letters(text: bytes, *, goes_on: bool) -> int | None:
    """How many tests this line, or its beginning, tells of by letters; None if it tells something else."""
    found = LETTERS.fullmatch(COLOUR.sub(b"", text))
    if found is None or not (found[1] or goes_on):
        return None
    return sum(letter in ONE_EACH for letter in found[2])
