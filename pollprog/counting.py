"""How far one of our own loops is: stored by the loop, looked at from any thread."""

from __future__ import annotations

from threading import Lock

from pollprog.status import Bound, Sample, Unit

__all__ = ["Counter"]


class Counter:
    """How far a loop is: written by the loop alone, looked at from any thread. It is a probe.

    A loop stores into `current` and `total` as it goes: an attribute assignment, no call. Within a phase it raises `total`
    before `current`. Only a change of phase takes the lock, so that nobody sees a new phase with an old count.
    """

    __slots__ = ("_phase_change", "current", "phase", "source", "total")

    def __init__(self, source: str = "copy") -> None:
        self.source = source
        """What a sample gives as its source: the loop that counts."""
        self.current: int = 0
        self.total: int | None = None
        self.phase: str = ""
        self._phase_change = Lock()

    def begin(self, phase: str, total: int | None) -> None:
        """Start a phase at 0 of `total` bytes; None where nobody knows."""
        with self._phase_change:
            self.phase, self.total, self.current = phase, total, 0

    def sample(self) -> Sample:
        """How far the loop is now, in bytes."""
        with self._phase_change:
            current = self.current  # before the total, which may be growing
            return Sample(current, self.total, Unit.BYTES, self.phase, self.source, Bound.EXACT)

    def close(self) -> None:
        """Nothing is held."""
