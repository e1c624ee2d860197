"""The newest sample of a job, and what of it is told: the rules of the channel that are about numbers.

A sample is a stranger's word, and two of them need not agree. What readers are told does: see rules 4 to 6 in
`pollprog.channel`. The rules bind to what somebody was told, and not to what was only reported: a thousand samples between
two statuses leave no trace but in the rate.

* `take` puts a sample in the place of the one before, and learns from it how fast the work goes, and when it moved.
* `tell` holds the newest sample against what was told last, and decides: it is told as it is; or what was told stands for a
  while; or a new phase begins, under a name that the last one did not have.

Time is an argument: the job's own, in seconds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pollprog.estimator import Estimator
from pollprog.phases import is_weighted, part

if TYPE_CHECKING:
    from pollprog.status import Sample

__all__ = ["HOLD", "MOST", "Slot"]

HOLD = 10.0
"""Seconds for which what was told stands against a sample that says less."""
LEARNED = 0.1
"""Share of work in several steps that has to be done before a time is told: until then all is a guess at their weights."""
MOST = 2**63 - 1
"""The largest count that everybody who is told can hold."""


class Slot:
    """The newest sample, and what is told of it. Every `now` is the job's own time, in seconds."""

    __slots__ = (
        "_estimator", "_held_since", "_newest", "_peak", "_phase", "_phases", "_source_phase", "_told", "_turned", "finishing",
        "moved", "moving", "taken",
    )  # fmt: skip

    def __init__(self) -> None:
        self.taken = self.moved = 0.0
        """When the newest sample was taken, and when `current` or the activity last moved."""
        self.moving = self.finishing = False
        self._newest: Sample | None = None
        self._told: Sample | None = None
        self._turned = False
        """The source has begun another phase, or another unit, since anybody was told."""
        self._phase = self._source_phase = ""
        """The phase that is told, and the one that the source said when that began."""
        self._phases = 1
        self._held_since: float | None = None
        self._peak = 0
        self._estimator = Estimator()

    def take(self, sample: Sample, now: float) -> None:
        """Put a newer sample in the place of the one before."""
        new, old = sane(sample), self._newest
        if now < self.taken:  # the work stood for a while, of which the clock has only heard now
            self.moved = min(self.moved, now)
            self._held_since = None
            self._learn_anew()
        self.moving = old is None or new.current != old.current or new.activity != old.activity
        if self.moving:
            self.moved = now
        if old is not None:
            turned = new.phase != old.phase or new.unit is not old.unit
            if turned or (new.source != old.source and (new.total != old.total or new.current < self._peak)):
                self._learn_anew()  # another scale: what was learned of the rate does not hold for it
            self._turned = self._turned or turned
        self._newest, self.taken = new, now
        self._learn(new)

    def _learn(self, sample: Sample) -> None:
        self._peak = max(self._peak, sample.current)
        self._estimator.update(self.taken, self._peak, sample.total)

    def _learn_anew(self) -> None:
        self._estimator, self._peak = Estimator(), 0

    # -- what is told

    def tell(self, now: float) -> Sample | None:
        """What readers are told at this moment, within rules 4 and 5; None before the first sample."""
        new = self._newest
        if new is None:
            return None
        finishing = new.total is not None and new.current >= new.total
        if new.total is not None and finishing:
            new = replace(new, current=new.total - 1)
        if self._told is None:
            self._phase = self._source_phase = new.phase
        elif self._turned:
            self._begin_phase(new)
        else:
            bound = self._within_phase(new, self._told, now)
            finishing = finishing if bound is new else bound is self._told and self.finishing
            new = bound
        self._turned, self.finishing = False, finishing
        self._told = new if new.phase == self._phase else replace(new, phase=self._phase)
        return self._told

    def _within_phase(self, new: Sample, told: Sample, now: float) -> Sample:
        falls, smaller = new.current < told.current, False
        if new.total is not None and told.total is not None:
            smaller = new.current * told.total < told.current * new.total
        same = new.source == told.source
        # A total that has grown under its source is told as it is: one in between would be invented.
        if not falls and (same or not smaller):
            self._held_since = None
            return new
        if not same and not smaller and told.total is not None and new.total is not None:
            self._begin_phase(new)  # as far as was told, on another scale
            return new
        if not same and told.total is None and new.total is not None and new.total <= told.current:
            self._begin_phase(new)  # more was told than there is: it was of something else
            return new
        if self._held_since is None:
            self._held_since = now
        if now - self._held_since >= HOLD:
            self._held_since = None
            self._begin_phase(new)
            return new
        if told.total is None and new.total is not None and new.total > told.current:
            return replace(told, total=new.total)
        return told

    def _begin_phase(self, new: Sample) -> None:
        """Find a name that the last one who was told has not got; what he was told does not bind the new phase."""
        self._held_since = None
        name, again = new.phase, new.phase == self._source_phase
        while again or name == self._phase:
            self._phases += 1
            name, again = part(new.phase or new.source.partition(":")[0], self._phases), False
        self._phase, self._source_phase = name, new.phase
        if self._newest is not None and self._newest.current < self._peak:
            self._learn_anew()
            self._learn(self._newest)

    def stalled(self) -> bool:
        """Whether neither `current` nor the activity had moved for too long, at the newest look."""
        return self.taken - self.moved > self._estimator.patience()

    def rate(self) -> float | None:
        """Units a second; 0 where `current` stands, None before it has moved for the first time."""
        rate = self._estimator.rate()
        return 0.0 if rate is not None and (self._estimator.stalled() or self.stalled()) else rate

    def remaining(self) -> tuple[float, float, float] | None:
        """Seconds to the end, and between how many they probably are; None where that cannot be told."""
        if self.finishing or self.stalled() or self._told is None or self._told.total is None:
            return None
        if is_weighted(self._told) and self._told.current < LEARNED * self._told.total:
            return None  # a first step that is slower than its share says nothing of those to come
        remaining, interval = self._estimator.remaining(), self._estimator.interval()
        return None if remaining is None or interval is None else (remaining, *interval)


def sane(sample: Sample) -> Sample:
    """The sample with counts that are counts: never negative, never more than anybody can hold, no total of nothing."""
    current, total = min(max(0, sample.current), MOST), sample.total
    if total is not None:
        total = min(total, MOST) if total > 0 else None
    return (
        sample if current == sample.current and total == sample.total else replace(sample, current=current, total=total)
    )
