"""The keys that somebody types while we show something: each at once, and none of them shown.

The terminal is ours to set only while it is our standard input and we are in its foreground: who sets it from the
background is stopped, and sets it for somebody else. It is given back on every way out, and before a stop. Ctrl-C and
Ctrl-Z are signals as ever.
"""

from __future__ import annotations

import os
import termios
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from typing import Any, Self

__all__ = ["Keyboard"]

STDIN = 0
LOCAL_FLAGS = 3
"""Where termios keeps the flags that are about lines and echo."""
HIDDEN = termios.ICANON | termios.ECHO
"""Those that we take away."""


class Keyboard:
    """Standard input as keys, within its ``with`` block; where it is no terminal of ours, or not `wanted`, nobody types."""

    def __init__(self, *, wanted: bool = True) -> None:
        self._wanted = wanted
        self._before: list[Any] | None = None
        """The settings to give back, while ours are in force."""

    def __enter__(self) -> Self:
        self.resume()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.take_back()

    def resume(self) -> None:
        """Make our settings hold, if we may. Whoever has stopped us, or put us into the foreground, may have set others."""
        try:
            if not self._wanted or not in_foreground():
                return
            settings = termios.tcgetattr(STDIN)
            if self._before is None:
                self._before = list(settings)
            if settings[LOCAL_FLAGS] & HIDDEN:
                settings[LOCAL_FLAGS] &= ~HIDDEN
                termios.tcsetattr(STDIN, termios.TCSANOW, settings)
        except termios.error:  # it has hung up
            pass

    def take_back(self) -> None:
        """Leave the terminal as it was: we end, or stop."""
        before, self._before = self._before, None
        try:
            if before is not None and in_foreground():
                termios.tcsetattr(STDIN, termios.TCSANOW, before)
        except termios.error:
            pass

    async def key(self, *wanted: bytes) -> None:
        """Wait until one of these has been typed; for ever, where nobody types."""
        while self._wanted and os.isatty(STDIN):
            await trio.lowlevel.wait_readable(STDIN)
            self.resume()
            if not in_foreground():
                await trio.sleep(1)  # what is typed is the shell's
                continue
            try:
                typed = os.read(STDIN, 1024)
            except OSError:
                break
            if not typed:
                break
            if any(key in typed for key in wanted):
                return
        await trio.sleep_forever()


def in_foreground() -> bool:
    """Whether standard input is our terminal, and we are the ones who may set it."""
    try:
        return os.tcgetpgrp(STDIN) == os.getpgrp()
    except OSError:
        return False
