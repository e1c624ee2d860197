"""A bar for other people's loops: under `progress_bar`, what `notify_progress` says is drawn.

The program goes on in its own thread, and is in nobody's way: one thread of ours draws all bars of the process, while there are
any, and looks at what each loop has said last. The bar is a line at the cursor; it takes no signals and no scroll region, which
belong to the program. Without a terminal there are lines of log instead, now and then.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from pollprog import wording
from pollprog.channel import FIRST, Channel, Clock
from pollprog.display import Display
from pollprog.errors import Cancelled
from pollprog.notify import Notices, hearer
from pollprog.sampler import Sampler
from pollprog.status import Outcome, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["progress_bar"]

INTERVAL = 1 / 3
"""Seconds between two frames, and between two looks."""
PATIENCE = 5.0
"""Seconds for which a program waits for its last line, whatever is the matter with the terminal."""

_numbers = itertools.count(1)
_lock = threading.Lock()
_drawing: Drawing | None = None


@contextmanager
def progress_bar(name: str = "") -> Iterator[None]:
    """Draw what `notify_progress` says in this block, in this thread or task and those that inherit its context.

    The bar is there from the second second on, and says 100 % only when the block has ended well. An exception is told as failed,
    and passes on. A bar within another has a row of its own. Inside an operation there is nothing to draw: its job is told.
    """
    outside = hearer.get()
    if outside is not None and not isinstance(outside, Bar):
        yield
        return
    bar = Bar(name)
    drawing = _enter(bar)
    token = hearer.set(bar)
    outcome = Outcome(State.FAILED)
    try:
        yield
        outcome = Outcome(State.SUCCEEDED, 0)
    except (KeyboardInterrupt, Cancelled, trio.Cancelled):
        outcome = Outcome(State.CANCELLED)
        raise
    finally:
        hearer.reset(token)
        _leave(drawing, bar, outcome)


class Bar(Notices):
    """One bar, and what its loop says."""

    __slots__ = ("channel", "clock", "job", "name", "outcome", "over")

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.job = f"bar-{next(_numbers)}"
        self.clock = Clock(started=time.monotonic())
        self.channel: Channel | None = None
        self.outcome: Outcome | None = None
        self.over = threading.Event()
        """Set when its last line has been written."""


class Drawing:
    """The thread that draws, and the bars that are drawn."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.bars = 0
        self._ready = threading.Event()
        self._begin: Callable[[Bar], None] | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop: trio.Event | None = None
        self._thread = threading.Thread(target=trio.run, args=(self._run,), name="pollprog bars", daemon=True)
        self._thread.start()
        self._ready.wait(PATIENCE)

    def begin(self, bar: Bar) -> None:
        """Draw this one too."""
        if self._begin is not None:
            self._have(self._begin, bar)

    def end(self, bar: Bar, outcome: Outcome) -> None:
        """Tell how it ended, and wait until that is there to be read."""
        bar.outcome = outcome
        if self._have(self._finish, bar):
            bar.over.wait(PATIENCE)

    def close(self) -> None:
        """Give the terminal back."""
        if self._stop is not None:
            self._have(self._stop.set)
        self._thread.join(PATIENCE)

    def _have(self, what: Callable[..., object], *arguments: object) -> bool:
        """Have this done in the thread; whether there still is one."""
        if self._token is None:
            return False
        try:
            self._token.run_sync_soon(what, *arguments)
        except trio.RunFinishedError:
            return False
        return True

    # -- in the thread

    async def _run(self) -> None:
        sampler = Sampler()
        self._stop = trio.Event()
        try:
            with Display("auto", interval=INTERVAL, shares_terminal=False) as display:
                async with trio.open_nursery() as parts:
                    parts.start_soon(sampler.run)
                    async with trio.open_nursery() as readers:
                        self._begin = lambda bar: readers.start_soon(self._draw, bar, sampler, display)
                        self._token = trio.lowlevel.current_trio_token()
                        self._ready.set()
                        await self._stop.wait()
                    parts.cancel_scope.cancel()
        finally:
            self._ready.set()

    async def _draw(self, bar: Bar, sampler: Sampler, display: Display) -> None:
        try:
            bar.channel = channel = Channel(bar.job, clock=bar.clock)
            entry = sampler.add(bar, channel.report, interval=INTERVAL)
            if bar.outcome is not None:
                self._finish(bar)
            await display.follow(bar.name, channel, ending=False)
            sampler.remove(entry)
            status = channel.latest()
            if display.screen is not None and status.elapsed >= FIRST:
                display.say(wording.outcome_line(status, name=bar.name, unicode=display.unicode))
        finally:
            bar.over.set()

    def _finish(self, bar: Bar) -> None:
        if bar.channel is not None and bar.outcome is not None:
            if (last := bar.sample()) is not None:
                bar.channel.report(last)
            bar.channel.finish(bar.outcome)


def _enter(bar: Bar) -> Drawing:
    global _drawing  # noqa: PLW0603 # there is one terminal
    with _lock:
        if _drawing is None or _drawing.pid != os.getpid():
            _drawing = Drawing()
        _drawing.bars += 1
    _drawing.begin(bar)
    return _drawing


def _leave(drawing: Drawing, bar: Bar, outcome: Outcome) -> None:
    global _drawing  # noqa: PLW0603 # there is one terminal
    if drawing.pid != os.getpid():
        return  # the child of a fork: the bar is its parent's
    drawing.end(bar, outcome)
    with _lock:
        drawing.bars -= 1
        if not drawing.bars:
            _drawing = None
            drawing.close()
