"""One command, run to its end under its probes; or one that already ran, or work that no process stands for, watched to its end.

The runner takes a `report` for samples and a `change` for what becomes of the command, and knows no channel. It never stands
between the command and its work, and hears of the end from the kernel, through a pidfd.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from pollprog.ending import outcome_of
from pollprog.launch import is_stopped
from pollprog.probes.chooser import Chooser
from pollprog.process import Process, ProcessTree, exit_status
from pollprog.status import Bound, Outcome, State, Unit
from pollprog.streams import DRAIN, StatusFile, listen

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pollprog.ending import Ended
    from pollprog.launch import Launched
    from pollprog.probes.resource import Resource
    from pollprog.sampler import Entry, Sampler
    from pollprog.status import Sample

__all__ = ["Change", "Watch", "attach", "follow", "run", "tell_stops"]

FASTER = 10
"""How much faster than before the work may have gone since the last look."""
UNSEEN = 1.5
"""The same, where nothing shows that the total was reached."""
REAPED = 5.0
"""Seconds for which the parent of an attached process may take to ask for its exit status."""
STOPPED_LOOK = 0.25
"""Seconds between two looks whether the command stands still."""
LATE = 0.5
"""Seconds by which such a look comes too late if we stood still ourselves."""


class Change(Protocol):
    """Is told when the command is stopped, and when it goes on."""

    def __call__(self, state: State, *, since: float = 0.0) -> None:
        """`since`: so many seconds ago, as far as can be told."""


class Watch:
    """Keeps the best probe for one tree on the sampler.

    The tree and its root belong to the probe, which the sampler closes: nobody else can tell when the last look is over.
    """

    def __init__(
        self,
        tree: ProcessTree,
        sampler: Sampler,
        report: Callable[[Sample], None],
        *,
        interval: float,
        status: int | None = None,
        **chosen: Any,
    ) -> None:
        self._tree = tree
        self._sampler = sampler
        self._report = report
        self._began = trio.current_time()
        self._last: Sample | None = None
        self._taken = self._moved = 0.0
        """When the last look was, and when one last found that more is done."""
        self._interval = interval
        self._status = status
        self._chosen = chosen
        self._reached: bool | None = None
        self._entry: Entry | None = None
        self._enter()

    def _enter(self, excluded: set[str] | None = None) -> None:
        status = None if self._status is None else StatusFile(os.dup(self._status))
        self._chooser = Chooser(self._tree, excluded=excluded, status=status, **self._chosen)
        self._entry = self._sampler.add(self._chooser, self._take, lost=self._lost, interval=self._interval)

    def _take(self, sample: Sample) -> None:
        self._taken = trio.current_time() - self._began
        if self._last is None or (sample.current, sample.phase) != (self._last.current, self._last.phase):
            self._moved = self._taken
        self._last = sample
        self._report(sample)

    def _lost(self, _: str) -> None:
        """The chooser hung, or failed itself: go on without the probe that it was at, which it may have left out itself."""
        excluded = self._chooser.left_behind()
        if excluded is None:
            return
        with suppress(OSError, ValueError):  # it has ended
            self._tree = ProcessTree(reopened(self._tree.root))  # the old one is in the hands of the thread that hangs
            self._enter(excluded)

    def heard(self, stream: int, record: bytes) -> None:
        """Something that the command said, for the probe to hear at the next look. From any thread."""
        if self._entry is not None:
            self._entry.heard.add(stream, record)

    def stop(self) -> None:
        """Look no more; what the root has counted by its end is kept as long as nobody has asked for its exit status."""
        if self._last is not None:
            io = self._tree.root.io()
            self._reached = self._chooser.reached(self._last, None if io is None else io.rchar)
        if self._entry is not None:
            self._sampler.remove(self._entry)
        self._ended = trio.current_time() - self._began

    def succeeded(self) -> None:
        """The work has ended well: say once more how far it was, with what is known of its total now.

        A total that it cannot have reached since the last look was wrong, and is taken back; one that nobody saw it reach is
        an estimate. Where the total is not the user's and was reached, the time counts from when more was done: a program that
        tells how far it is once a second may be far on between. A percentage of the program's own stands: it has reached its
        end, however far that was from the last look.
        """
        last = self._last
        if last is None or last.total is None or last.unit is Unit.PARTS:
            return
        at = self._moved if self._reached and self._chosen.get("total") is None else self._taken
        pace = last.current / max(at, self._interval)
        lacks, gap = last.total - last.current, self._ended - at
        if self._reached and lacks <= last.total / 20 + FASTER * pace * gap:
            self._report(replace(last, bound=Bound.EXACT))
        elif not self._reached and lacks <= last.total / 100 + UNSEEN * pace * gap:
            self._report(replace(last, bound=Bound.ESTIMATE))
        else:
            self._report(replace(last, total=None))


def reopened(process: Process) -> Process:
    """The same process, with descriptors of its own. ProcessLookupError if it is gone."""
    same = Process(process.pid)
    if same.start != process.start:
        same.close()
        raise ProcessLookupError(f"process {process.pid} is gone")
    return same


async def run(
    launched: Launched,
    sampler: Sampler,
    report: Callable[[Sample], None],
    change: Change,
    *,
    total: int | str | None = None,
    probe: str | None = None,
    interval: float = 1.0,
) -> Ended:
    """Watch a command that was launched, until it has ended and its last words are passed on; how it ended.

    Whoever holds its streams open beyond that, or takes its words slowly, is waited for no longer than a moment: `Ear.finish`
    waits for all.
    """
    watch = None
    with suppress(OSError):  # it has ended already
        watch = Watch(
            ProcessTree(Process(launched.pid)),
            sampler,
            report,
            interval=interval,
            total=total,
            named=probe,
            launched=True,
            claims=launched.command.claims,
            ends=launched.ends,
            aside=launched.aside,
            before=launched.before,
            status=launched.status,
            printed=launched.printed,
        )
    if launched.printed is None and not launched.ears:
        listen(launched)
    if watch is not None:
        for ear in launched.ears:
            ear.tell(watch.heard)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_stops, launched.is_stopped, launched.was_stopped, change)
        await trio.lowlevel.wait_readable(launched.pidfd)
        nursery.cancel_scope.cancel()
    if watch is not None:
        watch.stop()
    for ear in launched.ears:
        await trio.to_thread.run_sync(ear.finish, DRAIN, abandon_on_cancel=True)
    ended = launched.reap() or (None, None)
    if watch is not None and ended[0] == 0:
        watch.succeeded()
    return ended


async def attach(
    process: Process,
    sampler: Sampler,
    report: Callable[[Sample], None],
    change: Change,
    ended: Callable[[], None],
    *,
    total: int | str | None = None,
    probe: str | None = None,
    interval: float = 1.0,
    aside: frozenset[tuple[int, int]] = frozenset(),
) -> Outcome:
    """Watch a process that is not our child. `ended` is called at its end; the outcome may take a moment longer.

    `aside`: files, by device and inode, that are not its work.

    The exit status is the kernel's to tell, until its parent has asked for it, and on Linux 6.15 and newer after that; else it is
    lost. Raises ProcessLookupError if the process is gone before anything was seen of it.
    """
    pidfd = process.pidfd
    watch = None
    with suppress(OSError, ValueError):  # it has ended already
        tree = ProcessTree(reopened(process))
        watch = Watch(tree, sampler, report, interval=interval, total=total, named=probe, launched=False, aside=aside)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_stops, partial(is_stopped, process.pid), lambda: False, change)
            await trio.lowlevel.wait_readable(pidfd)
            how = process.outcome()  # before anything else: its parent may be quick
            nursery.cancel_scope.cancel()
    finally:
        if watch is not None:
            watch.stop()
    ended()
    if how is None:
        # POLLIN is the zombie; POLLHUP comes when the parent has reaped it. An epoll object that asks for no event wakes on
        # HUP alone, and is itself something that can be waited for.
        with select.epoll() as reaped:
            reaped.register(pidfd, 0)
            with trio.move_on_after(REAPED):
                await trio.lowlevel.wait_readable(reaped.fileno())
        how = exit_status(pidfd) or (None, None)
    if watch is not None and how[0] == 0:
        watch.succeeded()
    return outcome_of(how)


async def follow(
    resource: Resource, sampler: Sampler, report: Callable[[Sample], None], *, interval: float = 1.0
) -> Outcome:
    """Watch work that no process stands for, until a look at it finds that it is over. It is the sampler's to close from now on."""
    lost = trio.Event()
    entry = sampler.add(resource, report, lost=lambda _: lost.set(), interval=interval)
    try:
        while resource.outcome is None and not lost.is_set():
            with trio.move_on_after(interval):
                await lost.wait()
    finally:
        sampler.remove(entry)
    return resource.outcome or Outcome(State.LOST)


async def tell_stops(stopped: Callable[[], bool], was_stopped: Callable[[], bool], change: Change) -> None:
    """Say when the work stands still, and when it goes on; that it did so while we stood still ourselves, too.

    `was_stopped`: whether it stood still, and went on, since this was last asked; it counts if our own look came late.
    """
    paused = False
    looked = trio.current_time()
    while True:
        now = trio.current_time()
        since = max(0.0, now - looked - STOPPED_LOOK)  # when this look was due
        stands = stopped()
        went_on = was_stopped()  # asked second, it knows of what has come between
        if not paused and (stands or (went_on and since > LATE)):
            change(State.PAUSED, since=since)
            paused = True
        if paused and not stands:
            change(State.RUNNING)
            paused = False
        looked = now
        await trio.sleep(STOPPED_LOOK)
