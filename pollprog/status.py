"""What a probe says (`Sample`) and what a reader is told (`Status`): frozen, without behaviour.

All times are seconds of the job's own clock: monotonic, counted from its start, without the time in which it was stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Bound", "Outcome", "Sample", "State", "Status", "Unit"]


class Unit(StrEnum):
    """What is counted."""

    BYTES = "bytes"
    ITEMS = "items"
    """Files, records, tests: anything counted by ones."""
    PARTS = "parts"
    """Parts of a whole whose size nobody says: a tool's own percentage, in its own steps."""


class Bound(StrEnum):
    """How far `current` can be trusted."""

    EXACT = "exact"
    UPPER = "upper"
    """At most this much is done: the tool reads ahead of its work."""
    LOWER = "lower"
    """At least this much is done."""
    ESTIMATE = "estimate"
    """Near the truth, on either side of it."""


class State(StrEnum):
    """Where a job stands. The last four are outcomes, and a job has exactly one."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    """Nobody can know how it ended."""

    @property
    def over(self) -> bool:
        """True for the four outcomes."""
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.LOST)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one look at the work says."""

    current: int
    """How much is done, in `unit`; never negative."""
    total: int | None = None
    """How much there is to do, in `unit`; None where nobody knows."""
    unit: Unit = Unit.BYTES
    phase: str = ""
    """Which part of the work this is, for a tool that has several; `current` starts again with each."""
    source: str = ""
    """Who says so: a probe's name, and after a colon what it looked at, as in ``evidence:output-size``."""
    bound: Bound = Bound.EXACT
    activity: int = 0
    """Any growing number that shows life where `current` stands still: CPU ticks, bytes of output."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended."""

    state: State
    exit: int | None = None
    """The exit code of its command; None where it was killed, has none, or nobody knows."""
    signal: int | None = None
    """The signal that ended its command, or None."""


@dataclass(frozen=True, slots=True)
class Status:
    """What a reader is told: the newest sample, and what follows from it and from those before."""

    job: str
    seq: int
    """Grows with each status of the job; a reader asks for the next after the one that it has."""
    state: State
    current: int | None
    """None before the first sample."""
    total: int | None
    unit: Unit
    phase: str
    fraction: float | None
    """``current / total`` where the total is known; 1.0 only when the work has ended well."""
    rate: float | None
    """Units a second, over the last stretch of the work."""
    remaining: float | None
    """Seconds; None where it cannot be told. Never 0 while there is work left."""
    low: float | None
    """With `high`, the seconds between which the remaining time probably lies."""
    high: float | None
    elapsed: float
    """Seconds since the work began."""
    age: float
    """Seconds since the sample was taken; 0 before the first."""
    idle: float
    """Seconds since `current` or the activity last moved."""
    moving: bool
    """Whether either moved at the newest look."""
    stalled: bool
    """Whether neither has moved for longer than it was ever seen to take."""
    finishing: bool
    """Everything that can be counted is done, and the work has not ended yet."""
    source: str
    bound: Bound
    outcome: Outcome | None = None
    """Set in the last status of a job, and in no other."""
