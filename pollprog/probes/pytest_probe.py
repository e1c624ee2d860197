"""How far a pytest is: by the percentages that it prints, and by the letters of a line that is not full yet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pollprog.probes.procio import Activity
from pollprog.probes.records import Records, Rule
from pollprog.status import Bound, Sample, Unit

if TYPE_CHECKING:
    from pollprog.probes import Target
    from pollprog.probes.pytest_tally import Tally

__all__ = ["PytestProbe"]

SHARE = rb"\[(?P<percent>  [0-9]| [1-9][0-9]|100)%\]"
COUNT = rb"\[ *(?P<current>[0-9]{1,9})/(?P<total>[0-9]{1,9})\]"
LINES = (
    rb"(?:\S.{0,500} )?[.,FEsxXR]+ *",
    rb"\S.{0,800}(?:PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS|RERUN)(?: \([^)]{0,200}\))? *",
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
        """What it has told of its tests; None before it has collected them, or before it prints any percentage."""
        said = self._records.sample()
        if self._tally is None or not (total := self._tally.total):
            return said
        by_line = 0 if said is None or not said.total else -(-said.current * total // said.total)
        self._done = max(self._done, self._tally.done, by_line)
        if said is None:
            return Sample(self._done, total, Unit.ITEMS, "", "pytest", Bound.LOWER, self._activity.look())
        return replace(said, current=self._done, total=total, unit=Unit.ITEMS)

    def close(self) -> None:
        """Nothing is held."""
