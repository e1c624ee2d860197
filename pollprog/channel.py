"""One job's status: one slot, many writers, many readers.

A writer puts the newest sample into the slot and goes on; there is no queue. Each reader asks for the next status after the
one it has, and is told when there is something newer and its own interval is over. So a slow reader skips what it missed,
and a job that reports a million times a second costs a reader nothing.

The rules, each of them tested by name:

1. Writers never wait.
2. No status in the first second of the work; then at most one an interval for each reader. A change of state and the
   outcome are not statuses: they are told at once.
3. The newest sample is always told in the end, and nothing follows the outcome. If the work succeeded, it ends with
   ``current == total``, else with the last that was true.
4. ``0 <= current <= total``. `current` does not fall within a phase, nor does the fraction when a source takes over that says
   less: it holds until the new source has passed it, for ten seconds at most; then a new phase begins.
5. Nobody's ratio reaches 1 before the work has ended: until then `current` stays below `total`, and says `finishing`.
6. No total is None, not 0 %. The work moves if `current` or the activity does, and stalls where neither does.
7. The clock is monotonic, starts with the work, and stands while the work is stopped.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from pollprog.estimator import Estimator
from pollprog.status import Bound, Outcome, Sample, State, Status, Unit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Channel", "Clock"]

FIRST = 1.0
"""Seconds of work before the first status."""
SHORTEST_INTERVAL = 0.1
HOLD = 10.0
"""Seconds for which a fraction waits for a source that says less."""


class Clock:
    """Seconds since the work began, without the time in which it was stopped."""

    __slots__ = ("_now", "_origin", "_paused")

    def __init__(self, now: Callable[[], float] = time.monotonic, *, started: float | None = None) -> None:
        self._now = now
        self._origin = now() if started is None else started
        self._paused: float | None = None

    def __call__(self) -> float:
        """The time of the job."""
        return max(0.0, (self._now() if self._paused is None else self._paused) - self._origin)

    def pause(self, *, since: float = 0.0) -> None:
        """Stand still; `since`: as if this had been said so many seconds ago."""
        if self._paused is None:
            self._paused = max(self._origin, self._now() - since)

    def go_on(self) -> None:
        """Run again."""
        if self._paused is not None:
            self._origin += self._now() - self._paused
            self._paused = None


class Channel:
    """The status of one job.

    `report`, `change`, `finish` and `latest` may be called from any thread; `next` is awaited, in the thread of the trio run
    in which the channel was made.
    """

    def __init__(self, job: str, *, clock: Clock | None = None) -> None:
        self.job = job
        self.clock = clock or Clock()
        self._lock = threading.Lock()
        self._token = trio.lowlevel.current_trio_token()
        self._readers = trio.lowlevel.ParkingLot()
        self._estimator = Estimator()
        self._sample: Sample | None = None
        self._taken = 0.0
        self._moved = 0.0
        self._moving = False
        self._finishing = False
        self._held_since: float | None = None
        self._phases = 0
        self._state = State.RUNNING
        self._outcome: Outcome | None = None
        self._seq = 0
        self._changed = 0
        """The sequence number of the newest change of state; a reader that has not seen it is told at once."""

    # -- writers

    def report(self, sample: Sample) -> None:
        """Put the newest sample into the slot."""
        with self._lock:
            if self._outcome is not None:
                return
            self._take(self._bounded(sample))
            self._seq += 1
        self._wake()

    def change(self, state: State) -> None:
        """Tell everybody at once that the job has been paused, goes on, or is being cancelled."""
        with self._lock:
            if self._outcome is not None or state is self._state:
                return
            if state is State.PAUSED:
                self.clock.pause()
            else:
                self.clock.go_on()
            self._state = state
            self._seq += 1
            self._changed = self._seq
        self._wake()

    def finish(self, outcome: Outcome) -> None:
        """Tell how it ended; the first to say so is right, and nothing follows."""
        with self._lock:
            if self._outcome is not None:
                return
            self.clock.go_on()
            self.clock.pause()
            self._outcome, self._state = outcome, outcome.state
            self._seq += 1
            self._changed = self._seq
        self._wake()

    def _wake(self) -> None:
        try:
            self._token.run_sync_soon(self._readers.unpark_all, idempotent=True)
        except trio.RunFinishedError:
            pass  # nobody is left to be told

    # -- what a sample becomes

    def _bounded(self, sample: Sample) -> Sample:
        """The sample within the rules: never negative, never beyond the total, never a total of nothing."""
        total = sample.total if sample.total is not None and sample.total > 0 else None
        current = max(0, sample.current)
        self._finishing = total is not None and current >= total
        if total is not None:
            current = min(current, total - 1)
        return replace(sample, current=current, total=total)

    def _take(self, new: Sample) -> None:
        now = self.clock()
        old = self._sample
        self._moving = old is None or new.current != old.current or new.activity != old.activity
        if old is not None and new.phase == old.phase:
            if says_less(new, old):
                self._held_since = now if self._held_since is None else self._held_since
                if now - self._held_since < HOLD:
                    new = holding(new, old)
                else:
                    self._phases += 1
                    new = replace(new, phase=new.phase or new.source)
                    self._begin_phase()
            else:
                self._held_since = None
            if old.unit is not new.unit or (old.source != new.source and old.total != new.total):
                self._begin_phase()  # another scale: what was learned of the rate does not hold for it
        elif old is not None:
            self._begin_phase()
        if self._moving:
            self._moved = now
        self._sample, self._taken = new, now
        self._estimator.update(now, new.current, new.total)

    def _begin_phase(self) -> None:
        self._estimator = Estimator()
        self._held_since = None

    # -- readers

    def latest(self) -> Status:
        """The status as it is at this moment, whatever any reader's interval."""
        with self._lock:
            return self._status()

    async def next(self, after: int, *, interval: float = 1.0, last: float | None = None) -> Status:
        """Wait for a status newer than the one numbered `after`, no sooner than `interval` seconds after `last`.

        `last` is when the reader got that one, on the clock of trio (None: it has had none). The outcome, and a change of
        state, are told at once. After the outcome there is nothing to wait for: it is told again.
        """
        interval = max(SHORTEST_INTERVAL, interval)
        while True:
            with self._lock:
                if self._outcome is not None or self._changed > after:
                    return self._status()
                wait = FIRST - self.clock() if last is None else last + interval - trio.current_time()
                news = self._seq > after and self._sample is not None
                if news and wait <= 0:
                    return self._status()
            with trio.move_on_after(max(0.0, wait) if news else float("inf")):
                await self._readers.park()

    def _status(self) -> Status:
        now = self.clock()
        sample = self._sample
        outcome = self._outcome
        idle = max(0.0, now - self._moved)
        if sample is None:
            sample, age = Sample(0), 0.0
            current = None
        else:
            current, age = sample.current, max(0.0, now - self._taken)
        if outcome is not None and outcome.state is State.SUCCEEDED and sample.total is not None:
            current = sample.total
        fraction = None if sample.total is None or current is None else current / sample.total
        over = outcome is not None
        patience = self._estimator.patience()
        stalled = not over and self._state is State.RUNNING and idle > patience
        low, high = (None if over else self._estimator.interval()) or (None, None)
        return Status(
            job=self.job,
            seq=self._seq,
            state=self._state,
            current=current,
            total=sample.total,
            unit=sample.unit if current is not None else Unit.BYTES,
            phase=sample.phase,
            fraction=fraction,
            rate=None if over or self._finishing else self._estimator.rate(),
            remaining=None if over or stalled or self._finishing else self._estimator.remaining(),
            low=None if stalled or self._finishing else low,
            high=None if stalled or self._finishing else high,
            elapsed=now,
            age=age,
            idle=idle,
            moving=self._moving and not over,
            stalled=stalled,
            finishing=self._finishing and not over,
            source=sample.source,
            bound=sample.bound if current is not None else Bound.EXACT,
            outcome=outcome,
        )


def says_less(new: Sample, old: Sample) -> bool:
    """Whether a reader would see the bar fall."""
    if new.unit is not old.unit:
        return False
    if new.total is None or old.total is None:
        return new.total is old.total and new.current < old.current
    if new.total == old.total:
        return new.current < old.current
    return new.current * old.total < old.current * new.total and (new.current < old.current or new.source != old.source)


def holding(new: Sample, old: Sample) -> Sample:
    """The new sample, with as much done as the old one said."""
    if new.total is None or old.total is None:
        return replace(new, current=old.current)
    return replace(new, current=min(new.total - 1, -(-old.current * new.total // old.total)))
