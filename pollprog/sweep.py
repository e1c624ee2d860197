"""One look at each of several probes, in a thread that is never trusted to come back.

A probe is somebody's code on somebody's /proc and file systems: it may raise, take long, or never return. Whoever waits for a
sweep can take from it what stands behind one that takes long, and leave the thread with that one alone, or for good.
"""

from __future__ import annotations

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

__all__ = ["Entry", "Sweep"]

log = logging.getLogger("pollprog")

PATIENCE = 2.0
"""Seconds within which one look has to return."""
SLICES = 8
"""Parts in which they are counted. Time in which we were stopped ourselves is one part at most, however long it was. After one
part nobody else waits for it any more."""


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

    def __init__(self, due: Iterable[Entry], leaving: Iterable[Entry] = ()) -> None:
        self._due = deque(due)
        """Those that are still to be looked at."""
        self._leaving = deque(leaving)
        """Those that are still to be closed."""
        self._results: list[tuple[Entry, Sample | BaseException | None]] = []
        self._at: Entry | None = None
        self._steps = 0
        self._lock = threading.Lock()
        self._abandoned = False
        self._done = trio.Event()
        self.closed: list[Entry] = []

    def run(self) -> None:
        """Look at each in turn, then close what leaves. Runs in the worker thread."""
        while (entry := self._next(self._due)) is not None:
            result: Sample | BaseException | None
            try:
                result = entry.look()
            except BaseException as error:  # noqa: BLE001 # a plugin may raise anything, SystemExit too; its job goes on
                result = error
            with self._lock:
                if not self._abandoned:
                    self._results.append((entry, result))
                    self._at = None
                    continue
            entry.close()  # it was given up: nobody else does
        while (entry := self._next(self._leaving)) is not None:
            entry.close()
            self.closed.append(entry)

    def _next(self, entries: deque[Entry]) -> Entry | None:
        with self._lock:
            self._at = None if self._abandoned or not entries else entries.popleft()
            self._steps += 1
            return self._at

    # -- in the trio thread

    def begin(self) -> None:
        """Start the thread."""
        token = trio.lowlevel.current_trio_token()

        def deliver(_: object) -> None:
            try:
                token.run_sync_soon(self._done.set)
            except trio.RunFinishedError:
                pass

        trio.lowlevel.start_thread_soon(self.run, deliver)

    async def through(self, slices: int) -> bool:
        """Wait until all is done: True; or until it has been at one probe for so many parts of our patience."""
        step, passed = self._steps, 0
        while passed < slices:
            with trio.move_on_after(PATIENCE / SLICES):
                await self._done.wait()
                return True
            passed = passed + 1 if self._steps == step else 0
            step = self._steps
        return False

    def hand_over(self) -> tuple[Entry | None, list[Entry], list[Entry]]:
        """Go on with none but the one that it is at: that, those that are still to be looked at, those that are still to be closed."""
        with self._lock:
            rest = self._at, list(self._due), list(self._leaving)
            self._due.clear()
            self._leaving.clear()
            return rest

    def take(self) -> list[tuple[Entry, Sample | BaseException | None]]:
        """What each look had for a result, since this was last asked."""
        with self._lock:
            results, self._results = self._results, []
            return results

    def abandon(self) -> Entry | None:
        """Leave the thread behind. The entry that it is at; from now on it touches no other."""
        with self._lock:
            self._abandoned = True
            return self._at
