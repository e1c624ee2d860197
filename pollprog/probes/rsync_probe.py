"""How far an rsync is, by the lines of progress that it prints."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pollprog.probes.patterns import LONGEST
from pollprog.probes.procio import Activity
from pollprog.probes.program import has_option
from pollprog.probes.records import number
from pollprog.status import Bound, Sample, Unit

if TYPE_CHECKING:
    from pollprog.probes import Target

__all__ = ["RsyncProbe"]

LINE = re.compile(
    rb" *(?P<bytes>[0-9][0-9.,]*)(?P<scale>[KMGTP]?) +(?P<percent>[0-9]{1,3})% +[0-9.,]+[kMGTP]?B/s +[0-9?:]+"
    rb"(?: +\(xfr#[0-9]+, (?P<list>ir|to)-chk=(?P<left>[0-9]{1,15})/(?P<files>[0-9]{1,15})\))? *"
)
SCALES = {scale: 1000**power for power, scale in enumerate((b"", b"K", b"M", b"G", b"T", b"P"))}


class RsyncProbe:
    """How far one rsync is."""

    def __init__(self, target: Target) -> None:
        self._activity = Activity(target.tree)
        self._said = 0
        argv = target.process.argv()
        self._by_file = has_option(argv, "P", ("--progress",)) and not any("progress2" in word for word in argv)
        """Its lines are about one file each."""
        self._current: int | None = None
        self._low, self._high = 0, 0
        """Between which its total is, as far as is known; 0: it is not."""
        self._growing = self._complete = False
        """It still looks for files; it was seen to have found all."""
        self._given = target.total

    def feed(self, stream: int, record: bytes) -> None:
        """One record of what it prints."""
        if stream != 1:
            return
        self._said += len(record)
        found = LINE.fullmatch(record[:LONGEST])
        if found is None:
            return
        if found["list"]:
            self._growing = found["list"] == b"ir"
            if self._growing:
                self._low = self._high = 0
            elif not self._complete:
                self._complete, self._low, self._high = (
                    True,
                    0,
                    0,
                )  # what was known of the total was of a part of the list
        if self._by_file:
            if found["list"]:
                left, files = int(found["left"]), int(found["files"])
                self._current, self._high = max(files - left, self._current or 0), 0 if self._growing else files
            return
        try:
            done = amount(found["bytes"], found["scale"])
        except ValueError:
            return
        self._current = max(done, self._current or 0)
        percent = int(found["percent"])
        if not self._growing and 0 < percent <= 100 and done == self._current:
            # it is rounded down, so the total is between these two; and it is one, so in all that were told so far
            low, high = done * 100 // (percent + 1), done * 100 // percent
            low, high = (max(low, self._low), min(high, self._high or high)) if percent < 100 else (done, done)
            self._low, self._high = (low, high) if low <= high else (done * 100 // (percent + 1), done * 100 // percent)

    def sample(self) -> Sample | None:
        """What it said last; None before that."""
        if self._current is None:
            return None
        activity = self._said + self._activity.look()
        if self._by_file:
            total = self._high or None
            return Sample(self._current, total, Unit.ITEMS, source="rsync:files", bound=Bound.LOWER, activity=activity)
        total = self._given or max((self._low + self._high) // 2, self._current) or None
        if self._given is None and not self._high and not self._growing:
            return None  # all that it has said is 0 %
        if self._given is None and self._growing:
            total = None
        bound = Bound.LOWER if self._complete else Bound.ESTIMATE
        return Sample(self._current, total, source="rsync", bound=bound, activity=activity)

    def close(self) -> None:
        """Nothing is held."""


def amount(text: bytes, scale: bytes) -> int:
    """A number of bytes as rsync writes it: ``1,500,000``, or with a scale ``1.50M``. ValueError for what is none."""
    if not scale:
        return number(text.replace(b".", b","))
    return int(float(text.replace(b",", b".")) * SCALES[scale])
