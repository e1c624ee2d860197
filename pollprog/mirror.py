"""A job that runs elsewhere, as it was told last: read as a channel is, by whoever shows it."""

from __future__ import annotations

from dataclasses import replace

import trio

from pollprog.status import Bound, Outcome, State, Status, Unit

__all__ = ["Mirror"]


class Mirror:
    """The newest status of one job, for any number of readers; all in one trio thread."""

    def __init__(self, job: str) -> None:
        self.job = job
        self._newest: Status | None = None
        self._newer = trio.Event()

    def take(self, status: Status) -> None:
        """It was told this."""
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
        """Wait for a status newer than the one numbered `after`; how often they come was agreed with who sends them."""
        del interval, last
        while self._newest is None or (self._newest.seq <= after and self._newest.outcome is None):
            await self._newer.wait()
        return self._newest


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
