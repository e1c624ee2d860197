"""``procio``: the io counters of the whole tree, as the kernel keeps them for every process.

The counters of a process take in those of its children when it reaps them, so the sum over the processes that live is the
sum over all that ever did. Between the end of a child and its reaping the sum is too small; the highest one seen is told
meanwhile. They count from the start of each process, so for one that was attached to, from before we came.

Where they lie: ``wchar`` and ``rchar`` know nothing of mapped memory, and of ``copy_file_range``, which ``cp`` uses, only
when a call returns; ``rchar`` nothing of sockets; ``write_bytes`` nothing of tmpfs, and it counts pages that are not on the
disk yet; ``read_bytes`` nothing that was in memory already. A pipeline counts what passes through it at each end. Hence an
estimate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pollprog.errors import UsageError
from pollprog.status import Bound, Sample

if TYPE_CHECKING:
    from pollprog.probes import Target
    from pollprog.process import Io, ProcessTree

__all__ = ["Activity", "ProcIo", "probe"]

COUNTERS = ("rchar", "wchar", "read_bytes", "write_bytes")


class Activity:
    """A number that grows as long as a tree does anything: CPU ticks, and bytes of io."""

    __slots__ = ("_grown", "_last", "_tree", "counters")

    def __init__(self, tree: ProcessTree) -> None:
        self._tree = tree
        self._last = 0
        self._grown = 0
        self.counters: list[Io] = []
        """The counters of each process at the last look; none of those that we may not see."""

    def look(self) -> int:
        """Look at the tree; how much it has done so far, in no unit."""
        alive = self._tree.look()
        self.counters = [io for process, _ in alive if (io := process.io()) is not None]
        now = sum(told.ticks for _, told in alive)
        now += sum(io.rchar + io.wchar + io.read_bytes + io.write_bytes for io in self.counters)
        self._grown += max(now - self._last, 0)  # less: one has ended, and is not reaped yet
        self._last = now
        return self._grown


class ProcIo:
    """The sum of one counter over a process tree."""

    __slots__ = ("_activity", "_counter", "_most", "_target")

    def __init__(self, target: Target, counter: str) -> None:
        self._target = target
        self._counter = counter
        self._activity = Activity(target.tree)
        self._most = 0

    def sample(self) -> Sample | None:
        """The sum; None where no process lets us see its counters."""
        activity = self._activity.look()
        if not self._activity.counters:
            return None
        self._most = max(self._most, sum(getattr(io, self._counter) for io in self._activity.counters))
        return Sample(
            self._most, self._target.total, source=f"procio:{self._counter}", bound=Bound.ESTIMATE, activity=activity
        )

    def close(self) -> None:
        """Nothing is held: the tree is its owner's."""


def probe(target: Target, argument: str | None) -> ProcIo:
    """``procio[:COUNTER]``; without an argument ``wchar``. UsageError for an unknown counter."""
    counter = "wchar" if argument is None else argument
    if counter not in COUNTERS:
        raise UsageError(f"{argument!r} is not a counter; say procio, or procio:NAME with one of {', '.join(COUNTERS)}")
    return ProcIo(target, counter)
