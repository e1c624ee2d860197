"""How far an ffmpeg is: the time of its output that is written, and that of its input, as far as it is used."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from pollprog.probes.contract import STATUS
from pollprog.probes.procio import Activity
from pollprog.probes.records import LONGEST
from pollprog.status import Bound, Sample, Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.probes import Target

__all__ = ["FfmpegProbe", "length"]

SECOND = 1_000_000
OUT_TIME = re.compile(rb"out_time_us=([0-9]{1,18})")
DURATION = re.compile(rb"  Duration: ([0-9]{2,4}:[0-9]{2}:[0-9]{2}\.[0-9]{2}), .*")
TIME = re.compile(r"(?:(?:([0-9]{1,6}):)?([0-9]{1,6}):)?([0-9]{1,9}(?:\.[0-9]{1,9})?)(s|ms|us)?")
CHANGES = re.compile(
    r"-(?:sseof|stream_loop|loop|itsscale|itsoffset|copyts|shortest|fs|r|lavfi|isync|(?:filter|frames|vf|af|vframes|aframes)\b.*)"
    r"|-filter_.*"
)
"""Options that may make the output longer or shorter than the input."""
OVER = 1.05
"""How much more than the input the output may take, and still be at its end."""


class FfmpegProbe:
    """How far one ffmpeg is."""

    def __init__(self, target: Target) -> None:
        self._argv = target.process.argv()
        self._activity = Activity(target.tree)
        self._said = 0
        self._written: int | None = None
        """Microseconds."""
        self._total: int | None = None

    def feed(self, stream: int, record: bytes) -> None:
        """One record: of its progress, or of its standard error."""
        text = record[:LONGEST].rstrip()
        if stream == STATUS:
            self._said += len(record)
            if found := OUT_TIME.fullmatch(text):
                self._written = max(int(found[1]), self._written or 0)
        elif stream == 2 and self._total is None and self._written is None and (found := DURATION.fullmatch(text)):
            self._total = length(self._argv, seconds(found[1].decode()) or 0)

    def sample(self) -> Sample | None:
        """The time that is written; None before it says any."""
        if self._written is None:
            return None
        current, total = self._written, self._total
        if total is not None and current > total:
            current, total = (total, total) if current <= total * OVER else (current, None)
        activity = self._said + self._activity.look()
        return Sample(current, total, Unit.PARTS, "", "ffmpeg", Bound.ESTIMATE, activity)

    def close(self) -> None:
        """Nothing is held."""


def length(argv: Sequence[str], duration: float) -> int | None:
    """Microseconds that the output will be long, if its input is so many seconds; None where the words do not tell."""
    if argv.count("-i") != 1 or any(CHANGES.fullmatch(word) for word in argv[1:]):
        return None
    at = argv.index("-i")
    for words in (argv[1:at], argv[at + 2 :]):
        given = {word: seconds(after) for word, after in pairwise(words) if word in ("-ss", "-t", "-to")}
        if None in given.values():
            return None
        start = given.get("-ss") or 0
        duration -= start
        if (wanted := given.get("-t")) is not None:
            duration = min(duration, wanted)
        elif (end := given.get("-to")) is not None:
            duration = min(duration, end - start)
    return int(duration * SECOND) if duration > 0 else None


def seconds(text: str) -> float | None:
    """A time as ffmpeg writes or reads one; None for what is none."""
    found = TIME.fullmatch(text)
    if found is None:
        return None
    hours, minutes, rest, unit = found.groups()
    if unit and minutes:
        return None
    return (int(hours or 0) * 60 + int(minutes or 0)) * 60 + float(rest) / {"ms": 1e3, "us": 1e6}.get(unit, 1)
