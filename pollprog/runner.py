"""One command, run to its end under its probes; or one that already ran, watched to its end.

The runner takes a `report` for samples and a `change` for what becomes of the command, and knows no channel. It never stands
between the command and its work: what a tool claimed of its streams is passed on by a thread of its own, and the end is
heard from the kernel, through a pidfd.
"""

from __future__ import annotations

import logging
import os
import re
import select
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from pollprog.probes.chooser import Chooser
from pollprog.process import Process, ProcessTree, exit_status
from pollprog.signals import is_stopped
from pollprog.status import Outcome, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pollprog.launch import Filter, Launched
    from pollprog.sampler import Entry, Sampler
    from pollprog.status import Sample

__all__ = ["Watch", "attach", "run"]

log = logging.getLogger("pollprog")

DRAIN = 1.0
"""Seconds for which the last words of a command are waited for: a grandchild may hold its streams open."""
REAPED = 5.0
"""Seconds for which the parent of an attached process may take to ask for its exit status."""
STOPPED_LOOK = 0.25
"""Seconds between two looks whether the command stands still."""
SEPARATORS = re.compile(rb"[\r\n\b]+")


class Watch:
    """Keeps the best probe for one tree on the sampler."""

    def __init__(
        self, tree: ProcessTree, sampler: Sampler, report: Callable[[Sample], None], *, interval: float, **chosen: Any
    ) -> None:
        self._tree = tree
        self._sampler = sampler
        self._report = report
        self._interval = interval
        self._chosen = chosen
        self._excluded: set[str] = set()
        self._entry: Entry | None = None
        self._enter()

    def _enter(self) -> None:
        self._chooser = Chooser(self._tree, excluded=self._excluded, **self._chosen)
        self._entry = self._sampler.add(self._chooser, self._report, lost=self._lost, interval=self._interval)

    def _lost(self, _: str) -> None:
        """The chooser hung, or failed itself: go on without the probe that it was at."""
        if self._chooser.at in self._chooser.excluded or not self._chooser.at:
            return  # nothing is left to try
        self._excluded = {*self._chooser.excluded, self._chooser.at}
        self._tree = ProcessTree(self._tree.root)  # the old one is in the hands of the thread that hangs
        self._enter()

    def heard(self, stream: int, record: bytes) -> None:
        """Something that the command said, for the probe to hear at the next look. From any thread."""
        if self._entry is not None:
            self._entry.heard.append((stream, record))

    def stop(self) -> None:
        """Look no more."""
        if self._entry is not None:
            self._sampler.remove(self._entry)


async def run(
    launched: Launched,
    sampler: Sampler,
    report: Callable[[Sample], None],
    change: Callable[[State], None],
    *,
    total: int | str | None = None,
    probe: str | None = None,
    interval: float = 1.0,
) -> Outcome:
    """Watch a command that was launched, until it has ended and its last words are passed on."""
    watch = None
    with suppress(OSError):  # it has ended already
        root = Process(launched.pid)
        watch = Watch(
            ProcessTree(root),
            sampler,
            report,
            interval=interval,
            total=total,
            named=probe,
            launched=True,
            claims=launched.command.claims,
            ends=launched.ends,
        )
    ears = [
        Ear(stream, end, launched.command.claims[stream], watch.heard if watch else lambda *_: None)
        for stream, end in launched.ends.items()
    ]
    for ear in ears:
        ear.start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_stops, launched.pid, change)
        await trio.lowlevel.wait_readable(launched.pidfd)
        nursery.cancel_scope.cancel()
    if watch is not None:
        watch.stop()
    with trio.move_on_after(DRAIN):
        for ear in ears:
            await ear.done.wait()
    return outcome_of(launched.reap())


async def attach(
    process: Process,
    sampler: Sampler,
    report: Callable[[Sample], None],
    change: Callable[[State], None],
    ended: Callable[[], None],
    *,
    total: int | str | None = None,
    probe: str | None = None,
    interval: float = 1.0,
) -> Outcome:
    """Watch a process that is not our child. `ended` is called at its end; the outcome may take a moment longer.

    The exit status is the kernel's to tell, once its parent has asked for it (Linux 6.15 and newer); else it is lost.
    """
    tree = ProcessTree(process)
    watch = Watch(tree, sampler, report, interval=interval, total=total, named=probe, launched=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_stops, process.pid, change)
        await trio.lowlevel.wait_readable(process.pidfd)
        nursery.cancel_scope.cancel()
    watch.stop()
    ended()
    # POLLIN is the zombie; POLLHUP comes when the parent has reaped it. An epoll object that asks for no event wakes on
    # HUP alone, and is itself something that can be waited for.
    with select.epoll() as reaped:
        reaped.register(process.pidfd, 0)
        with trio.move_on_after(REAPED):
            await trio.lowlevel.wait_readable(reaped.fileno())
    known = exit_status(process.pidfd)
    return Outcome(State.LOST) if known is None else outcome_of(known)


async def tell_stops(pid: int, change: Callable[[State], None]) -> None:
    """Say when the command has been stopped, and when it goes on."""
    stopped = False
    while True:
        now = is_stopped(pid)
        if now is not stopped:
            stopped = now
            change(State.PAUSED if now else State.RUNNING)
        await trio.sleep(STOPPED_LOOK)


def outcome_of(ended: tuple[int | None, int | None] | None) -> Outcome:
    """The outcome for what the kernel says: (exit code, signal), or nothing."""
    if ended is None or ended == (None, None):
        return Outcome(State.LOST)
    code, signal = ended
    return Outcome(State.SUCCEEDED if code == 0 else State.FAILED, code, signal)


class Ear:
    """Hears one claimed stream, and passes it on to where the user sent it, in a thread that the command can wait for.

    Where the user's end takes nothing more, the command is told in the way it would have been: its next write fails.
    """

    def __init__(self, stream: int, end: int, through: Filter, heard: Callable[[int, bytes], None]) -> None:
        self._stream = stream
        self._end = os.dup(end)
        self._through = through
        self._heard = heard
        self._rest = b""
        self._token = trio.lowlevel.current_trio_token()
        self.done = trio.Event()

    def start(self) -> None:
        """Begin to pass on."""
        threading.Thread(target=self._run, name=f"pollprog stream {self._stream}", daemon=True).start()

    def _run(self) -> None:
        try:
            while data := os.read(self._end, 65536):
                self._split(data)
                write_all(self._stream, self._through.passing(data))
            if self._rest:
                self._heard(self._stream, self._rest)
            write_all(self._stream, self._through.end())
        except OSError as error:
            log.debug("stream %d: %s", self._stream, error)
        finally:
            os.close(self._end)
            try:
                self._token.run_sync_soon(self.done.set)
            except trio.RunFinishedError:
                pass

    def _split(self, data: bytes) -> None:
        *records, rest = SEPARATORS.split(self._rest + data)
        self._rest = rest[-65536:]
        for record in records:
            if record:
                self._heard(self._stream, record)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte, waiting as the command itself would have had to."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # the user's end is non-blocking; the command would have had to deal with it
            select.select([], [descriptor], [])
