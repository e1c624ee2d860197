"""Takes every job's samples when they are due.

All probes that are due are looked at in one sweep, in one worker thread: one hop a sweep, whatever their number. A probe that
raises is dropped, once and with a line in the log. Behind one that takes long, the rest of the sweep is looked at by a thread
each, so that it holds up nobody for longer than a moment. So is each at first, when most of those hang that ever do. One that
does not return within two seconds is dropped with the thread that it hangs in, which nobody joins. Whoever entered the probe
is told, and may enter the next best.

Only one thread at a time has to do with a probe, but for its survey, which runs beside. The sampler closes each probe that
it was given, once: in the next sweep after it was removed or dropped, when `run` ends, or, if it hangs, in the thread that
it hangs in, as soon as that comes back. So whatever a probe holds open has one who gives it back.
"""

from __future__ import annotations

import heapq
import itertools
import logging
from typing import TYPE_CHECKING

import trio

from pollprog import sweep as sweeps
from pollprog.sweep import Entry, Sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pollprog.probes import Probe
    from pollprog.status import Sample

__all__ = ["Entry", "Sampler"]

log = logging.getLogger("pollprog")


class Sampler:
    """The one sampler of a process. Start `run` in a nursery, then `add` probes, both in the trio thread."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Entry]] = []
        self._order = itertools.count()
        self._entries: set[Entry] = set()
        """Every one that we have yet to close."""
        self._leaving: list[Entry] = []
        self._apart: set[Entry] = set()
        """Those that a thread each looks at: for the first time, because somebody else takes long, or because they do."""
        self._nursery: trio.Nursery | None = None
        """Where that is done, while there is a `run`."""
        self._called = trio.Event()

    def add(
        self,
        probe: Probe,
        report: Callable[[Sample], None],
        *,
        lost: Callable[[str], None] = lambda _: None,
        interval: float = 1.0,
    ) -> Entry:
        """Look at `probe` now, and then every `interval` seconds. It is ours to close from now on."""
        entry = Entry(probe, report, lost, interval)
        self._entries.add(entry)
        if self._nursery is None:
            self._enter(trio.current_time(), entry)
        else:
            self._look_apart(entry)
        return entry

    def remove(self, entry: Entry) -> None:
        """Look at it no more: nothing of it is reported from now on, and it is closed soon."""
        entry.removed = True
        self._leaving.append(entry)
        self._called.set()

    def _enter(self, due: float, entry: Entry) -> None:
        heapq.heappush(self._due, (due, next(self._order), entry))

    def _enter_again(self, looked_at: Iterable[Entry]) -> None:
        now = trio.current_time()
        for entry in looked_at:
            if not entry.removed and entry not in self._apart:
                self._enter(now + entry.interval, entry)

    async def run(self) -> None:
        """Sweep, until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                while True:
                    self._called = trio.Event()
                    due, leaving = self._take_due(), self._take_leaving()
                    if due or leaving:
                        await self._sweep(due, leaving)
                    else:
                        with trio.move_on_at(self._due[0][0] if self._due else float("inf")):
                            await self._called.wait()
        finally:
            self._nursery = None
            trio.lowlevel.start_thread_soon(Sweep((), self._entries).run, lambda _: None)

    def _take_due(self) -> list[Entry]:
        now = trio.current_time()
        due = []
        while self._due and self._due[0][0] <= now:
            entry = heapq.heappop(self._due)[2]
            if not entry.removed:
                due.append(entry)
        return due

    def _take_leaving(self) -> list[Entry]:
        leaving = [entry for entry in self._leaving if entry in self._entries and entry not in self._apart]
        self._leaving = [entry for entry in self._leaving if entry in self._apart]
        return leaving

    def _look_apart(self, entry: Entry) -> None:
        sweep = Sweep((entry,))
        sweep.begin()
        self._leave_apart(sweep, entry, sweeps.SLICES)

    def _leave_apart(self, sweep: Sweep, entry: Entry, slices: int) -> None:
        assert self._nursery is not None
        self._apart.add(entry)
        self._nursery.start_soon(self._wait_for, sweep, entry, slices)

    async def _sweep(self, due: list[Entry], leaving: list[Entry]) -> None:
        """Look at each, and close what leaves; what waits behind one that takes long is looked at apart, and so is that."""
        sweep = Sweep(due, leaving)
        sweep.begin()
        try:
            through = await sweep.through(1)
        except BaseException:  # we are cancelled, and nobody else comes back to this sweep
            self._give_up(sweep)
            raise
        if not through:
            slow, late, open_yet = sweep.hand_over()
            if slow is not None:
                self._leave_apart(sweep, slow, sweeps.SLICES - 1)
            for entry in late:
                self._look_apart(entry)
            self._leaving += open_yet
        self._take(sweep)
        self._enter_again(due)

    async def _wait_for(self, sweep: Sweep, entry: Entry, slices: int) -> None:
        """Wait for a sweep that has this one entry left, and drop that if it hangs."""
        try:
            await sweep.through(slices)
        finally:
            hung = self._give_up(sweep)
        self._take(sweep)
        if hung is not None:
            self._drop(hung, f"it did not return within {sweeps.PATIENCE:g} seconds")
        self._apart.discard(entry)
        self._enter_again((entry,))
        self._called.set()

    def _give_up(self, sweep: Sweep) -> Entry | None:
        hung = sweep.abandon()
        if hung is not None:
            self._entries.discard(hung)  # its own thread closes it, if it ever comes back
        return hung

    def _take(self, sweep: Sweep) -> None:
        """Report what was seen, and forget what is closed."""
        self._entries.difference_update(sweep.closed)
        for entry, result in sweep.take():
            if entry.removed:
                continue
            if isinstance(result, BaseException):
                self._drop(entry, f"{type(result).__name__}: {result}", error=result)
            elif result is not None:
                entry.report(result)

    def _drop(self, entry: Entry, reason: str, *, error: BaseException | None = None) -> None:
        if not entry.removed:
            self.remove(entry)
            log.warning("the probe %s is dropped: %s", entry.name, reason, exc_info=error)
            entry.lost(reason)
