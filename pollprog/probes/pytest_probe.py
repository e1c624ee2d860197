"""How far a pytest is: by the percentages that it prints, and by the letters of a line that is not full yet."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from pollprog.probes.logged import Followed, Logged
from pollprog.probes.procio import Activity
from pollprog.probes.records import Records, Rule
from pollprog.status import Bound, Sample, Unit

if TYPE_CHECKING:
    from pollprog.probes import Target
    from pollprog.probes.pytest_tally import Tally
    from pollprog.process import OpenFile

__all__ = ["PytestLogged", "PytestProbe"]

SHARE = rb"\[(?P<percent>  [0-9]| [1-9][0-9]|100)%\]"
COUNT = rb"\[ *+(?P<current>[0-9]{1,9})/(?P<total>[0-9]{1,9})\]"
LINES = (
    rb"(?:\S.{0,500} )?[.,FEsxXR]+ *",
    rb"\S.{0,800}(?:PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS|RERUN)(?: \([^)]{0,200}+\))?+ *+",
)
"""What stands before: dots, behind a file if there is one; a test and how it went."""


class PytestProbe:
    """How far one pytest is. `tally`: counts what is heard; None where only what goes into a file can be read."""

    def __init__(self, target: Target, tally: Tally | None) -> None:
        rules = [Rule(line + SHARE) for line in LINES] + [Rule(line + COUNT, Unit.ITEMS) for line in LINES]
        rules += [Rule(rb"\[gw[0-9]+\] " + SHARE + rb" [A-Z]+ \S.*")]
        self._records = Records(target, rules, source="pytest", streams=(1,), bound=Bound.LOWER)
        self._activity = Activity(target.tree)
        self._tally = tally
        self._done = 0

    def feed(self, stream: int, record: bytes) -> None:
        """One record of what it prints."""
        self._records.feed(stream, record)

    def sample(self) -> Sample | None:
        """What it has told of its tests; of one that is not heard, None before it prints any percentage."""
        said = self._records.sample()
        if self._tally is None or (said is not None and not self._tally.total):
            return said
        total = self._tally.total or None
        by_line = 0 if said is None or not said.total or not total else -(-said.current * total // said.total)
        self._done = max(self._done, self._tally.done, by_line)
        if said is None:  # what it reads until it has collected them tells nothing of its tests
            return Sample(self._done, total, Unit.ITEMS, "", "pytest", Bound.LOWER, self._activity.look())
        return replace(said, current=self._done, total=total, unit=Unit.ITEMS)

    def close(self) -> None:
        """Nothing is held."""


class PytestLogged(Logged):
    """Reads the file into which it prints. While a test runs that is another descriptor: its standard output is what it captures."""

    def _files(self) -> list[tuple[int, OpenFile]]:
        """The log, as standard output; nothing of what is captured, which is open for reading, too."""
        if not self._streams:
            return []
        found = {file.key: (stream, file) for stream, file in super()._files() if only_writes(file)}
        if not found:
            aside = [file for file in self._process.files() if file.fd > 2 and file.inode and only_writes(file)]
            if aside:
                log = min(aside, key=lambda file: file.fd)  # before it opens anything else
                self._followed.setdefault(log.key, Followed(log.size))
                found[log.key] = 1, log
        return list(found.values())


def only_writes(file: OpenFile) -> bool:
    """Whether it is open for writing alone, as the shell opens a log."""
    return file.flags & os.O_ACCMODE == os.O_WRONLY
