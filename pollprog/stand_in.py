"""A pseudoterminal in the place of the user's terminal, or of a file or a pipe, for a command that is heard there.

The command writes to it what it would have written to the terminal, and it changes none of that: the terminal behind it does. What
the command reads, and what Ctrl-C, Ctrl-Z and the window's other keys do, is the terminal's as before: the command's standard input
and its controlling terminal stay what they are. The pseudoterminal has the settings and the size of the terminal, and follows that.

In the place of a file or a pipe it is for a program that tells its progress to terminals only, and it changes nothing either: what is written is
passed on as it is, but for that progress.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pollprog.launch import Filter

__all__ = ["Single", "Untorn", "Window", "other_end", "stand_in"]

TIOCGPTPEER = 0x5441
"""Opens the other end of a pseudoterminal, wherever its name may lead (ioctl_tty(2))."""
USUAL = termios.OPOST | termios.ONLCR
"""How terminals treat what is written, if nobody has set them to do more: each newline gets a carriage return."""
TORN = re.compile(
    rb"(?:\x1b(?:\[[0-?]*[ -/]*|[ -/]+|[PX^_\]][^\x07\x1b]*\x1b?)?|[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z"
)
"""What an escape sequence, or a character, may begin with that is not whole."""
LONGEST = 256
"""Bytes of that which are held back."""


def stand_in(stream: int) -> tuple[int, int]:
    """Our end of a new pseudoterminal for this stream of ours, and the command's end. OSError if there is none."""
    ours, theirs = os.openpty()
    like = stream if os.isatty(stream) else theirs
    try:
        settings = termios.tcgetattr(like)
        if settings[1] != USUAL:
            settings[1] &= ~termios.OPOST  # the terminal does that
        settings[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG)
        termios.tcsetattr(theirs, termios.TCSANOW, settings)
        termios.tcsetwinsize(theirs, termios.tcgetwinsize(like))
    except termios.error as error:
        os.close(ours)
        os.close(theirs)
        raise OSError(*error.args) from error
    return ours, theirs


def other_end(end: int) -> os.stat_result:
    """What the command's end is; `end`: ours. OSError."""
    theirs = fcntl.ioctl(end, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
    try:
        return os.fstat(theirs)
    finally:
        os.close(theirs)


class Window:
    """Keeps the size of a pseudoterminal that of the terminal, and tells the command, which was told too soon. `end`: ours of it."""

    def __init__(self, stream: int, end: int, pid: int) -> None:
        self._stream = stream
        self._end = end
        self._size = size_of(end)  # which it was given; the terminal's may be another one by now
        try:
            self._pidfd: int | None = os.pidfd_open(pid)
        except OSError:
            self._pidfd = None

    def follow(self) -> None:
        """Do so, if the window has another size by now."""
        size = size_of(self._stream)
        if size is None or size == self._size:
            return
        self._size = size
        try:
            termios.tcsetwinsize(self._end, size)
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, signal.SIGWINCH)
        except (OSError, termios.error):
            pass  # it has ended

    def close(self) -> None:
        """Follow no more."""
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def size_of(stream: int) -> tuple[int, int] | None:
    """Rows and columns of the window; None once it is closed."""
    try:
        return termios.tcgetwinsize(stream)
    except termios.error:
        return None


class Single:
    """Takes out the carriage returns that a pseudoterminal puts before newlines: the terminal behind it does that again.

    Some programs look whether their terminal does it, and do it themselves where it does not (e2fsprogs, for its errors). `end`: ours
    of a new pseudoterminal. Each newline has got one, and nothing else, so what is left is what the command wrote.
    """

    def __init__(self, end: int) -> None:
        try:
            self._doubled = bool(termios.tcgetattr(end)[1] & termios.OPOST)
        except termios.error:
            self._doubled = False
        self._held = b""

    def passing(self, data: bytes) -> bytes:
        """Take what came; give what was written, but a carriage return at its end, behind which a newline may come."""
        if not self._doubled:
            return data
        data = (self._held + data).replace(b"\r\n", b"\n")
        self._held = b"\r" if data.endswith(b"\r") else b""
        return data.removesuffix(b"\r")

    def rest(self) -> bytes:
        """What was held back, once nothing has come behind it."""
        held, self._held = self._held, b""
        return held


class Untorn:
    """Passes on what another filter passes, but nothing torn: between two parts of an escape sequence the bar might be drawn.

    What does not go on is let go of when nothing has come for a while.
    """

    def __init__(self, through: Filter) -> None:
        self._through = through
        self.whole = getattr(through, "whole", None)
        self._rest = b""

    def passing(self, data: bytes) -> bytes:
        """Take what was written; give what passes."""
        passed = self._rest + self._through.passing(data)
        torn = TORN.search(passed, max(0, len(passed) - LONGEST)) if data else None
        self._rest = b"" if torn is None else torn[0]
        return passed if torn is None else passed[: torn.start()]

    def end(self) -> bytes:
        """What is left."""
        return self._rest + self._through.end()
