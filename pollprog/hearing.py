"""Hears the held signals while trio runs, and stops and goes on with whoever else is in the terminal's foreground."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import trio

from pollprog import signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from pollprog.display import Display
    from pollprog.keyboard import Keyboard
    from pollprog.signals import Held

__all__ = ["Hearing", "Leaving"]

BEAT = 0.5
"""Seconds after which we notice that we stood still ourselves."""


class Leaving:
    """What a viewer does at the first signal that ends it: it cancels this scope."""

    def __init__(self, scope: trio.CancelScope) -> None:
        self._scope = scope
        self.status: int | None = None
        """The exit status that this comes to; None as long as nobody wants it to end."""

    def __call__(self, info: signal.struct_siginfo) -> None:
        """Take a signal in."""
        if info.si_signo in signals.LEAVING:
            self.leave(128 + info.si_signo)

    def leave(self, status: int) -> None:
        """End with this exit status."""
        self.status = status
        self._scope.cancel()


class Hearing:
    """Hears the held signals in a thread, and acts on them in the trio thread: `act` is called for each.

    We stop and go on with the terminal's other users, and what is shown is taken back meanwhile, and the keyboard if we have it.
    `stops` says of each signal, after `act`, whether we stop now; without it, we stop at SIGTSTP.
    """

    def __init__(
        self,
        held: Held,
        display: Display,
        act: Callable[[signal.struct_siginfo], object],
        *,
        keyboard: Keyboard | None = None,
        stops: Callable[[signal.struct_siginfo], bool] = lambda info: info.si_signo == signal.SIGTSTP,
    ) -> None:
        self._held = held
        self._taken: list[Display | Keyboard] = [display] if keyboard is None else [display, keyboard]
        self._act = act
        self._stops = stops
        self._token = trio.lowlevel.current_trio_token()
        self._over = False
        self._alive = trio.current_time()

    async def run(self) -> None:
        """Hear, until cancelled."""
        thread = threading.Thread(target=self._hear, name="pollprog signals", daemon=True)
        thread.start()
        try:
            while True:
                self._alive = trio.current_time()
                await trio.sleep(BEAT)
        finally:
            self._over = True
            assert thread.ident is not None
            signal.pthread_kill(thread.ident, signal.SIGCHLD)  # which it waits for, and nothing else wants
            thread.join()

    def _hear(self) -> None:
        while not self._over:
            info = signals.wait(self._held, 3600)
            if info is None:
                continue
            try:
                self._token.run_sync_soon(self._handle, info)
            except trio.RunFinishedError:
                return

    def _handle(self, info: signal.struct_siginfo) -> None:
        self._act(info)
        if self._stops(info):
            for taken in self._taken:
                taken.take_back()
            signals.stop_ourselves()
            self._resume()
        elif info.si_signo == signal.SIGCONT and trio.current_time() - self._alive > 2 * BEAT:
            self._resume()  # we were stopped by a signal that nobody hears

    def _resume(self) -> None:
        for taken in self._taken:
            taken.resume()
