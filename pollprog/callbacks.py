"""Tells callbacks how far a call is, in one thread of its own, so that none of them can hold anything up.

What stands between the thread that hears and this one is a dictionary with one entry for each call: a newer value takes the place
of the one before, so a slow callback skips what it missed, and yet the last of each call is told.
"""

from __future__ import annotations

import itertools
import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Callbacks"]

log = logging.getLogger("pollprog")

PATIENCE = 1.0
"""Seconds that one callback may take before nobody waits for it any more."""


class Callbacks:
    """Those who are told. `add` and `tell` may be called from any thread."""

    def __init__(self) -> None:
        self._told: dict[int, Callable[[int, int], object]] = {}
        self._numbers = itertools.count()
        self._pending: dict[object, tuple[int, int]] = {}
        self._wake = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._begun = 0
        """How many times one was called."""

    def add(self, callback: Callable[[int, int], object]) -> Callable[[], None]:
        """Tell this one too, from now on; what is returned takes it away again, any number of times. TypeError for what cannot be called."""
        if not callable(callback):
            raise TypeError(f"{callback!r} cannot be called with a total and how far it is")
        number = next(self._numbers)
        self._told[number] = callback
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pollprog callbacks", daemon=True)
                self._thread.start()
        return lambda: self._remove(number)

    def _remove(self, number: int) -> None:
        self._told.pop(number, None)

    def inside(self) -> bool:
        """Whether we are in a callback, here."""
        return self._thread is not None and self._thread is threading.current_thread()

    def tell(self, call: object, total: int, current: int) -> None:
        """The newest of a call. Never waits."""
        if self._told:
            self._pending[call] = total, current
            self._wake.set()

    def close(self) -> None:
        """Tell what is left to be told, and end; a callback that takes longer than a second is left alone."""
        self._stopping = True
        self._wake.set()
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        begun = -1
        while thread.is_alive() and begun != self._begun:
            begun = self._begun
            thread.join(PATIENCE)

    def _run(self) -> None:
        while True:
            stopping = self._stopping
            self._wake.wait()
            self._wake.clear()
            for call in list(self._pending):
                total, current = self._pending.pop(call)
                for number, callback in list(self._told.items()):
                    if number in self._told:  # nobody has taken it away meanwhile
                        self._call(callback, total, current)
            if stopping:
                return
            if self._stopping:
                self._wake.set()

    def _call(self, callback: Callable[[int, int], object], total: int, current: int) -> None:
        self._begun += 1
        try:
            callback(total, current)
        except BaseException:  # even sys.exit(): the others, and the next status, are not its business
            log.exception("a progress callback failed")
