"""One job's status, told to many watchers by one task.

A reader of the channel that is a task of its own is simple, and dear by the thousand: each status wakes a task, which makes
a status, which is encoded. Here nobody waits but the fan. It keeps a time for each watcher, offers what is due to those who
are due, and waits until the next are, or for news.

* A watcher is in one of two places. Where it has not got the newest status, it waits for its time, in a heap. Where it has,
  it waits for no time, but for the next sample: a job of which nothing is heard costs nothing.
* When a watcher is told is for the channel to say (`Channel.wait`), so that the rules are the same for all readers.
* Who is due is told in one pass. Passes that nothing but the time calls for are `SLACK` apart at least, so a watcher is told
  up to that much late, and never early. A change of state and the outcome wait for no pass.
* A status is made and encoded once for all who are told it, in this pass or in one soon after.
* A sink takes a frame at once or not at all. Who refuses is asked again an interval later, with what is the newest then. So
  one that never reads costs one refusal an interval, and is in nobody's way.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
from typing import TYPE_CHECKING, Protocol

import trio

from pollprog.channel import SHORTEST_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pollprog.channel import Channel
    from pollprog.status import Status

__all__ = ["Fan", "Sink", "Watcher"]

log = logging.getLogger("pollprog")

SLACK = 0.01
"""Seconds between passes: whoever comes due in between goes with the next."""
FRESH = 0.05
"""Seconds for which an encoded status is told again, if nothing was reported meanwhile: its times are as old."""


class Sink(Protocol):
    """Where a watcher's statuses go."""

    def offer(self, frame: bytes) -> bool:
        """Take all of it now, and say True, or nothing, and say False. Never waits."""


class Watcher:
    """One who is told, as `Fan.add` returned it. Its `told` may be read; the rest is for its fan."""

    __slots__ = ("heard", "interval", "last", "sink", "told")

    def __init__(self, sink: Sink, interval: float, told: int) -> None:
        self.sink = sink
        self.interval = interval
        self.told = told
        """The number of the newest status that it has: that its sink took, or that it came with; 0 if there is none."""
        self.heard = told > 0
        """Whether it has any; the very first may have number 0."""
        self.last: float | None = None
        """When its sink was offered one, on the clock of trio."""


class Fan:
    """Tells one job's status to any number of watchers; everything in the trio thread.

    `encode` makes what the sinks are offered out of a status. Where it raises, or a sink does, the watchers whom it fails
    are dropped, with a line in the log, and the others go on.

    What a watcher can rely on: the rules of the channel; that each frame is the newest there was, or at most `FRESH` seconds
    old; and that the outcome is offered, once, if it was told anything before. What it cannot rely on is that its sink takes
    the outcome, for nothing is offered again after that. Whoever owns the sink looks at `told` when `run` has returned, sends
    what has to be sent in any case (the reply), and waits for that as long as it likes.
    """

    def __init__(self, channel: Channel, encode: Callable[[Status], bytes]) -> None:
        self._channel = channel
        self._encode = encode
        self._watchers: set[Watcher] = set()
        self._heap: list[tuple[float, int, Watcher]] = []
        """When each is due that has not got the newest; some of it may be out of date, which costs no more than a look."""
        self._order = itertools.count()
        self._expecting: set[Watcher] = set()
        """Those for whom a newer sample is worth a look: they have the newest, or an old one and have just come due."""
        self._seq = self._changed = 0
        """The newest status, and change of state, at the last pass."""
        self._passed = -math.inf
        """When that was."""
        self._made: tuple[float, Status, bytes] | None = None
        self._over = False
        self._nap = trio.CancelScope()

    def add(self, sink: Sink, *, interval: float = 1.0, after: int = 0, at_once: bool = False) -> Watcher:
        """Tell this one too, from the next status on that is newer than the one numbered `after`, which it has.

        At most one in `interval` seconds (0.1 at least), and the first when the channel's first seconds are over; `at_once`:
        the latest right now, whatever it is. After the outcome nobody is told, except at once.
        """
        watcher = Watcher(sink, max(SHORTEST_INTERVAL, interval), min(max(0, after), self._channel.seq))
        self._watchers.add(watcher)
        if at_once:
            self._tell([watcher], trio.current_time(), at_once=True)
        else:
            self._push(watcher, trio.current_time())
        self._nap.deadline = min(self._nap.deadline, self._passed + SLACK)
        return watcher

    def remove(self, watcher: Watcher) -> None:
        """Tell this one nothing more, from this moment; the second time does nothing."""
        self._watchers.discard(watcher)
        self._expecting.discard(watcher)
        if len(self._heap) > 2 * len(self._watchers) + 100:  # mostly of those who went, with intervals still to run
            self._heap = [entry for entry in self._heap if entry[2] in self._watchers]
            heapq.heapify(self._heap)

    async def run(self) -> None:
        """Tell them all, until the outcome has been offered. Cancelled, it offers nothing more."""
        while True:
            self._pass()
            if self._over:
                return
            due = max(self._heap[0][0], self._passed + SLACK) if self._heap else math.inf
            with trio.CancelScope(deadline=due) as self._nap:
                await self._channel.newer(self._seq if self._expecting else None)

    def _pass(self) -> None:
        """Tell everyone who is due at this moment, and find a place for everyone who was looked at and is not."""
        channel, now = self._channel, trio.current_time()
        due = []
        for watcher in self._candidates(now):
            wait, newer = channel.wait(watcher.told, watcher.interval, watcher.last)
            if wait <= 0:
                due.append(watcher)
                continue
            if newer:
                self._expecting.add(watcher)
            if wait < math.inf:
                self._push(watcher, now + wait)
        self._passed = now
        if due:
            self._tell(due, now)

    def _candidates(self, now: float) -> Iterable[Watcher]:
        """Those whose wait may be over, taken out of their places."""
        seq, changed = self._channel.seq, self._channel.changed
        if changed > self._changed:
            self._seq, self._changed = seq, changed
            self._over = self._channel.latest().outcome is not None
            self._heap.clear()
            self._expecting.clear()
            return list(self._watchers)
        found: set[Watcher] = set()
        if seq > self._seq:
            self._seq, found, self._expecting = seq, self._expecting, found
        while self._heap and self._heap[0][0] <= now:
            watcher = heapq.heappop(self._heap)[2]
            if watcher in self._watchers:
                self._expecting.discard(watcher)
                found.add(watcher)
        return found

    def _push(self, watcher: Watcher, due: float) -> None:
        heapq.heappush(self._heap, (due, next(self._order), watcher))

    def _tell(self, due: Iterable[Watcher], now: float, *, at_once: bool = False) -> None:
        """Offer them the newest."""
        try:
            status, frame = self._newest(now)
        except Exception:
            log.exception(
                "a status of %s cannot be encoded; those to whom it was due are told no more", self._channel.job
            )
            for watcher in due:
                self.remove(watcher)
            return
        for watcher in due:
            if watcher not in self._watchers:  # removed by the sink of another
                continue
            if status.outcome is not None and not at_once and (not watcher.heard or watcher.told >= status.seq):
                continue  # the reply says it all
            watcher.last = now
            try:
                taken = watcher.sink.offer(frame)
            except Exception:
                log.exception("a watcher of %s failed; it is told no more", self._channel.job)
                self.remove(watcher)
                continue
            if taken:
                watcher.told, watcher.heard = status.seq, True
            if watcher not in self._watchers:
                continue
            if taken:
                self._expecting.add(watcher)
            else:
                self._push(watcher, now + watcher.interval)

    def _newest(self, now: float) -> tuple[Status, bytes]:
        """The latest status, and the same encoded."""
        if self._made is None or self._made[1].seq != self._channel.seq or now - self._made[0] > FRESH:
            status = self._channel.latest()
            self._made = now, status, self._encode(status)
        return self._made[1:]
