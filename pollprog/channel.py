"""One job's status: one slot, many writers, many readers.

A writer puts the newest sample into the slot and goes on; there is no queue. Each reader asks for the next status after the
one it has, and is told when there is something newer and its own interval is over. So a slow reader skips what it missed,
and a job that reports a million times a second costs a reader nothing.

The rules, each of them tested by name:

1. Writers never wait.
2. No status in the first second of the work, or what else the channel is given; then at most one an interval for each reader. A change of state and the
   outcome are not statuses: they are told at once.
3. The newest sample is always told in the end, and nothing follows the outcome. If the work succeeded and its total is
   known, it ends with ``current == total``, else with the last that was true.
4. ``0 <= current <= total``. Within a phase `current` does not fall. Where a sample says less than was told, be it of the work or,
   from another source, of the fraction, what was told stands until it is passed, for ten seconds at most; then a new phase
   begins. It begins at once if more was told, of no total, than all that another source knows of. Where one source finds more to do than it said, that is told as it is: `total` may move either way. What nobody was
   told binds nobody.
5. Nobody's ratio reaches 1 before the work has ended: until then `current` stays below `total`, and says `finishing`.
6. No total is None, not 0 %. The work moves if `current` or the activity does, and stalls where neither does: that is for a look
   to say, so what is not looked at does not stall.
7. The clock is monotonic, starts with the work, and stands while the work is stopped.

The rules about numbers are kept by `pollprog.slot`, those about who is told when by this module.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

import trio

from pollprog.slot import Slot
from pollprog.status import Outcome, Sample, State, Status

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FIRST", "SHORTEST_INTERVAL", "Channel", "Clock"]

FIRST = 1.0
"""Seconds of work before the first status, where nobody says otherwise."""
SHORTEST_INTERVAL = 0.1
INSTANT = 1e-6
"""Seconds that are not worth a wait: less would be lost in the rounding of a clock."""
ALMOST = math.nextafter(1.0, 0.0)


class Clock:
    """Seconds since the work began, without the time in which it was stopped. For any thread."""

    __slots__ = ("_lock", "_now", "_stopped", "_time")

    def __init__(self, now: Callable[[], float] = time.monotonic, *, started: float | None = None) -> None:
        self._now = now
        self._time = (0.0, now() if started is None else started, False)
        """What it showed, when that was, and whether it stands since."""
        self._stopped = False
        self._lock = threading.Lock()

    def __call__(self) -> float:
        """The time of the job."""
        with self._lock:
            shown, at, stands = self._time
            return shown if stands else shown + max(0.0, self._now() - at)

    @property
    def stands(self) -> bool:
        """Whether it is paused, or stopped."""
        return self._time[2]

    def pause(self, *, since: float = 0.0) -> None:
        """Stand still; `since`: as if this had been said so many seconds ago. Of several times, the earliest counts."""
        with self._lock:
            self._stand(self._now() - since)

    def _stand(self, when: float) -> None:
        shown, at, stands = self._time
        if not self._stopped and (when < at or not stands):
            self._time = max(0.0, shown + (when - at)), when, True

    def go_on(self) -> None:
        """Run again, however often it was paused."""
        with self._lock:
            shown, _, stands = self._time
            if stands and not self._stopped:
                self._time = shown, self._now(), False

    def stop(self) -> None:
        """Stand for good: the work has ended."""
        with self._lock:
            self._stand(self._now())
            self._stopped = True


class Channel:
    """The status of one job; `first`: so many seconds of work before the first one.

    `report`, `change`, `finish` and `latest` may be called from any thread; `next` is awaited, in the thread of the trio run
    in which the channel was made. One who tells many readers (`pollprog.fan`) asks `wait` for each of them, and awaits `newer`
    once for all.
    """

    def __init__(self, job: str, *, clock: Clock | None = None, first: float = FIRST) -> None:
        self.job = job
        self.clock = clock or Clock()
        self.first = first
        self._lock = threading.Lock()
        """Held for a few microseconds at a time, and never while anybody waits."""
        self._token = trio.lowlevel.current_trio_token()
        self._readers = trio.lowlevel.ParkingLot()
        self._wanted = False
        """A reader waits for a newer sample. Where all have one, and wait for their interval, a report wakes nobody."""
        self._slot = Slot()
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
            self._slot.take(sample, self.clock())
            self._seq += 1
            wanted, self._wanted = self._wanted, False
        if wanted:
            self._wake()

    def change(self, state: State, *, since: float = 0.0) -> None:
        """Tell everybody at once that the job has been paused (`since`: so many seconds ago), goes on, or is being cancelled.

        What is being cancelled says so to its end, though it may stand meanwhile. ValueError for an outcome.
        """
        if state.over:
            raise ValueError(f"{state} is an outcome: say it with finish()")
        with self._lock:
            if self._outcome is not None:
                return
            if state is State.PAUSED:
                self.clock.pause(since=since)
            else:
                self.clock.go_on()
            if state is self._state or self._state is State.CANCELLING:
                return
            self._state = state
            self._seq += 1
            self._changed = self._seq
        self._wake()

    def finish(self, outcome: Outcome) -> None:
        """Tell how it ended; the first to say so is right, and nothing follows. ValueError for a state that is no outcome."""
        if not outcome.state.over:
            raise ValueError(f"{outcome.state} is not an outcome: say it with change()")
        with self._lock:
            if self._outcome is not None:
                return
            self.clock.stop()
            self._outcome, self._state = outcome, outcome.state
            self._seq += 1
            self._changed = self._seq
        self._wake()

    def _wake(self) -> None:
        try:
            self._token.run_sync_soon(self._readers.unpark_all)
        except trio.RunFinishedError:
            pass  # nobody is left to be told

    # -- readers

    def latest(self) -> Status:
        """The status as it is at this moment, whatever any reader's interval."""
        with self._lock:
            return self._status()

    @property
    def seq(self) -> int:
        """The number of the newest status; 0 before there is anything to tell."""
        return self._seq

    @property
    def changed(self) -> int:
        """The number of the newest change of state, or of the outcome; 0 before the first."""
        return self._changed

    async def next(self, after: int, *, interval: float = 1.0, last: float | None = None) -> Status:
        """Wait for a status newer than the one numbered `after`, no sooner than `interval` seconds after `last`.

        `last` is when the reader got that one, on the clock of trio (None: it has had none). The outcome, and a change of
        state, are told at once. After the outcome there is nothing to wait for: it is told again.
        """
        await trio.lowlevel.checkpoint()
        interval = max(SHORTEST_INTERVAL, interval)
        while True:
            seq = self._seq
            wait, newer = self.wait(after, interval, last)
            if wait <= 0:
                return self.latest()
            with trio.move_on_after(wait):
                await self.newer(seq if newer else None)

    async def newer(self, seq: int | None) -> None:
        """Wait for a status newer than the one numbered `seq`; for None, for a change of state or the outcome alone.

        Another reader's news ends it too: look again. None is missed that came since the caller last looked, if nothing was
        awaited between.
        """
        with self._lock:
            there = seq is not None and self._seq > seq
            if seq is not None and not there:
                self._wanted = True
        if there:
            await trio.lowlevel.checkpoint()
        else:
            # Since the look nothing else has run in this thread, and others wake us through it: no wake-up is lost.
            await self._readers.park()

    def wait(self, after: int, interval: float, last: float | None) -> tuple[float, bool]:
        """For how many seconds such a reader waits yet, 0 if it is told now; and whether a newer sample ends that wait."""
        with self._lock:
            if self._outcome is not None or self._changed > after:
                return 0.0, False
            if self._seq <= after:
                return math.inf, True
            now, taken = self.clock(), self._slot.taken
        wait = self.first - now
        if wait > INSTANT and self.clock.stands:
            wait = max(wait, FIRST)  # and look again: nobody says when it goes on
        if last is not None:
            wait = max(wait, last + interval - trio.current_time())
        if wait > INSTANT:
            return wait, False
        # Half an interval old, or older: the next one cannot be far. So a reader falls in step with a sampler of its own pace.
        wait += interval / 2
        return (wait, True) if wait > INSTANT and now - taken > interval / 2 else (0.0, False)

    def _status(self) -> Status:
        now, slot, outcome = self.clock(), self._slot, self._outcome
        told = slot.tell(now)
        sample = told or Sample(0)
        current = None if told is None else told.current
        if outcome is not None and outcome.state is State.SUCCEEDED and sample.total is not None:
            current = sample.total
        fraction = None
        if current is not None and sample.total is not None:
            fraction = 1.0 if current == sample.total else min(current / sample.total, ALMOST)
        over = outcome is not None
        stalled = self._state is State.RUNNING and slot.stalled()
        remaining, low, high = (None if over else slot.remaining()) or (None, None, None)
        return Status(
            job=self.job,
            seq=self._seq,
            state=self._state,
            current=current,
            total=sample.total,
            unit=sample.unit,
            phase=sample.phase,
            fraction=fraction,
            rate=None if over or slot.finishing else slot.rate(),
            remaining=remaining,
            low=low,
            high=high,
            elapsed=now,
            age=0.0 if told is None else max(0.0, now - slot.taken),
            idle=max(0.0, now - slot.moved),
            moving=slot.moving and not over,
            stalled=stalled,
            finishing=slot.finishing and not over,
            source=sample.source,
            bound=sample.bound,
            outcome=outcome,
        )
