"""Takes every job's samples when they are due.

All probes that are due are looked at in one sweep, in one worker thread: one hop a sweep, whatever their number. A probe is
somebody's code on somebody's /proc and file systems, so the thread is never trusted to come back. A probe that raises is
dropped, once and with a line in the log. One that does not return within two seconds is dropped with the thread that it
hangs in, which nobody joins; the rest of the sweep is looked at by a thread each, so that several that hang hold up the
others no longer than one. So is each at first, when most of those hang that ever do. Whoever entered the probe is told, and
may enter the next best.

Only one thread at a time has to do with a probe, but for its survey, which runs beside. The sampler closes each probe that
it was given, once: in the next sweep after it was removed or dropped, when `run` ends, or, if it hangs, in the thread that
it hangs in, as soon as that comes back. So whatever a probe holds open has one who gives it back.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING

import trio

from pollprog.backlog import Backlog
from pollprog.probes import Hears, Surveys
from pollprog.probes.trust import check, close

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pollprog.probes import Probe
    from pollprog.status import Sample

__all__ = ["Entry", "Sampler"]

log = logging.getLogger("pollprog")

PATIENCE = 2.0
"""Seconds within which one look has to return."""
SLICES = 4
"""Parts in which they are counted. Time in which we were stopped ourselves is one part at most, however long it was."""


class Entry:
    """One probe that is looked at every `interval` seconds, until it is removed or dropped."""

    def __init__(
        self, probe: Probe, report: Callable[[Sample], None], lost: Callable[[str], None], interval: float
    ) -> None:
        self.probe = probe
        self.report = report
        """Gets each sample, in the trio thread."""
        self.lost = lost
        """Called once, in the trio thread, with the reason, if the probe is dropped."""
        self.interval = interval
        self.heard = Backlog()
        """What the command printed since the last look; any thread may add to it."""
        self.removed = False
        self._hearing = probe if isinstance(probe, Hears) else None
        self._surveying = probe if isinstance(probe, Surveys) else None
        self._walking = False
        self._closed = threading.Lock()

    @property
    def name(self) -> str:
        """Who that is, for the log: a probe may have a `name` that says so."""
        name = getattr(self.probe, "name", "")
        return name if isinstance(name, str) and name else type(self.probe).__name__

    def look(self) -> Sample | None:
        """Tell the probe what was heard, then take a sample. In the worker thread, never twice at once."""
        if self._hearing is not None:
            for stream, record in self.heard.take():
                self._hearing.feed(stream, record)
        if self.removed:
            return None
        sample = check(self.probe.sample())
        if self._surveying is not None and not self._walking and not self.removed:
            walk = self._surveying.survey()
            if walk is not None:
                self._walking = True
                threading.Thread(target=self._survey, args=(walk,), name="pollprog survey", daemon=True).start()
        return sample

    def _survey(self, walk: Iterator[int]) -> None:
        try:
            for _ in walk:
                if self.removed:
                    return
        except BaseException:  # a plugin may raise anything, SystemExit too
            log.exception("the survey for %s failed; its total stays unknown", self.name)
            return  # and is not tried again
        self._walking = False

    def close(self) -> None:
        """Close the probe; the second time does nothing."""
        if self._closed.acquire(blocking=False):
            close(self.probe)


class Sweep:
    """One pass over probes that are due, in a thread that may be left behind."""

    def __init__(self, due: Iterable[Entry], leaving: Iterable[Entry]) -> None:
        self.due = deque(due)
        """Those that are still to be looked at."""
        self.leaving = deque(leaving)
        """Those that are still to be closed."""
        self.results: list[tuple[Entry, Sample | BaseException | None]] = []
        self.at: Entry | None = None
        self.steps = 0
        self._lock = threading.Lock()
        self._abandoned = False

    def run(self) -> None:
        """Look at each in turn, then close what leaves. Runs in the worker thread."""
        while (entry := self._next(self.due)) is not None:
            result: Sample | BaseException | None
            try:
                result = entry.look()
            except BaseException as error:  # noqa: BLE001 # a plugin may raise anything, SystemExit too; its job goes on
                result = error
            with self._lock:
                if not self._abandoned:
                    self.results.append((entry, result))
                    self.at = None
                    continue
            entry.close()  # it was given up: nobody else does
        while (entry := self._next(self.leaving)) is not None:
            entry.close()

    def _next(self, entries: deque[Entry]) -> Entry | None:
        with self._lock:
            self.at = None if self._abandoned or not entries else entries.popleft()
            self.steps += 1
            return self.at

    def abandon(self) -> Entry | None:
        """Leave the thread behind. The entry that it is at; from now on it touches no other."""
        with self._lock:
            self._abandoned = True
            return self.at


class Sampler:
    """The one sampler of a process. Start `run` in a nursery, then `add` probes, both in the trio thread."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Entry]] = []
        self._order = itertools.count()
        self._entries: set[Entry] = set()
        """Every one that we have yet to close."""
        self._leaving: list[Entry] = []
        self._apart: set[Entry] = set()
        """Those that a thread each looks at: for the first time, or since somebody else hung before their turn came."""
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
            self._begin_apart(entry)
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
                        for entry in await self._sweep(due, leaving):
                            self._begin_apart(entry)
                        self._enter_again(due)
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

    def _begin_apart(self, entry: Entry) -> None:
        assert self._nursery is not None
        self._apart.add(entry)
        self._nursery.start_soon(self._look_apart, entry)

    async def _look_apart(self, entry: Entry) -> None:
        await self._sweep((entry,), ())
        self._apart.discard(entry)
        self._enter_again((entry,))
        self._called.set()

    async def _sweep(self, due: Iterable[Entry], leaving: Iterable[Entry]) -> list[Entry]:
        """Look at each, and close what leaves, until a look hangs; those that are still to be looked at then."""
        left: list[Entry] = []
        while due or leaving:
            sweep = Sweep(due, leaving)
            try:
                await self._until_done_or_hung(sweep)
            finally:
                hung = sweep.abandon()
                if hung is not None:
                    self._entries.discard(hung)  # its own thread closes it, if it ever comes back
            self._entries.difference_update(set(leaving) - set(sweep.leaving))
            left.extend(sweep.due)
            due, leaving = (), sweep.leaving
            for entry, result in sweep.results:
                if entry.removed:
                    continue
                if isinstance(result, BaseException):
                    self._drop(entry, f"{type(result).__name__}: {result}", error=result)
                elif result is not None:
                    entry.report(result)
            if hung is not None:
                self._drop(hung, f"it did not return within {PATIENCE:g} seconds")
        return left

    async def _until_done_or_hung(self, sweep: Sweep) -> None:
        """Run the sweep in a thread until it is through, or has been at one probe for too long."""
        done = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def deliver(_: object) -> None:
            try:
                token.run_sync_soon(done.set)
            except trio.RunFinishedError:
                pass

        trio.lowlevel.start_thread_soon(sweep.run, deliver)
        step, slices = 0, 0
        while slices < SLICES:
            with trio.move_on_after(PATIENCE / SLICES):
                await done.wait()
                return
            slices = slices + 1 if sweep.steps == step else 0
            step = sweep.steps

    def _drop(self, entry: Entry, reason: str, *, error: BaseException | None = None) -> None:
        if not entry.removed:
            self.remove(entry)
            log.warning("the probe %s is dropped: %s", entry.name, reason, exc_info=error)
            entry.lost(reason)
