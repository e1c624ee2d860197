"""Takes every job's samples when they are due.

All probes that are due are looked at in one sweep, in one worker thread: one hop a sweep, whatever their number. A probe is
somebody's code on somebody's /proc and file systems, so the thread is never trusted to come back. A probe that raises is
dropped, once and with a line in the log. One that does not return within two seconds is dropped with the thread that it
hangs in, which nobody joins; another thread takes on the rest of the sweep. Whoever entered the probe is told, and may
enter the next best.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

import trio

from pollprog.probes import Hears, Surveys
from pollprog.status import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pollprog.probes import Probe

__all__ = ["Entry", "Sampler"]

log = logging.getLogger("pollprog")

PATIENCE = 2.0
"""Seconds within which one look has to return."""
HEARD = 256
"""Records that wait for a probe; of more, the oldest are let go."""


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
        self.heard: deque[tuple[int, bytes]] = deque(maxlen=HEARD)
        """What the command printed since the last look, as (stream, record); any thread may append."""
        self.removed = False
        self.surveying = False

    def look(self) -> Sample | None:
        """Tell the probe what was heard, then take a sample. In the worker thread, never twice at once."""
        if isinstance(self.probe, Hears):
            while self.heard:
                self.probe.feed(*self.heard.popleft())
        sample = self.probe.sample()
        if sample is not None and not isinstance(sample, Sample):
            raise TypeError(f"sample() returned {type(sample).__name__}, not a Sample")
        if isinstance(self.probe, Surveys) and not self.surveying:
            walk = self.probe.survey()
            if walk is not None:
                self.surveying = True
                threading.Thread(target=self._survey, args=(walk,), name="pollprog survey", daemon=True).start()
        return sample

    def _survey(self, walk: Iterator[int]) -> None:
        try:
            for _ in walk:
                if self.removed:
                    return
        except Exception:
            log.exception("the survey for %s failed; its total stays unknown", type(self.probe).__name__)
            return  # and is not tried again
        self.surveying = False


class Sweep:
    """One pass over the probes that are due, in a thread that may be left behind."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._pending = deque(entries)
        self._lock = threading.Lock()
        self._abandoned = False
        self.results: list[tuple[Entry, Sample | Exception | None]] = []
        self.at: Entry | None = None
        self.since = time.monotonic()

    def run(self) -> None:
        """Look at each in turn. Runs in the worker thread."""
        while (entry := self._next()) is not None:
            result: Sample | Exception | None
            try:
                result = entry.look()
            except Exception as error:  # noqa: BLE001 # a plugin may raise anything; its job goes on
                result = error
            with self._lock:
                if self._abandoned:
                    return
                self.results.append((entry, result))

    def _next(self) -> Entry | None:
        with self._lock:
            if self._abandoned or not self._pending:
                return None
            self.at, self.since = self._pending.popleft(), time.monotonic()
            return self.at

    def abandon(self) -> tuple[Entry | None, list[Entry]]:
        """Leave the thread behind: the entry that it hangs in, and those that it had still to look at."""
        with self._lock:
            self._abandoned = True
            back = any(entry is self.at for entry, _ in self.results)  # it came back at the last moment
            return None if back else self.at, list(self._pending)


class Sampler:
    """The one sampler of a process. Start `run` in a nursery, then `add` probes, both in the trio thread."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Entry]] = []
        self._order = itertools.count()
        self._added = trio.Event()

    def add(
        self,
        probe: Probe,
        report: Callable[[Sample], None],
        *,
        lost: Callable[[str], None] = lambda _: None,
        interval: float = 1.0,
    ) -> Entry:
        """Look at `probe` now, and then every `interval` seconds."""
        entry = Entry(probe, report, lost, interval)
        self._enter(trio.current_time(), entry)
        self._added.set()
        return entry

    def remove(self, entry: Entry) -> None:
        """Look at it no more."""
        entry.removed = True

    def _enter(self, due: float, entry: Entry) -> None:
        heapq.heappush(self._due, (due, next(self._order), entry))

    async def run(self) -> None:
        """Sweep, until cancelled."""
        while True:
            self._added = trio.Event()
            due = self._take_due()
            if due:
                await self._sweep(due)
                now = trio.current_time()
                for entry in due:
                    if not entry.removed:
                        self._enter(now + entry.interval, entry)
            else:
                with trio.move_on_at(self._due[0][0] if self._due else float("inf")):
                    await self._added.wait()

    def _take_due(self) -> list[Entry]:
        now = trio.current_time()
        due = []
        while self._due and self._due[0][0] <= now:
            entry = heapq.heappop(self._due)[2]
            if not entry.removed:
                due.append(entry)
        return due

    async def _sweep(self, entries: list[Entry]) -> None:
        while entries:
            sweep = Sweep(entries)
            hung, entries = await self._run_in_thread(sweep)
            for entry, result in sweep.results:
                if entry.removed:
                    continue
                if isinstance(result, Exception):
                    self._drop(entry, f"{type(result).__name__}: {result}", error=result)
                elif result is not None:
                    entry.report(result)
            if hung is not None and not hung.removed:
                self._drop(hung, f"it did not return within {PATIENCE:.0f} seconds")

    async def _run_in_thread(self, sweep: Sweep) -> tuple[Entry | None, list[Entry]]:
        """Run the sweep; if it hangs, the entry in which it does, and those that are left."""
        done = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def deliver(_: object) -> None:
            try:
                token.run_sync_soon(done.set)
            except trio.RunFinishedError:
                pass

        trio.lowlevel.start_thread_soon(sweep.run, deliver)
        while True:
            with trio.move_on_after(max(0.01, sweep.since + PATIENCE - time.monotonic())):
                await done.wait()
                return None, []
            if time.monotonic() - sweep.since >= PATIENCE:
                return sweep.abandon()

    def _drop(self, entry: Entry, reason: str, *, error: Exception | None = None) -> None:
        entry.removed = True
        log.warning("the probe %s is dropped: %s", type(entry.probe).__name__, reason, exc_info=error)
        entry.lost(reason)
