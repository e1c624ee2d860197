"""Where the progress of this terminal's jobs is shown, if anywhere: a bar, a log on standard error, lines of JSON.

Each way is a reader of the jobs' channels. Nothing here holds up a job: what is not taken in time is not shown. What our own
parts log (a probe that is dropped, a total that was wrong) is shown too, a line each, above the bar or in the log.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from pollprog import terminal, wording
from pollprog.channel import FIRST
from pollprog.ending import LAST_LINE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Self

    from pollprog.status import Status

__all__ = ["Display", "JsonLines"]

log = logging.getLogger("pollprog")


class Readable(Protocol):
    """A job's status for its readers: a channel, or what stands for one that is elsewhere."""

    job: str

    async def next(self, after: int, *, interval: float = 1.0, last: float | None = None) -> Status:
        """Wait for one newer than that numbered `after`, as `Channel.next` does."""


class Display:
    """A bar for one or several jobs, or a log. Taken back on every way out of its ``with`` block.

    `progress` is what the user typed after ``--progress``, `interval` the seconds between two frames. `shares_terminal`: a
    command writes to the terminal too.
    """

    def __init__(self, progress: str, *, interval: float, shares_terminal: bool) -> None:
        self.mode = terminal.choose(progress, os.environ, 2, shares_terminal=shares_terminal)
        self.screen: terminal.Screen | None = None
        if self.mode in (terminal.Mode.BOTTOM, terminal.Mode.LINE):
            self.screen = open_screen(bottom=self.mode is terminal.Mode.BOTTOM)
            if self.screen is None:
                self.mode = terminal.Mode.LOG
        self._interval = interval
        self.unicode = terminal.unicode_understood(os.environ)
        self.colour = terminal.colour_wanted(os.environ)
        self._errors = terminal.LineWriter(2)
        self._going: dict[str, tuple[str, Status | None]] = {}
        """By job: its name, and the status that is drawn."""
        self._pulses: dict[str, int] = {}
        self._lock = threading.RLock()
        """What is logged comes from any thread."""
        self._notes = Notes(self)

    def __enter__(self) -> Self:
        log.addHandler(self._notes)
        log.propagate = False
        return self

    def __exit__(self, *_exception: object) -> None:
        log.removeHandler(self._notes)
        log.propagate = True
        with self._lock:
            if self.screen is not None:
                self.screen.close()
            self._errors.close()

    @property
    def own_files(self) -> frozenset[tuple[int, int]]:
        """Device and inode of the file that the log goes to, if it goes to one: what grows there is no command's work."""
        return regular_file(2) if self.mode is terminal.Mode.LOG else frozenset()

    def say(self, text: str, *, last: bool = False) -> None:
        """One line of our own, above the bar or in the log; the `last` one is waited for a little. From any thread."""
        with self._lock:
            if self.screen is not None:
                self.screen.say(text)
            elif last:
                self._errors.write_last(wording.clean(text, unicode=self.unicode))
            else:
                self._errors.write(wording.clean(text, unicode=self.unicode))

    def take_back(self) -> None:
        """Leave the terminal as if nobody had been there: we stop."""
        with self._lock:
            if self.screen is not None:
                self.screen.take_back()

    def resume(self) -> None:
        """We go on."""
        with self._lock:
            if self.screen is not None:
                self.screen.resume()

    def enter(self, name: str, channel: Readable) -> None:
        """Give a job its row, above the rows of those that enter later."""
        self._going.setdefault(channel.job, (name, None))

    async def follow(self, name: str, channel: Readable, *, ending: bool) -> None:
        """Show a job until it has ended; `ending`: it ran before we came, and its bar gives way to a line that says how."""
        self.enter(name, channel)
        if self.screen is not None:
            async for status in statuses_of(channel, self._interval):
                self._show(name, status, ending=ending)
        elif self.mode is terminal.Mode.LOG:
            await self._write_log(name, channel, ending=ending)

    async def _write_log(self, name: str, channel: Readable, *, ending: bool) -> None:
        lines = wording.LogLines(name, unicode=self.unicode, joined=ending)
        told = ending
        async for status in statuses_of(channel, self._interval):
            if status.outcome is None or told or status.elapsed >= FIRST:  # work that is over at once needs no words
                for line in lines.due(status):
                    self.say(line, last=status.outcome is not None)
            told = True

    def _show(self, name: str, status: Status, *, ending: bool) -> None:
        with self._lock:
            assert self.screen is not None
            if status.outcome is None:
                self._going[status.job] = name, status
            else:
                del self._going[status.job]
            if status.outcome is not None and ending:
                self.screen.take_back()
                self.say(wording.outcome_line(status, name=name, unicode=self.unicode, joined=ending))
            self._draw()

    def _draw(self) -> None:
        shown = [(name, status) for name, status in self._going.values() if status is not None]
        if self.screen is None or not shown:
            return
        columns = self.screen.size().columns
        lines = []
        for name, status in shown:
            pulse = self._pulses[status.job] = self._pulses.get(status.job, 0) + status.moving
            lines.append(
                wording.bar_line(
                    status, columns=columns, unicode=self.unicode, colour=self.colour, name=name, pulse=pulse
                )
            )
        self.screen.draw(lines, taskbar=wording.taskbar(shown[0][1]) if len(self._going) == 1 else "")


def open_screen(*, bottom: bool) -> terminal.Screen | None:
    """The terminal to draw on; None if it cannot be had."""
    path = terminal.terminal_path(2)
    if path is None:
        return None
    try:
        return terminal.Screen(path, bottom=bottom, taskbar=terminal.taskbar_understood(os.environ))
    except OSError:
        return None


def regular_file(descriptor: int) -> frozenset[tuple[int, int]]:
    """Device and inode of what the descriptor stands for, if that is a regular file."""
    try:
        info = os.fstat(descriptor)
    except OSError:
        return frozenset()
    return frozenset({(info.st_dev, info.st_ino)} if stat.S_ISREG(info.st_mode) else ())


class Notes(logging.Handler):
    """Takes what our own parts log to where the user sees it: one line each, without tracebacks."""

    def __init__(self, display: Display) -> None:
        super().__init__(logging.INFO)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        self._display.say(f"pollprog: {record.getMessage()}")


async def statuses_of(channel: Readable, interval: float) -> AsyncIterator[Status]:
    """Each status of a job that this reader is due, to the outcome."""
    after, last = 0, None
    while True:
        status = await channel.next(after, interval=interval, last=last)
        yield status
        if status.outcome is not None:
            return
        after, last = status.seq, trio.current_time()


class JsonLines:
    """The statuses of one job, or of several, as lines of JSON to one descriptor: each whole, whoever's it is."""

    def __init__(self, descriptor: int, interval: float) -> None:
        self._writer = terminal.LineWriter(descriptor)
        self._interval = interval
        self._turn = trio.Lock()
        self.own_files = regular_file(descriptor)
        """Device and inode of the file that the lines go to, if they go to one."""

    async def follow(self, channel: Readable) -> None:
        """Write each status; the last one is waited for a little, if the reader is slow."""
        async for status in statuses_of(channel, self._interval):
            line = wording.json_line(status)
            async with self._turn:
                if status.outcome is None:
                    self._writer.write(line)
                else:
                    last = partial(self._writer.write_last, line, seconds=LAST_LINE)
                    await trio.to_thread.run_sync(last, abandon_on_cancel=True)
