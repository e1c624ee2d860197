"""A job that runs elsewhere, as it was told last: read as a channel is, by whoever shows it."""

from __future__ import annotations

import math
from dataclasses import replace

import trio

from pollprog.status import Bound, Outcome, State, Status, Unit

__all__ = ["Mirror"]


class Mirror:
    """The newest status of one job, for any number of readers; all in one trio thread."""

    def __init__(self, job: str, interval: float = 1.0) -> None:
        self.job = job
        self.interval = interval
        """Seconds between two statuses, as agreed with who sends them."""
        self._newest: Status | None = None
        self._changed = 0
        """The number of the first status of the state that it has."""
        self._newer = trio.Event()

    def take(self, status: Status) -> None:
        """It was told this."""
        if self._newest is None or status.state is not self._newest.state:
            self._changed = status.seq
        self._newest = status
        self._newer.set()
        self._newer = trio.Event()

    def finish(self, outcome: Outcome) -> None:
        """It is over, whether or not a status said so."""
        if self._newest is not None and self._newest.outcome is not None:
            return
        self.take(status_at_the_end(self.job, self._newest, outcome))

    def latest(self) -> Status | None:
        """What was told last."""
        return self._newest

    async def next(self, after: int, *, interval: float = 1.0, last: float | None = None) -> Status:
        """Wait for a status newer than the one numbered `after`; what comes more often than this reader wants, it is not told.

        `last`: when it was told the one before. A change of state, and the outcome, are told at once.
        """
        due = -math.inf if last is None or interval <= self.interval else last + interval
        while True:
            newest = self._newest
            is_newer = newest is not None and (newest.seq > after or newest.outcome is not None)
            if newest is not None and is_newer and (self._changed > after or newest.outcome is not None):
                return newest
            if newest is not None and is_newer and trio.current_time() >= due:
                return newest
            with trio.move_on_at(due if is_newer else math.inf):
                await self._newer.wait()


def status_at_the_end(job: str, last: Status | None, outcome: Outcome) -> Status:
    """The last status of a job of which only the outcome is known."""
    state = outcome.state
    if last is None:
        return Status(
            job=job, seq=1, state=state, current=None, total=None, unit=Unit.BYTES, phase="", fraction=None, rate=None,
            remaining=None, low=None, high=None, elapsed=0.0, age=0.0, idle=0.0, moving=False, stalled=False, finishing=False,
            source="", bound=Bound.EXACT, outcome=outcome,
        )  # fmt: skip
    done = state is State.SUCCEEDED and last.total is not None
    return replace(
        last, seq=last.seq + 1, state=state, outcome=outcome, current=last.total if done else last.current,
        fraction=1.0 if done else last.fraction, rate=None, remaining=None, low=None, high=None, moving=False, stalled=False,
        finishing=False,
    )  # fmt: skip
