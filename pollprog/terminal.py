"""The way out of a status: onto a terminal, into a log, into a pipe, none of which may hold anything up.

An `Outlet` is a descriptor that may refuse bytes. What it refuses is dropped; of what it takes in part, the rest
goes out before anything else, so that no line and no escape sequence is ever torn by our own next one.

`Screen` is a fresh description of the terminal, because O_NONBLOCK on an inherited one would reach the command, which
shares it. While the command writes to the same terminal, the bar lives in the bottom row, and the command's text
scrolls in a region above it; each frame sets that region again, in case the command did away with it. Otherwise the
bar is a line, or a block of lines, at the cursor. The terminal's settings are never touched and its cursor never
hidden: if all else fails, what is left behind is one line of text.

- One frame is one write, made only if it differs from the last one, and only in the foreground.
- The size is asked for at each frame, so that nobody needs to hear SIGWINCH.
- `Screen.take_back` leaves the terminal as if nobody had been there. It is due on every way out, and before a stop.

`LineWriter` takes whole lines to a descriptor that is shared with the command. It asks the kernel not to wait for
this one write, or looks whether there is room and then writes no more than a pipe takes at once.
"""

from __future__ import annotations

import errno
import os
import re
import select
import stat
import termios
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from pollprog.wording import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "LineWriter",
    "Mode",
    "Screen",
    "choose",
    "colour_wanted",
    "taskbar_understood",
    "terminal_path",
    "unicode_understood",
]

_FEWEST_ROWS = 5
"""In a window of fewer rows a region of its own for the bar would leave the command too little."""
_REFRESH = 5.0
"""Seconds after which a terminal is told again what its icon should show; some forget it after 15."""
_MOST_WAITING = 4096
"""Bytes of notes kept for a terminal that takes none."""
_PIPE_BUF = 4096
"""What Linux writes to a pipe in one piece (pipe(7))."""


# --- what to do, by environment


class Mode(StrEnum):
    """How progress is shown."""

    BOTTOM = "bottom"
    """In the bottom row, below a command that shares the terminal."""
    LINE = "line"
    """In a line or block at the cursor."""
    LOG = "log"
    """In plain lines on standard error, now and then."""
    NONE = "none"


def choose(progress: str, environ: Mapping[str, str], stderr_fd: int, *, shares_terminal: bool) -> Mode:
    """What ``--progress`` (auto, bar, log or none) comes to here. A bar without a terminal is a log."""
    if progress in ("log", "none"):
        return Mode(progress)
    if environ.get("TERM", "dumb") in ("", "dumb") or terminal_path(stderr_fd) is None:
        return Mode.LOG
    return Mode.BOTTOM if shares_terminal else Mode.LINE


def terminal_path(stderr_fd: int) -> str | None:
    """A path by which the terminal can be opened afresh: standard error's, else the controlling one; None without."""
    paths = ["/dev/tty"]
    if os.isatty(stderr_fd):
        paths.insert(0, f"/proc/self/fd/{stderr_fd}")  # /dev/pts of another mount namespace has no name here
    for path in paths:
        try:
            os.close(_open(path))
        except OSError:
            continue
        return path
    return None


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)


def unicode_understood(environ: Mapping[str, str]) -> bool:
    """Whether the locale's encoding is UTF-8 and the terminal has the glyphs: the Linux console has few."""
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    encoding = locale.partition(".")[2].partition("@")[0]
    return encoding.lower().replace("-", "") == "utf8" and environ.get("TERM") != "linux"


def colour_wanted(environ: Mapping[str, str], *, terminal: bool = True) -> bool:
    """NO_COLOR before FORCE_COLOR and CLICOLOR_FORCE before what it is written to."""
    if environ.get("NO_COLOR"):
        return False
    forced = environ.get("FORCE_COLOR") or environ.get("CLICOLOR_FORCE") or "0"
    return forced != "0" or terminal


def taskbar_understood(environ: Mapping[str, str]) -> bool:
    """Whether this terminal is known to take OSC 9;4 for progress; others show a notification for each."""
    if environ.get("TMUX") or environ.get("STY"):
        return False  # the other variables are those of the terminal outside
    ptyxis = re.match(r"\d+", environ.get("PTYXIS_VERSION", ""))
    return bool(
        re.search(r"P(?![a-z])", environ.get("TERM_FEATURES", ""))
        or environ.get("TERM_PROGRAM") in ("WezTerm", "ghostty")
        or environ.get("WT_SESSION")
        or environ.get("ConEmuANSI") == "ON"
        or (ptyxis and int(ptyxis[0]) >= 48)
    )


# --- writing without waiting


class _Outlet:
    """A descriptor that may refuse bytes, and the rest of what it took in part."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rest = b""

    def _put(self, data: bytes) -> int:
        return os.write(self._fd, data)

    def _flush(self) -> bool:
        """Write what is left over. True if nothing is, any more."""
        while self._rest:
            try:
                self._rest = self._rest[self._put(self._rest) :]
            except BlockingIOError:
                return False
            except OSError:  # hung up, full, or nobody reads: no reason to harm a job
                self._rest = b""
        return True

    def _send(self, data: bytes, *, keep: bool = False) -> bool:
        """Write `data`, or, if nothing of it is taken, drop it; with `keep`, write it later. True if not dropped."""
        if not self._flush():
            self._rest += data if keep else b""
            return keep
        self._rest = data
        if self._flush() or keep or len(self._rest) < len(data):
            return True
        self._rest = b""
        return False

    def _drain(self, seconds: float) -> None:
        """Wait until everything is written, this long at the most."""
        end = time.monotonic() + seconds
        while not self._flush() and (left := end - time.monotonic()) > 0:
            self._room(left)
            time.sleep(min(left, 0.005))  # room for one byte is not always room for a line

    def _room(self, seconds: float) -> bool:
        """Wait this long at the most until a write could take something, or would fail at once."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(seconds * 1000))

    def _foreground(self) -> bool:
        """Whether the terminal is ours to draw on: not while the shell has put us in the background."""
        try:
            return os.tcgetpgrp(self._fd) in (0, os.getpgrp())  # 0: a process outside of our pid namespace
        except OSError as error:
            return error.errno == errno.ENOTTY  # not our controlling terminal, so no job control there

    def _permitted(self) -> bool:
        """Whether a write would not stop our process group, and the command with it (``stty tostop``)."""
        try:
            return self._foreground() or not termios.tcgetattr(self._fd)[3] & termios.TOSTOP
        except termios.error:
            return True


class LineWriter(_Outlet):
    """Whole lines to a descriptor that others share, such as standard error; never waits, except for the last line."""

    def __init__(self, fd: int) -> None:
        self._own: int | None = None
        if os.isatty(fd):
            try:
                fd = self._own = _open(f"/proc/self/fd/{fd}")
            except OSError:
                pass
        super().__init__(fd)
        try:
            self._regular = stat.S_ISREG(os.fstat(fd).st_mode)
        except OSError:
            self._regular = False

    def _put(self, data: bytes) -> int:
        if self._regular or self._own is not None:
            return os.write(self._fd, data)
        try:
            return os.pwritev(self._fd, [data], -1, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                raise
        if not self._room(0):
            raise BlockingIOError
        return os.write(self._fd, data[:_PIPE_BUF])

    def write(self, line: str | bytes) -> bool:
        """Write one line, or drop it. Text gets its line end here; bytes bring theirs. True if not dropped."""
        return self._permitted() and self._send(_encoded(line))

    def write_last(self, line: str | bytes, *, seconds: float = 2.0) -> None:
        """Write the line that must not be missed: waits this long for room before it gives up."""
        if self._permitted():
            self._send(_encoded(line), keep=True)
            self._drain(seconds)

    def close(self) -> None:
        """Close what this writer has opened; the descriptor that it was given stays open."""
        if self._own is not None:
            os.close(self._own)
            self._own = None


def _encoded(line: str | bytes) -> bytes:
    return line if isinstance(line, bytes) else line.encode("utf-8", "replace") + b"\n"


# --- drawing


class Screen(_Outlet):
    """The terminal as a place to draw a bar on.

    `path` is from `terminal_path`; OSError if it cannot be opened. With `bottom`, the bar has the bottom row to
    itself where the window is not too small; without, it is drawn at the cursor. With `taskbar`, the terminal's icon
    shows progress too.
    """

    def __init__(self, path: str, *, bottom: bool, taskbar: bool = False) -> None:
        super().__init__(_open(path))
        self._bottom = bottom
        self._taskbar = taskbar
        self._closed = False
        self._frame: object = None  # what was drawn last
        self._drawn = 0.0  # when
        self._region: os.terminal_size | None = None  # the size for which a scroll region is set
        self._block = 0  # how many lines are drawn at the cursor
        self._icon = False  # whether the icon shows something

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def size(self) -> os.terminal_size:
        """Columns and lines as of now; 80 columns where the terminal does not say, and 0 lines."""
        try:
            columns, lines = os.get_terminal_size(self._fd)
        except OSError:
            columns, lines = 0, 0
        return os.terminal_size((columns or 80, lines))

    def draw(self, lines: Sequence[str], *, taskbar: str = "") -> None:
        """Show these lines, each made for the present width, and nothing else. The bottom row shows the first one;
        a block shows as many as fit. `taskbar` is from `wording.taskbar`.
        """
        if self._closed or not lines or not self._foreground():
            return
        size = self.size()
        icon = f"\x1b]9;4;{taskbar}\x1b\\" if self._taskbar and taskbar else ""
        frame = (size, tuple(lines), icon)
        if frame == self._frame and not (icon and time.monotonic() - self._drawn >= _REFRESH):
            return
        bottom = self._bottom and size.lines >= _FEWEST_ROWS
        shown = [lines[0]] if bottom else _fitting(lines, max(1, (size.lines or 24) - 1))
        if bottom:
            text = "" if self._region == size else self._erasure(size)
            if self._region != size or self._frame is None:
                text += "\x1bD\x1b[A"  # index and up: frees the bottom row, and the cursor is at its text again
            text += f"\x1b7\x1b[1;{size.lines - 1}r\x1b[{size.lines};1H{shown[0]}\x1b[K\x1b8"
        else:
            text = self._erasure(size) if self._region else self._up()
            text += "\r" + "\x1b[K\r\n".join(shown) + "\x1b[K" + ("\x1b[J" if len(shown) < self._block else "")
        if self._send((text + icon).encode("utf-8", "replace")):
            self._frame, self._drawn = frame, time.monotonic()
            self._region, self._block = (size, 0) if bottom else (None, len(shown))
            self._icon = self._icon or bool(icon)

    def say(self, text: str) -> None:
        """Write a line of our own above the bar, or where the bar was. Kept for later if there is no room now."""
        if self._closed or not self._permitted() or len(self._rest) > _MOST_WAITING:
            return
        size = self.size()
        # Blanks over the width of the window lead from a line that is begun to the next, and leave a fresh one fresh.
        start = ("" if self._region else self._erasure(size)) or " " * size.columns + "\r\x1b[K"
        self._send(f"{start}{clean(text)}\r\n".encode(), keep=True)
        if self._block:
            self._frame, self._block = None, 0

    def take_back(self, *, seconds: float = 0.0) -> None:
        """Take off whatever is shown, and leave the cursor where the command left it. May be called at any time and
        any number of times; the next `draw` begins anew. Waits this long for a terminal that takes nothing.
        """
        if self._closed:
            return
        text = self._erasure(self.size()) + ("\x1b]9;4;0\x1b\\" if self._icon else "")
        if text and self._permitted():
            self._send(text.encode(), keep=True)
        self._frame, self._region, self._block, self._icon = None, None, 0, False
        self._drain(seconds)

    def resume(self) -> None:
        """After a stop: the shell has had the terminal, so the next frame takes nothing for granted."""
        self._frame, self._block = None, 0

    def close(self, *, seconds: float = 1.0) -> None:
        """Take everything back and close; a terminal that stopped reading is waited for no longer than this."""
        if not self._closed:
            self.take_back(seconds=seconds)
            self._closed = True
            os.close(self._fd)

    def _up(self) -> str:
        """From the end of our block to its first line."""
        return f"\x1b[{self._block - 1}A" if self._block > 1 else ""

    def _erasure(self, size: os.terminal_size) -> str:
        """What takes off the region or block that is there."""
        if self._region == size:
            return f"\x1b7\x1b[r\x1b[{size.lines};1H\x1b[K\x1b8"
        if self._region:
            return "\x1b7\x1b[r\x1b8\x1b[J"  # a resize has moved the bar, but it is still below the cursor
        # In the background, the line at the cursor is the shell's.
        return f"\r{self._up()}\x1b[J" if self._block and self._foreground() else ""


def _fitting(lines: Sequence[str], most: int) -> list[str]:
    if len(lines) <= most:
        return list(lines)
    return [*lines[: most - 1], f"+{len(lines) - most + 1} more"]
