"""Everything on a machine whose progress can be told: one row a job, refreshed, or printed once.

What there is to see, `looks` finds out here, or a daemon elsewhere; who shows it need not know which.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
from functools import partial
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio

from pollprog import signals, terminal, wording
from pollprog.display import Display
from pollprog.ending import OURS
from pollprog.hearing import Hearing, Leaving
from pollprog.keyboard import Keyboard
from pollprog.looks import Looks
from pollprog.output import show
from pollprog.wording import amount_of, gauge, percent_of, speed_of, standing_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pollprog.signals import Held
    from pollprog.status import Status

__all__ = ["Row", "Seen", "main", "view"]


class Row(Protocol):
    """What stands at the beginning of a row."""

    command: str
    pulse: int
    """Where the blob of its bar is."""

    @property
    def pid(self) -> int:
        """The process that it is known by."""


class Seen(Protocol):
    """What there is to see, here or elsewhere."""

    @property
    def failed(self) -> bool:
        """Whether nothing more will come."""

    async def run(self) -> None:
        """Look, until cancelled."""

    async def first(self) -> None:
        """Wait until something is known."""

    def update(self, interval: float) -> None:
        """Look every so many seconds from now on."""

    def rows(self) -> Sequence[tuple[Row, Status]]:
        """Each job whose progress can be told, with how far it is."""

    def notes(self, rows: Sequence[object]) -> list[str]:
        """What is to be said besides the rows."""


def lines_of(seen: Seen, columns: int, most: int = 1 << 16, *, unicode: bool, colour: bool) -> list[str]:
    """The rows as a table for a window of that width; so many lines at the most, if the window has four."""
    rows = seen.rows()
    notes = seen.notes(rows)
    for job, status in rows:
        job.pulse += status.moving
    fitting = max(2, most - 1 - len(notes))
    if len(rows) > fitting:
        notes.insert(0, f"+{len(rows) - fitting + 1} more")
        rows = rows[: fitting - 1]
    lines = table(rows, room=columns - 1, unicode=unicode, colour=colour) if rows else []
    return lines + [note[: columns - 1] for note in notes]


def table(rows: Sequence[tuple[Row, Status]], *, room: int, unicode: bool, colour: bool) -> list[str]:
    """The lines of a table of that many cells; a narrow one has fewer columns."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    wide, short = room >= 64, room < 110
    bar = max(10, (room - 60) // 3)
    heads = ["PID", "COMMAND", "PROGRESS", "", "DONE", "RATE", "LEFT"] if wide else ["PID", "COMMAND", "", "LEFT"]
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=True)
    for head in heads:
        grid.add_column(
            head,
            justify="left" if head in ("COMMAND", "PROGRESS", "LEFT") else "right",
            ratio=1 if head == "COMMAND" else None,
            no_wrap=True,
            overflow="ellipsis" if unicode else "crop",
        )
    for job, status in rows:
        program, blank, words = wording.clean(job.command, unicode=unicode).partition(" ")
        program = program.rpartition("/")[2] if program.startswith("/") else program
        cells = [str(job.pid), program + blank + words]
        cells += [gauge(status, bar, job.pulse, unicode=unicode)] if wide else []
        cells += [percent_of(status, short=True, unicode=unicode)]
        cells += [amount_of(status), speed_of(status)] if wide else []
        cells += [standing_of(status, short=short)]
        grid.add_row(*(Text(cell) for cell in cells), style="yellow" if status.stalled else None)
    page = io.StringIO()
    Console(file=page, width=room, color_system="standard" if colour else None, force_terminal=colour).print(grid)
    return [line.rstrip() for line in page.getvalue().rstrip("\n").split("\n")]


def main(*, once: bool, interval: float) -> int:
    """``pollprog top``: refreshed every `interval` seconds on a terminal, else printed once; `once`: as JSON, once.

    The exit status: 0; that for the signal that ended it; 125 if the pass failed, which the log tells.
    """
    held = signals.hold(passing=False)
    status = trio.run(partial(view, Looks, held, as_json=once, interval=interval))
    if held.interrupted:
        signals.die_by(signal.SIGINT)
    return status


async def view(seeing: Callable[[], Seen], held: Held, *, as_json: bool, interval: float) -> int:
    """Show what there is to see; the exit status."""
    live = os.isatty(1) and not as_json
    look = {
        "unicode": terminal.unicode_understood(os.environ),
        "colour": terminal.colour_wanted(os.environ, terminal=os.isatty(1)),
    }
    display = Display("auto" if live else "none", interval=interval, shares_terminal=False)
    with display, Keyboard(wanted=live) as keyboard:
        async with trio.open_nursery() as parts:
            seen, leaving = seeing(), Leaving(parts.cancel_scope)
            parts.start_soon(seen.run)
            parts.start_soon(Hearing(held, display, leaving, keyboard=keyboard).run)
            parts.start_soon(quit_when_asked, keyboard, leaving)
            await seen.first()
            while display.screen is not None and not seen.failed:
                keyboard.resume()  # nobody tells who comes from the background
                columns, height = display.screen.size()
                lines = lines_of(seen, columns, (height or 24) - 2, **look)
                display.screen.draw([*lines, ""])  # the cursor stands below, and wraps nothing
                seen.update(interval)
                await trio.sleep(interval)
            parts.cancel_scope.cancel()
    if leaving.status is not None or seen.failed:
        return OURS if leaving.status is None else leaving.status
    if as_json:
        print_json(seen)
    else:
        lines = lines_of(seen, shutil.get_terminal_size((100, 24)).columns, **look)
        show("".join(f"{line}\n" for line in lines))
    return 0


async def quit_when_asked(keyboard: Keyboard, leaving: Leaving) -> None:
    """End at a q."""
    await keyboard.key(b"q", b"Q")
    leaving.leave(0)


def print_json(seen: Seen) -> None:
    """A line for each row: its status, with the job's ``pid`` and ``command``; what else there is to say on standard error."""
    rows = seen.rows()
    for job, status in rows:
        line = msgspec.json.decode(wording.json_line(status))
        line |= {"pid": job.pid, "command": wording.clean(job.command)}
        show(msgspec.json.encode(line) + b"\n")
    errors = terminal.LineWriter(2)
    for note in seen.notes(rows):
        errors.write_last(f"pollprog: {note}")
    errors.close()
